/** The table of meters: sorted by any column, searched by name, address or EUI-64. It is also the way to a meter without the picture. */

import { byId, count, h, hex4, say } from "./dom";
import { JOIN_STATES } from "./events";
import type { Recording } from "./recording";
import { JOINED, type State } from "./state";
import { VirtualList } from "./virtual";

type Column = "name" | "state" | "hops" | "cost" | "rows";

export class MeterTable {
  onPick: (node: number) => void = () => {};
  selected: number | null = null;
  private order: number[] = [];
  private column: Column = "name";
  private down = false;
  private words = "";
  private state: State | null = null;
  private sorted = "";
  private readonly list: VirtualList;
  private readonly search = byId<HTMLInputElement>("search");

  constructor(private readonly recording: Recording, private readonly labels: string[]) {
    const root = byId("meter-list");
    this.list = new VirtualList(root, 28, (row, at) => this.fill(row, at), () => h("div", { class: "row meter-row", role: "option" }, h("b"), h("span"), h("span"), h("span"), h("span", { class: "rows" }, h("i"), h("em"))));
    root.onclick = (event) => {
      const node = this.order[Number((event.target as Element).closest<HTMLElement>(".row")?.dataset["at"] ?? -1)];
      if (node !== undefined) this.onPick(node);
    };
    this.search.oninput = () => {
      this.words = this.search.value.trim().toLowerCase();
      this.refresh();
    };
    this.search.onkeydown = (event) => {
      if (event.key === "Enter" && this.order[0] !== undefined) this.onPick(this.order[0]);
    };
    for (const head of byId("meter-head").querySelectorAll<HTMLButtonElement>("button")) {
      head.onclick = () => {
        const column = head.dataset["column"] as Column;
        this.down = column === this.column ? !this.down : false;
        this.column = column;
        this.refresh();
      };
    }
  }

  draw(state: State): void {
    this.state = state;
    const key = `${this.recording.index.street.nodes.length}|${this.column}|${this.down}|${this.words}|${this.column === "name" ? "" : state.version}`;
    if (key !== this.sorted) {
      this.sorted = key;
      this.sort(state);
    }
    this.list.update(this.order.length);
    say(byId("meter-count"), `${count(this.order.length)} meter${this.order.length === 1 ? "" : "s"}`);
  }

  /** The meter before or after the chosen one, in the table's order. */
  next(step: number): number | null {
    if (!this.order.length) return null;
    const at = this.selected === null ? -1 : this.order.indexOf(this.selected);
    return this.order[(at + step + this.order.length + (at < 0 && step < 0 ? 1 : 0)) % this.order.length] ?? null;
  }

  reveal(node: number): void {
    const at = this.order.indexOf(node);
    if (at >= 0) this.list.scrollTo(at);
  }

  private refresh(): void {
    for (const head of byId("meter-head").querySelectorAll<HTMLButtonElement>("button")) {
      head.setAttribute("aria-sort", head.dataset["column"] === this.column ? (this.down ? "descending" : "ascending") : "none");
    }
    if (this.state) this.draw(this.state);
  }

  private sort(state: State): void {
    const { nodes } = this.recording.street, { coordinator } = this.recording.index;
    this.order = nodes.map((_, at) => at).filter((at) => nodes[at]!.role === "meter" && this.matches(at, state));
    const key: (node: number) => number = {
      name: () => 0,
      state: (node: number) => (state.off[node] ? -1 : state.join[node]!),
      hops: (node: number) => state.route(node, coordinator)?.hops ?? 99,
      cost: (node: number) => state.route(node, coordinator)?.cost ?? 1e6,
      rows: (node: number) => state.rows[node]!,
    }[this.column];
    const names = new Intl.Collator("en", { numeric: true });
    this.order.sort((a, b) => (key(a) - key(b) || names.compare(nodes[a]!.name, nodes[b]!.name)) * (this.down ? -1 : 1));
  }

  private matches(node: number, state: State): boolean {
    if (!this.words) return true;
    const { name, eui } = this.recording.street.nodes[node]!;
    return [name, eui, this.labels[node] ?? "", hex4(state.short[node]!)].some((text) => text.toLowerCase().includes(this.words));
  }

  private fill(row: HTMLElement, at: number): void {
    const node = this.order[at], { state } = this;
    if (node === undefined || !state) return;
    row.dataset["at"] = String(at);
    row.classList.toggle("selected", node === this.selected);
    row.setAttribute("aria-selected", String(node === this.selected));
    const [name, joined, hops, cost, rows] = row.children as unknown as HTMLElement[];
    const route = state.route(node, this.recording.index.coordinator);
    const told = stateOf(state, node);
    say(name!, this.recording.street.nodes[node]!.name);
    say(joined!, told.text);
    joined!.className = `state ${told.tone}`;
    say(hops!, route ? String(route.hops) : "–");
    say(cost!, route ? String(route.cost) : "–");
    const share = state.rowsOf[node] ? state.rows[node]! / state.rowsOf[node]! : 0;
    (rows!.firstElementChild as HTMLElement).style.setProperty("--share", String(Math.min(1, share)));
    say(rows!.lastElementChild!, `${state.rows[node]}/${state.rowsOf[node]}`);
  }
}

export function stateOf(state: State, node: number): { text: string; tone: string } {
  const join = state.join[node]!;
  if (state.off[node]) return { text: "off", tone: "bad" };
  if (node === state.index.coordinator) return { text: "coordinator", tone: "good" };
  if (join === JOINED) return { text: "joined", tone: "good" };
  if (join > JOINED) return { text: JOIN_STATES[join]!, tone: "bad" };
  return { text: join ? JOIN_STATES[join]! : "not joined", tone: join ? "busy" : "" };
}
