/** The three lists on the right, as tabs. */

import { byId } from "./dom";

export type Tab = "frames" | "meters" | "events";
const TABS: readonly Tab[] = ["frames", "meters", "events"];

export class Tabs {
  current: Tab = "frames";
  onChange: () => void = () => {};

  constructor() {
    for (const tab of TABS) {
      const button = byId(`tab-${tab}`);
      button.onclick = () => this.show(tab);
      button.onkeydown = (event) => {
        const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
        if (!by) return;
        event.preventDefault();
        event.stopPropagation();
        this.show(TABS[(TABS.indexOf(tab) + by + TABS.length) % TABS.length]!);
        byId(`tab-${this.current}`).focus();
      };
    }
  }

  show(tab: Tab): void {
    this.current = tab;
    for (const other of TABS) {
      byId(`panel-${other}`).hidden = other !== tab;
      byId(`tab-${other}`).setAttribute("aria-selected", String(other === tab));
      byId(`tab-${other}`).tabIndex = other === tab ? 0 : -1;
    }
    this.onChange();
  }
}
