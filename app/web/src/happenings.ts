/** The list of what happened besides frames: joins, faults, routes that broke and healed. */

import { byId, clock, count, h, hex4, say } from "./dom";
import type { Happening, Recording } from "./recording";
import { State } from "./state";
import { VirtualList } from "./virtual";

export class HappeningList {
  onPick: (event: Happening) => void = () => {};
  private visible: Happening[] = [];
  /** Routes that were lost, by node and destination: the next one to be learned heals. */
  private readonly lost = new Set<number>();
  private readonly heals = new Set<Happening>();
  private all = false;
  private seen = 0;
  private now = 0;
  private readonly list: VirtualList;

  constructor(private readonly recording: Recording, private readonly labels: string[]) {
    const root = byId("event-list"), all = byId("events-all");
    all.onclick = () => {
      this.all = !this.all;
      all.setAttribute("aria-pressed", String(this.all));
      this.seen = Infinity;
      this.draw(this.t);
    };
    this.list = new VirtualList(root, 28, (row, at) => this.fill(row, at), () => h("div", { class: "row event-row", role: "option" }, h("time"), h("i"), h("span")));
    root.onclick = (event) => {
      const place = Number((event.target as Element).closest<HTMLElement>(".row")?.dataset["at"] ?? -1);
      if (this.visible[place]) this.onPick(this.visible[place]);
    };
  }

  private t = 0;

  draw(t: number): void {
    this.t = t;
    const { happenings } = this.recording;
    if (this.seen > happenings.length) {
      this.visible = [];
      this.lost.clear();
      this.heals.clear();
      this.seen = 0;
    }
    for (; this.seen < happenings.length; this.seen++) {
      const event = happenings[this.seen]!;
      if (this.worthTelling(event)) this.visible.push(event);
    }
    let now = this.visible.length;
    while (now > 0 && this.visible[now - 1]!.t > t) now--;
    this.now = now;
    this.list.update(now);
    say(byId("event-count"), `${count(now)} event${now === 1 ? "" : "s"}`);
  }

  /** Steps of the join ladder are on the meter's page, here stand beginnings and ends; of routes those that break and heal. */
  private worthTelling(event: Happening): boolean {
    if (event.e === "join") return !["scan", "challenge1", "challenge2", "accepted", "unknown"].includes(event.state);
    if (event.e !== "route") return true;
    const key = State.routeKey(event.node, event.to);
    if (event.next === null) this.lost.add(key);
    else if (this.lost.delete(key)) this.heals.add(event);
    return this.all || event.next === null || this.heals.has(event);
  }

  private fill(row: HTMLElement, place: number): void {
    const at = this.now - 1 - place;
    const event = this.visible[at];
    if (!event) return;
    row.dataset["at"] = String(at);
    const { text, tone } = tell(event, this.recording, this.labels);
    const [time, mark, what] = row.children as unknown as HTMLElement[];
    say(time!, clock(this.recording.street.start, event.t));
    const heals = this.heals.has(event);
    mark!.className = `mark ${heals ? "good" : tone}`;
    say(what!, heals ? `Healed: ${text}` : text);
  }
}

export function tell(event: Happening, recording: Recording, labels: string[]): { text: string; tone: "good" | "bad" | "warn" | "" } {
  const name = (node: number | null) => (node === null ? "?" : node === recording.index.coordinator ? "DCU" : (labels[node] ?? "?"));
  switch (event.e) {
    case "join":
      if (event.state === "joined") return { text: `${name(event.node)} joined${event.short === null ? "" : ` as ${hex4(event.short)}`}`, tone: "good" };
      if (event.state === "declined") return { text: `${name(event.node)} was refused`, tone: "bad" };
      if (event.state === "joining") return { text: `${name(event.node)} asks to join`, tone: "" };
      return { text: `${name(event.node)} ${event.state === "kicked" ? "was removed" : "left"}`, tone: "bad" };
    case "route":
      return event.next === null
        ? { text: `${name(event.node)} lost its route to ${name(event.to)}`, tone: "bad" }
        : { text: `${name(event.node)} reaches ${name(event.to)} ${event.next === event.to ? "directly" : `by ${name(event.next)}`}, cost ${event.cost}`, tone: "" };
    case "cable":
      return event.state === "cut" ? { text: `Cable ${recording.street.cables[event.id]!.id} is cut`, tone: "bad" } : { text: `Cable ${recording.street.cables[event.id]!.id} is whole again`, tone: "good" };
    case "noise":
      return { text: `Noise of ${event.db} dB at junction ${recording.street.junctions[event.junction]!.id}`, tone: "warn" };
    case "node":
      return { text: `${name(event.id)} is ${event.state}`, tone: event.state === "off" ? "bad" : "good" };
    case "alarm":
      return { text: `${name(event.node)}: ${event.text}`, tone: "warn" };
    case "end":
      return { text: "End of the recording", tone: "" };
    default:
      return { text: "", tone: "" };
  }
}
