/** A load profile as bars, read by pointer or arrow keys: a register that only grows is shown as what was used in each interval. */

import { h, say, svg } from "./dom";

export interface Profile { unit: string; name: string; rows: [number, number][] }

/** Bars of a profile: [times, values], what they mean. A register's rows become differences. */
export function barsOf(rows: [number, number][]): { times: number[]; values: number[]; differences: boolean } {
  // energies of intervals may rise for a while by chance, but not all day
  const grows = rows.length > 5 && rows.every(([, value], i) => i === 0 || value >= rows[i - 1]![1]);
  if (!grows) return { times: rows.map((r) => r[0]), values: rows.map((r) => r[1]), differences: false };
  return { times: rows.slice(1).map((r) => r[0]), values: rows.slice(1).map((r, i) => r[1] - rows[i]![1]), differences: true };
}

/** Round values for an axis from 0 to at least `most`. */
export function marks(most: number): number[] {
  if (!(most > 0)) return [0, 1];
  const rough = most / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= rough)!;
  return Array.from({ length: Math.ceil(most / step - 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

const WIDTH = 360, HEIGHT = 170, LEFT = 44, BOTTOM = 22, TOP = 8;
const utc = (seconds: number) => new Date(seconds * 1000).toISOString();
const short = (n: number) => (n >= 10_000 ? `${Number((n / 1000).toPrecision(3))}k` : String(Number(n.toPrecision(4))));

/** Draw into `place`; returns the title. */
export function drawProfile(place: HTMLElement, { unit, name, rows }: Profile): string {
  const { times, values, differences } = barsOf(rows);
  const axis = marks(Math.max(...values.slice(0, 5000), 0));
  const top = axis.at(-1)!, wide = (WIDTH - LEFT) / Math.max(1, values.length);
  const y = (value: number) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.max(0, value) / top);
  const told = h("output", { class: "profile-value" });
  const bars = values.map((value, i) => svg("rect", { x: (LEFT + i * wide + wide * 0.1).toFixed(2), width: (wide * 0.8).toFixed(2), y: y(value).toFixed(2), height: (HEIGHT - BOTTOM - y(value)).toFixed(2), rx: Math.min(2, wide / 4) }));
  const line = (i: number) => `${utc(times[i]!).slice(0, 16).replace("T", " ")} UTC: ${values[i]} ${unit}`;
  const rest = `${differences ? "used in each interval" : "as read"}; the most ${short(Math.max(...values, 0))} ${unit}`;
  let chosen = -1;
  const choose = (i: number) => {
    bars[chosen]?.removeAttribute("class");
    chosen = i;
    bars[chosen]?.setAttribute("class", "chosen");
    say(told, bars[chosen] ? line(chosen) : rest);
  };
  const every = Math.max(1, Math.ceil(values.length / 6));
  const picture = svg("svg", { class: "profile", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: 0, role: "img", "aria-label": `${values.length} bars, ${rest}. Arrow keys read them one by one.` },
    ...axis.flatMap((value) => [svg("path", { class: "grid", d: `M${LEFT} ${y(value)}H${WIDTH}` }), svg("text", { x: LEFT - 6, y: y(value) + 3.5, "text-anchor": "end" }, short(value))]),
    ...bars,
    ...times.flatMap((time, i) => (i % every ? [] : [svg("text", { x: LEFT + (i + 0.5) * wide, y: HEIGHT - 6, "text-anchor": "middle" }, utc(time).slice(11, 16))])));
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    choose(Math.floor((((event.clientX - box.left) / box.width) * WIDTH - LEFT) / wide));
  });
  picture.addEventListener("pointerleave", () => choose(-1));
  picture.addEventListener("keydown", (event) => {
    const by = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!by) return;
    event.preventDefault();
    event.stopPropagation();
    choose(Math.min(values.length - 1, Math.max(0, chosen + by)));
  });
  choose(-1);
  const table = h("details", { class: "layer" }, h("summary", {}, `As a table (${rows.length} rows)`), h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time (UTC)"), h("th", { scope: "col" }, unit))),
    h("tbody", {}, ...rows.slice(0, 400).map(([at, value]) => h("tr", {}, h("td", {}, utc(at).slice(0, 16).replace("T", " ")), h("td", {}, String(value)))))));
  place.replaceChildren(picture, told, table);
  const total = values.reduce((sum, value) => sum + value, 0);
  return `Load profile${name ? ` ${name}` : ""}${unit === "Wh" ? `, ${(total / 1000).toFixed(1)} kWh in ${values.length} intervals` : ""}`;
}
