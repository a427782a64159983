/** Dark or light: as the system has it until somebody chooses; the choice is kept where the browser lets us. */

import { GROUPS } from "./palette";

export class Theme {
  /** The colours are others now. */
  onChange: () => void = () => {};
  private readonly root = document.documentElement;

  start(): void {
    try {
      this.root.dataset["theme"] = localStorage.getItem("theme") ?? "auto";
    } catch {
      // a page opened from disk may have no storage
    }
    matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => this.show());
    this.show();
  }

  toggle(): void {
    const next = this.dark ? "light" : "dark";
    this.root.dataset["theme"] = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // as above
    }
    this.show();
  }

  private get dark(): boolean {
    return getComputedStyle(this.root).getPropertyValue("--scheme").trim() !== "light";
  }

  private show(): void {
    for (const group of GROUPS) this.root.style.setProperty(`--${group.id}`, this.dark ? group.dark : group.light);
    this.onChange();
  }
}
