/** A list of which only the rows in sight exist: a hundred thousand frames scroll like forty. */

import { h } from "./dom";

export class VirtualList {
  private length = 0;
  private rows: HTMLElement[] = [];
  private readonly inner = h("div", { class: "virtual-inner", role: "presentation" });

  constructor(readonly root: HTMLElement, readonly rowHeight: number, private readonly fill: (row: HTMLElement, at: number) => void, private readonly make: () => HTMLElement) {
    root.replaceChildren(this.inner);
    root.addEventListener("scroll", () => this.render(), { passive: true });
    new ResizeObserver(() => this.render()).observe(root);
  }

  /** Show `length` rows; those in sight are filled again. */
  update(length: number): void {
    this.length = length;
    // browsers do not scroll further than some millions of pixels
    this.inner.style.height = `${Math.min(length * this.rowHeight, 15_000_000)}px`;
    this.render();
  }

  scrollTo(at: number): void {
    const top = at * this.rowHeight, { root } = this;
    if (top < root.scrollTop || top + this.rowHeight > root.scrollTop + root.clientHeight) root.scrollTop = top - root.clientHeight / 3;
  }

  private render(): void {
    const { root, rowHeight } = this;
    const first = Math.max(0, Math.floor(root.scrollTop / rowHeight) - 2);
    const wanted = Math.max(0, Math.min(this.length - first, Math.ceil(root.clientHeight / rowHeight) + 4));
    while (this.rows.length < wanted) {
      const row = this.make();
      this.rows.push(row);
      this.inner.append(row);
    }
    this.rows.forEach((row, i) => {
      row.hidden = i >= wanted;
      if (i >= wanted) return;
      row.style.transform = `translateY(${(first + i) * rowHeight}px)`;
      this.fill(row, first + i);
    });
  }
}
