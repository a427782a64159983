/** A meter's own page: who it is, its way to the concentrator and what that costs, how it joined, and its load profile. */

import { byId, clock, count, duration, h, hex4, say, svg } from "./dom";
import { type JoinEvent } from "./events";
import { stateOf } from "./meters";
import { drawProfile } from "./profile";
import type { Recording } from "./recording";
import type { State } from "./state";

/** What goes between meter and concentrator at each step, and which way. */
const STEPS: Record<string, { text: string; up: boolean | null }> = {
  scan: { text: "beacon request", up: null },
  joining: { text: "JOINING", up: true },
  challenge1: { text: "CHALLENGE: who are you?", up: false },
  challenge2: { text: "CHALLENGE: keys, address", up: false },
  accepted: { text: "ACCEPTED", up: false },
  joined: { text: "joined", up: null },
  declined: { text: "DECLINE", up: false },
  left: { text: "left", up: true },
  kicked: { text: "KICK", up: false },
};

export class MeterPage {
  onNode: (node: number) => void = () => {};
  onFrames: (node: number) => void = () => {};
  /** On a device: read this meter now; null where that is not offered. */
  onPoll: ((node: number) => void) | null = null;
  /** In the simulation: let this meter start anew; null where that is not offered. */
  onReboot: ((node: number) => void) | null = null;
  private readonly root = byId("meter-page");
  private node: number | null = null;
  private drawn = "";
  private plotted = "";

  constructor(private readonly recording: Recording, private readonly labels: string[]) {}

  /** The colours or the width have changed. */
  refresh(): void {
    this.drawn = this.plotted = "";
  }

  show(node: number | null, state: State, t: number): void {
    if (node === null) {
      if (this.node !== null || !this.root.hasChildNodes()) this.root.replaceChildren(h("p", { class: "hint" }, "Choose a meter in the table or in the picture to see its way, how it joined and what it measured."));
      this.node = null;
      this.drawn = "";
      return;
    }
    const key = `${node}|${state.version}|${Math.floor(t)}`;
    if (key === this.drawn) return;
    this.drawn = key;
    if (node !== this.node) this.build(node);
    this.node = node;
    byId("only-frames").hidden = this.recording.frames.length === 0;
    this.fillFacts(node, state, t);
    this.fillWay(node, state);
    this.fillLadder(node, t);
    this.fillProfile(node, t);
  }

  private build(node: number): void {
    const { name, eui } = this.recording.street.nodes[node]!;
    this.plotted = "";
    this.root.replaceChildren(
      h("h3", { class: "meter-title" }, node === this.recording.index.coordinator ? "Concentrator" : name, h("small", { id: "meter-state", class: "state" })),
      h("dl", { class: "facts", id: "meter-facts" }),
      h("h4", {}, "Way to the concentrator"), h("div", { id: "meter-way" }),
      h("div", { id: "meter-ladder-box" }, h("h4", {}, "How it joined"), h("div", { id: "meter-ladder" })),
      h("div", { id: "meter-profile-box" }, h("h4", { id: "meter-profile-title" }, "Load profile"), h("div", { id: "meter-profile" })),
      h("details", { class: "layer", id: "meter-routes" }, h("summary", {}, "Routing table"), h("div")),
      this.onPoll ? h("button", { type: "button", class: "wide", id: "poll", onClick: () => this.onPoll?.(node) }, "Read it now") : "",
      this.onReboot && node !== this.recording.index.coordinator ? h("button", { type: "button", class: "wide", id: "reboot", onClick: () => this.onReboot?.(node) }, "Reboot it") : "",
      h("button", { type: "button", class: "wide", id: "only-frames", onClick: () => this.onFrames(node) }, "Only this node’s frames"),
    );
    this.root.dataset["eui"] = eui;
    this.root.scrollTop = 0;
  }

  private fillFacts(node: number, state: State, t: number): void {
    const { phase, eui } = this.recording.street.nodes[node]!;
    const told = stateOf(state, node);
    const box = byId("meter-state");
    say(box, told.text);
    box.className = `state ${told.tone}`;
    const short = state.short[node]!;
    const heard = state.heard[node]!;
    const facts: [string, string][] = [
      ["EUI-64", eui ? (eui.match(/../g) ?? []).join(":") : "–"],
      ["Short address", short === 0xffff ? (node === state.index.coordinator ? "0000" : "–") : hex4(short)],
      ["Phase", phase === "ABC" ? "three-phase" : phase || "–"],
      ["Readings", `${state.rows[node]} of ${state.rowsOf[node]}`],
      ["Frames sent", state.sent[node] ? `${count(state.sent[node]!)}, last ${duration(Math.max(0, t - heard))} ago` : "–"],
    ];
    const shown = node === state.index.coordinator ? facts.filter(([title]) => title !== "Readings") : facts;
    byId("meter-facts").replaceChildren(...shown.flatMap(([title, value]) => [h("dt", {}, title), h("dd", {}, value)]));
  }

  private name(node: number): string {
    return node === this.recording.index.coordinator ? "Concentrator" : (this.labels[node] ?? "?");
  }

  private fillWay(node: number, state: State): void {
    const { coordinator } = state.index;
    const way = byId("meter-way");
    if (node === coordinator) {
      let direct = 0;
      for (let other = 0; other < state.join.length; other++) if (state.route(other, coordinator)?.next === coordinator) direct++;
      way.replaceChildren(h("p", { class: "hint" }, `${direct} meter${direct === 1 ? "" : "s"} reach it in one hop.`));
    } else {
      const { nodes, whole } = state.path(node, coordinator);
      const route = state.route(node, coordinator);
      const chips = nodes.flatMap((hop, i) => {
        const link = h("button", { type: "button", class: `chip${hop === node ? " here" : ""}`, onClick: () => this.onNode(hop) }, this.name(hop));
        if (i + 1 >= nodes.length) return [link];
        const cost = state.route(hop, coordinator)!.cost - (nodes[i + 1] === coordinator ? 0 : (state.route(nodes[i + 1]!, coordinator)?.cost ?? 0));
        return [link, h("span", { class: "hop", title: "cost of this link" }, String(cost))];
      });
      way.replaceChildren(
        h("div", { class: "way-chips" }, ...chips, !whole && h("span", { class: "bad broken" }, nodes.length > 1 ? "✕ broken here" : "no route")),
        route ? h("p", { class: "hint" }, `${route.hops} hop${route.hops === 1 ? "" : "s"}, cost ${route.cost}, known since ${clock(this.recording.street.start, route.since)}.`) : h("p", { class: "hint" }, "LOADng finds a way when there is something to send."),
      );
    }
    const rows: HTMLElement[] = [];
    for (let to = 0; to < state.join.length && rows.length < 60; to++) {
      const route = state.route(node, to);
      if (route) rows.push(h("tr", {}, h("td", {}, this.name(to)), h("td", {}, this.name(route.next)), h("td", {}, String(route.hops)), h("td", {}, String(route.cost))));
    }
    const box = byId("meter-routes");
    say(box.firstElementChild!, `Routing table (${rows.length}${rows.length === 60 ? " and more" : ""})`);
    box.lastElementChild!.replaceChildren(h("table", {}, h("thead", {}, h("tr", {}, ...["To", "Next hop", "Hops", "Cost"].map((title) => h("th", { scope: "col" }, title)))), h("tbody", {}, ...rows)));
  }

  private fillLadder(node: number, t: number): void {
    const events = this.recording.happenings.filter((event): event is JoinEvent => event.e === "join" && event.node === node && event.t <= t);
    byId("meter-ladder-box").hidden = events.length === 0;
    if (events.length) byId("meter-ladder").replaceChildren(ladder(events.slice(-12), this.recording.street.start));
  }

  private fillProfile(node: number, t: number): void {
    const profile = this.recording.profileAt(node, t);
    byId("meter-profile-box").hidden = !profile;
    const key = profile ? `${profile.rows.length}|${profile.name}` : "";
    if (!profile || key === this.plotted) return;
    this.plotted = key;
    say(byId("meter-profile-title"), drawProfile(byId("meter-profile"), profile));
  }
}

/** The join as a sequence: the meter on the left, the concentrator on the right, time downwards. */
function ladder(events: JoinEvent[], start: number | null): SVGElement {
  const step = 30, width = 340, left = 84, right = 318, height = 30 + events.length * step;
  const lines = events.map((event, i) => {
    const { text, up } = STEPS[event.state] ?? { text: event.state, up: null };
    const y = 44 + i * step;
    const bad = event.state === "declined" || event.state === "kicked" || event.state === "left";
    const label = event.state === "joined" && event.short !== null ? `joined as ${hex4(event.short)}` : text;
    return svg("g", { class: bad ? "bad" : event.state === "joined" ? "good" : "" },
      svg("text", { x: 0, y: y + 4, class: "ladder-time" }, clock(start, event.t, 1)),
      up === null ? svg("circle", { cx: left, cy: y, r: 4.5 }) : svg("path", { class: "ladder-arrow", d: up ? `M${left} ${y}H${right - 2}m-7 -4l7 4l-7 4` : `M${right} ${y}H${left + 2}m7 -4l-7 4l7 4` }),
      svg("text", { x: up === null ? left + 12 : (left + right) / 2, y: y - (up === null ? -4 : 5), "text-anchor": up === null ? "start" : "middle" }, label));
  });
  const last = events.at(-1)!;
  return svg("svg", { class: "ladder", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${events.length} steps, the last: ${last.state} at ${clock(start, last.t)}` },
    svg("path", { class: "life", d: `M${left} 22V${height}M${right} 22V${height}` }),
    svg("text", { x: left, y: 13, "text-anchor": "middle", class: "ladder-head" }, "meter"), svg("text", { x: right, y: 13, "text-anchor": "middle", class: "ladder-head" }, "DCU"),
    ...lines);
}
