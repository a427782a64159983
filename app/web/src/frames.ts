/** The list of the last frames, newest first, and one of them decoded layer by layer. */

import { byId, clock, count, duration, h, hex4, say } from "./dom";
import { brief, KINDS, type Detail, type Frame, type Layer } from "./events";
import { glyph } from "./night";
import { GROUPS, GROUP_OF } from "./palette";
import type { Recording } from "./recording";
import { VirtualList } from "./virtual";

const ROW = 26;

export class FrameList {
  onPick: (frame: Frame) => void = () => {};
  hidden: ReadonlySet<number> = new Set();
  /** Only frames that this node sent, got or began. */
  only: number | null = null;
  private visible: Frame[] = [];
  private seen = 0;
  private filter = "";
  private now = 0;
  private readonly list: VirtualList;
  private readonly glyphs = GROUPS.map(glyph);

  constructor(private readonly recording: Recording, private readonly labels: string[]) {
    const root = byId("frame-list");
    this.list = new VirtualList(root, ROW, (row, at) => this.fill(row, at), () => h("div", { class: "row frame-row", role: "option" }, h("time"), h("span", { class: "row-glyph" }), h("b"), h("span", { class: "way" }), h("span", { class: "fate" })));
    root.onclick = (event) => {
      const at = Number((event.target as Element).closest<HTMLElement>(".row")?.dataset["at"] ?? -1);
      const frame = this.visible[at];
      if (frame) this.onPick(frame);
    };
  }

  selected: Frame | null = null;

  /** Show what had begun at `t`. */
  draw(until: number, start: number | null): void {
    const { frames } = this.recording;
    const filter = `${[...this.hidden].join()}|${this.only}`;
    if (filter !== this.filter || this.seen > frames.length) {
      this.filter = filter;
      this.visible = [];
      this.seen = 0;
    }
    for (; this.seen < frames.length; this.seen++) if (this.passes(frames[this.seen]!)) this.visible.push(frames[this.seen]!);
    // frames that came late stand a few places off in `visible`; the number shown follows the time
    const end = frames[until - 1];
    this.now = end ? upTo(this.visible, end.t) : 0;
    this.start = start;
    this.list.update(this.now);
    say(byId("frame-count"), `${count(this.now)} frame${this.now === 1 ? "" : "s"}${this.filter === "|null" ? "" : " shown"}`);
  }

  private start: number | null = null;

  reveal(frame: Frame): void {
    const at = this.visible.indexOf(frame);
    if (at >= 0 && at < this.now) this.list.scrollTo(this.now - 1 - at);
  }

  passes(frame: Frame): boolean {
    if (this.hidden.has(GROUP_OF[frame.kind]!)) return false;
    const { only } = this;
    return only === null || frame.src === only || frame.dst === only || frame.orig === only || frame.final === only || (frame.dst < 0 && frame.got.includes(only));
  }

  private fill(row: HTMLElement, place: number): void {
    const at = this.now - 1 - place;
    const frame = this.visible[at];
    if (!frame) return;
    const group = GROUP_OF[frame.kind]!;
    row.dataset["at"] = String(at);
    row.classList.toggle("selected", frame === this.selected);
    row.setAttribute("aria-selected", String(frame === this.selected));
    const [time, mark, kind, way, fate] = row.children as unknown as HTMLElement[];
    say(time!, clock(this.start, frame.t, 2));
    if (mark!.dataset["group"] !== String(group)) {
      mark!.dataset["group"] = String(group);
      mark!.replaceChildren(this.glyphs[group]!.cloneNode(true));
    }
    say(kind!, KINDS[frame.kind]!);
    say(way!, `${this.name(frame.src)} → ${frame.dst < 0 ? `all · ${frame.got.length}` : this.name(frame.dst)}`);
    say(fate!, frame.lost ? frame.lost : frame.mod);
    fate!.classList.toggle("bad", frame.lost !== null);
  }

  private name(node: number): string {
    return node === this.recording.index.coordinator ? "DCU" : (this.labels[node] ?? "?");
  }
}

function upTo(frames: Frame[], t: number): number {
  let low = 0, high = frames.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (frames[middle]!.t <= t) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The decoded frame. `ask` brings the layers of a frame that came without, if there is somebody to ask. */
export class FramePage {
  private readonly root = byId("frame-page");
  private shown: Frame | null | undefined;

  constructor(private readonly recording: Recording, private readonly labels: string[], private readonly ask: ((id: number) => Promise<Detail | null>) | null, private readonly pickNode: (node: number) => void) {}

  show(frame: Frame | null, shorts: Uint16Array): void {
    if (frame === this.shown) return;
    this.shown = frame;
    this.root.replaceChildren();
    if (!frame) {
      this.root.append(h("p", { class: "hint" }, "Choose a frame in the list or on a cable to see it decoded, from the line up to the value."));
      return;
    }
    const group = GROUPS[GROUP_OF[frame.kind]!]!;
    const node = (at: number) => h("button", { type: "button", class: "link", onClick: () => this.pickNode(at) }, `${this.labels[at] ?? "?"}${shorts[at] !== undefined && shorts[at] !== 0xffff ? ` (${hex4(shorts[at]!)})` : ""}`);
    const rows: [string, (Node | string)[]][] = [
      ["When", [`${clock(this.recording.street.start, frame.t, 3)}${this.recording.street.start === null ? "" : " UTC"}, ${duration(frame.air)} on the air`]],
      ["Hop", [node(frame.src), " → ", frame.dst < 0 ? "everybody in reach" : node(frame.dst)]],
    ];
    if (frame.orig !== null && frame.final !== null && (frame.orig !== frame.src || frame.final !== frame.dst)) rows.push(["On the way", [node(frame.orig), " → ", node(frame.final)]]);
    rows.push(["Signal", [`${frame.mod}, ${frame.size} bytes${frame.att.length ? `, ${range(frame.att)} dB` : ""}`]]);
    rows.push(["Fate", [fateOf(frame)]]);
    this.root.append(
      h("h3", { class: `frame-title kind-${group.id}` }, glyph(group), KINDS[frame.kind]!, h("small", {}, group.what)),
      h("dl", { class: "facts" }, ...rows.flatMap(([title, values]) => [h("dt", {}, title), h("dd", { class: title === "Fate" && frame.lost ? "bad" : "" }, ...values)])),
    );
    const place = h("div", { class: "layers" });
    this.root.append(place);
    void this.fill(frame, place);
  }

  private async fill(frame: Frame, place: HTMLElement): Promise<void> {
    let detail = this.recording.detail(frame);
    if (!detail?.layers && this.ask) {
      place.append(h("p", { class: "hint" }, "Decoding…"));
      const told = await this.ask(frame.id);
      if (this.shown !== frame) return;
      if (told) detail = frame.detail = { bytes: told.bytes ?? detail?.bytes ?? null, layers: told.layers };
      place.replaceChildren();
    }
    if (detail?.layers) place.append(...detail.layers.map((layer, depth) => layerBox(layer, depth, detail.layers!.length)));
    if (detail?.bytes) place.append(h("details", { class: "layer bytes" }, h("summary", {}, `Bytes (${detail.bytes.length / 2})`), h("pre", { tabindex: 0, "aria-label": "hex dump" }, dump(detail.bytes))));
    if (!detail) place.append(h("p", { class: "hint" }, "This frame's contents were not kept."));
  }
}

function range(att: number[]): string {
  const low = Math.min(...att), high = Math.max(...att);
  return high - low < 0.5 ? low.toFixed(0) : `${low.toFixed(0)} … ${high.toFixed(0)}`;
}

function fateOf(frame: Frame): string {
  const who = frame.got.length === 1 ? "1 node" : `${frame.got.length} nodes`;
  if (!frame.lost) return frame.dst < 0 ? `received by ${who}` : "received";
  const why = { collision: "lost in a collision", noise: "lost in noise", cut: "lost: the cable is cut", other: "lost" }[frame.lost];
  return frame.got.length ? `${why}, received by ${who}` : why;
}

function layerBox([title, fields]: Layer, depth: number, layers: number): HTMLElement {
  // the last layers hold what an engineer looks for: the attribute and its value
  const open = depth >= layers - 2;
  return h("details", { class: `layer depth-${Math.min(depth, 7)}`, open }, h("summary", {}, title, h("small", {}, open ? "" : preview(fields))),
    h("dl", { class: "fields" }, ...fields.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, write(value))])));
}

function preview(fields: [string, unknown][]): string {
  return fields.slice(0, 3).map(([name, value]) => `${name} ${brief(value).slice(0, 24)}`).join(" · ");
}

/** A field's value: text, a number, or values within values. Bounded in depth. */
function write(value: unknown, depth = 0): Node | string {
  if (value === null || typeof value !== "object" || depth > 8) return brief(value);
  const entries = Array.isArray(value) ? value.map((item, at) => [String(at), item] as const) : Object.entries(value);
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return value.join(", ");
  return h("ul", { class: "nested" }, ...entries.slice(0, 200).map(([name, item]) => h("li", {}, Array.isArray(value) ? "" : `${name}: `, write(item, depth + 1))));
}

function dump(bytes: string): string {
  const lines: string[] = [];
  for (let at = 0; at < Math.min(bytes.length, 8192); at += 32) {
    const line = bytes.slice(at, at + 32);
    const pairs = line.match(/../g) ?? [];
    const text = pairs.map((pair) => Number.parseInt(pair, 16)).map((c) => (c > 31 && c < 127 ? String.fromCharCode(c) : "·")).join("");
    lines.push(`${(at / 2).toString(16).padStart(4, "0")}  ${pairs.join(" ").padEnd(47)}  ${text}`);
  }
  return lines.join("\n");
}
