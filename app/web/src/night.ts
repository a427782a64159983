/** The left side: how far the night is, how near to the physical limit, and what the air was spent on. The table is the legend, too. */

import { byId, count, duration, h, percent, say, svg } from "./dom";
import { KIND_NUMBER } from "./events";
import { GROUPS, tracePath, isStroked, type Group } from "./palette";
import type { Recording } from "./recording";
import type { State } from "./state";

interface Row { group: Group; button: HTMLButtonElement; bar: HTMLElement; share: HTMLElement; air: HTMLElement }

export class Night {
  onToggle: (group: number) => void = () => {};
  private readonly rows: Row[];
  private readonly arc = svg("path", { class: "gauge-arc", d: arcPath(0) });
  private readonly percent = svg("text", { class: "gauge-number", x: 80, y: 74, "text-anchor": "middle" });
  /** A device sees no frames and knows no limit. */
  private frameless = false;
  private readonly stats = new Map<string, HTMLElement>();

  constructor() {
    byId("gauge").replaceChildren(
      svg("svg", { viewBox: "0 0 160 92", role: "img", "aria-labelledby": "gauge-title" },
        svg("path", { class: "gauge-track", d: arcPath(1) }),
        ...[0.25, 0.5, 0.75].map((share) => tick(share)),
        this.arc, this.percent),
    );
    const list = byId("kinds");
    list.replaceChildren();
    this.rows = GROUPS.map((group, number) => {
      const bar = h("i", { class: `bar pattern-${group.id}` });
      const share = h("b"), air = h("small");
      const button = h("button", { type: "button", class: `kind kind-${group.id}`, "aria-pressed": "true", title: `${group.kinds.join(", ")}: ${group.what}. Click to hide or show.`, onClick: () => this.onToggle(number) },
        glyph(group), h("span", { class: "kind-title" }, group.title, group.title.length + group.kinds.join(" ").length < 22 ? h("small", {}, group.kinds.join(" ")) : null), share, h("span", { class: "track" }, bar), air);
      list.append(h("li", {}, button));
      return { group, button, bar, share, air };
    });
    const stats = byId("stats");
    stats.replaceChildren();
    for (const [id, title] of [["joined", "Joined"], ["complete", "Complete"], ["frames", "Frames"], ["lost", "Lost on the air"], ["elapsed", "Elapsed"], ["floor", "Floor"]] as const) {
      const value = h("dd");
      stats.append(h("div", {}, h("dt", {}, title), value));
      this.stats.set(id, value);
    }
    byId("stats").children[5]!.setAttribute("title", "The least air time that the same readings could take: no losses, no two exchanges at a time, back-off included");
  }

  setHidden(hidden: ReadonlySet<number>): void {
    this.rows.forEach((row, at) => row.button.setAttribute("aria-pressed", String(!hidden.has(at))));
  }

  draw(recording: Recording, state: State, t: number): void {
    const { meters, joined, complete, off } = state.census();
    const share = state.expected ? state.collected / state.expected : 0;
    byId("progress").style.setProperty("--share", String(share));
    byId("progress").setAttribute("aria-valuenow", String(Math.round(100 * share)));
    say(byId("progress-text"), state.expected ? `${count(state.collected)} of ${count(state.expected)} readings` : "No readings yet");
    say(byId("progress-share"), state.expected ? percent(share) : "");
    say(this.stats.get("joined")!, `${count(joined)} / ${count(meters)}${off ? ` · ${off} off` : ""}`);
    say(this.stats.get("complete")!, `${count(complete)} / ${count(meters)}`);
    say(this.stats.get("frames")!, count(state.frames));
    say(this.stats.get("lost")!, state.frames ? `${percent(state.failed / state.frames, 1)}` : "–");
    this.stats.get("lost")!.title = Object.entries(state.lost).map(([why, n]) => `${why}: ${n}`).join(", ");
    say(this.stats.get("elapsed")!, recording.begin === Infinity ? "–" : duration(t - recording.begin));
    say(this.stats.get("floor")!, state.floor === null ? "–" : duration(state.floor));
    this.frameless = state.frames === 0;
    this.drawGauge(state.share);
    const total = state.air.reduce((sum, air) => sum + air, 0);
    for (const row of this.rows) {
      const air = row.group.kinds.reduce((sum, kind) => sum + state.air[KIND_NUMBER.get(kind)!]!, 0);
      row.bar.style.width = `${total ? (100 * air) / total : 0}%`;
      say(row.share, total ? percent(air / total, air / total < 0.1 && air > 0 ? 1 : 0) : "");
      say(row.air, air ? duration(air) : "");
    }
    say(byId("air-total"), total ? `${duration(total)} on the air` : "");
  }

  private drawGauge(share: number | null): void {
    byId("gauge").parentElement!.hidden = share === null && this.frameless;
    this.arc.setAttribute("d", arcPath(Math.min(1, Math.max(0, share ?? 0))));
    say(this.percent, share === null ? "–" : percent(share));
    say(byId("gauge-text"), share === null ? "Not known yet" : `${percent(share)} of the physical limit`);
  }
}

function point(share: number, r: number): [number, number] {
  const angle = Math.PI * (1 - share);
  return [80 + r * Math.cos(angle), 80 - r * Math.sin(angle)];
}

function arcPath(share: number): string {
  const [x, y] = point(share, 64);
  return share <= 0 ? "" : `M16 80A64 64 0 0 1 ${x.toFixed(2)} ${y.toFixed(2)}`;
}

function tick(share: number): SVGElement {
  const [x0, y0] = point(share, 54), [x1, y1] = point(share, 50);
  return svg("path", { class: "gauge-tick", d: `M${x0} ${y0}L${x1} ${y1}` });
}

/** A group's mark as it moves over the cables. */
export function glyph(group: Group): SVGElement {
  const points: string[] = [];
  const recorder = {
    moveTo: (x: number, y: number) => points.push(`M${x.toFixed(2)} ${y.toFixed(2)}`),
    lineTo: (x: number, y: number) => points.push(`L${x.toFixed(2)} ${y.toFixed(2)}`),
    closePath: () => points.push("Z"),
    arc: (x: number, y: number, r: number) => points.push(`M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`),
  };
  tracePath(recorder as unknown as CanvasRenderingContext2D, group.shape, 8, 8, 4.6);
  return svg("svg", { class: `glyph glyph-${group.id}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { d: points.join(""), class: isStroked(group.shape) ? "line" : "solid" }));
}
