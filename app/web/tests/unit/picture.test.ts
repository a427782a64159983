import { describe, expect, test } from "vitest";
import { readLine, type Event, type Frame, type Street } from "../../src/events";
import { Flows } from "../../src/flow";
import { GROUPS, GROUP_OF, brightness } from "../../src/palette";
import { bounds, makePlan, type Layout } from "../../src/plan";
import { barsOf, marks } from "../../src/profile";
import { Recording } from "../../src/recording";
import { clock, duration } from "../../src/dom";
import { record } from "../support/street";

function load(meters: number): Recording {
  const [first, ...rest] = record({ meters }).trim().split("\n").map((line) => readLine(line, true));
  const recording = new Recording(first as Street, false);
  for (const event of rest) if (event) recording.push(event as Event);
  return recording;
}

describe.each([48, 200])("a street of %i", (meters) => {
  const recording = load(meters);

  test.each(["map", "feeder", "routes"] as Layout[])("has a place for everybody on the %s, no two in one", (layout) => {
    const plan = makePlan(recording.index, layout, recording.latest, 1.3);
    const places = new Set<string>();
    for (let node = 0; node <= meters; node++) {
      const x = plan.x[plan.junctions + node]!, y = plan.y[plan.junctions + node]!;
      expect(Number.isFinite(x + y)).toBe(true);
      places.add(`${x.toFixed(3)},${y.toFixed(3)}`);
    }
    expect(places.size).toBe(meters + 1);
    const [x0, y0, x1, y1] = bounds(plan);
    expect(x1 - x0).toBeGreaterThan(0);
    expect(y1 - y0).toBeGreaterThan(0);
  });

  test("behind the transformer's cables are all meters", () => {
    const plan = makePlan(recording.index, "feeder", recording.latest, 1.3);
    expect(Math.max(...plan.load)).toBeLessThanOrEqual(meters);
    let sum = 0;
    const start = plan.from[plan.cables + recording.index.coordinator]!;
    plan.from.forEach((v, e) => {
      if (plan.cable[e]! >= 0 && (v === start || plan.to[e] === start)) sum += plan.load[e]!;
    });
    expect(sum).toBe(meters);
  });

  test.each(["map", "feeder"] as Layout[])("a frame's way on the %s is connected, begins at its sender and ends at each receiver", (layout) => {
    const plan = makePlan(recording.index, layout, recording.latest, 1.3);
    const flows = new Flows(plan, recording.latest.cut);
    for (const frame of recording.frames.filter((_, at, all) => at % Math.ceil(all.length / 60) === 0)) {
      const flow = flows.of(frame);
      const reached = new Map([[plan.junctions + frame.src, 0]]);
      flow.a.forEach((a, i) => {
        expect(reached.get(a)).toBeCloseTo(flow.near[i]!, 6);
        expect(flow.far[i]! - flow.near[i]!).toBeCloseTo(Math.hypot(plan.x[a]! - plan.x[flow.b[i]!]!, plan.y[a]! - plan.y[flow.b[i]!]!), 6);
        reached.set(flow.b[i]!, flow.far[i]!);
      });
      for (const node of frame.got) expect(reached.has(plan.junctions + node)).toBe(true);
      expect(flow.ends.filter((end) => !end.lost).length).toBeGreaterThanOrEqual(frame.got.length);
    }
  });

  test("a frame that met a cut cable ends there", () => {
    const state = recording.latest.copy();
    const plan = makePlan(recording.index, "map", state, 1);
    const far = meters, cable = plan.from.findIndex((v, e) => plan.cable[e]! >= 0 && v === plan.from[plan.cables + recording.index.coordinator]! && plan.load[e]! > 0);
    const behind = [...Array(meters + 1).keys()].slice(1);
    state.cut.fill(0);
    state.cut[plan.cable[cable]!] = 1;
    const flows = new Flows(plan, state.cut);
    const frame = (dst: number): Frame => ({ e: "frame", t: 1, id: dst, src: 0, dst, kind: 10, air: 0.1, mod: "ROBO", size: 9, got: [], att: [], lost: "cut", orig: null, final: null, detail: null });
    const ended = behind.filter((dst) => flows.of(frame(dst)).ends[0]!.vertex === plan.to[cable]);
    expect(ended.length).toBe(plan.load[cable]);
    expect(far).toBe(meters);
  });
});

describe("the palette", () => {
  test("has each kind in one group, and no shape twice", () => {
    expect(GROUP_OF.every((group) => group >= 0)).toBe(true);
    expect(new Set(GROUPS.map((group) => group.shape)).size).toBe(GROUPS.length);
  });

  // Machado, Oliveira, Fernandes 2009: full dichromacies, on linear RGB
  const SIGHTS = {
    full: [1, 0, 0, 0, 1, 0, 0, 0, 1],
    protan: [0.152286, 1.052583, -0.204868, 0.114503, 0.786281, 0.099216, -0.003882, -0.048116, 1.051998],
    deutan: [0.367322, 0.860646, -0.227968, 0.280085, 0.672501, 0.047413, -0.01182, 0.04294, 0.968881],
    tritan: [1.255528, -0.076749, -0.178779, -0.078411, 0.930809, 0.147602, 0.004733, 0.691367, 0.3039],
  };
  const linear = (hex: string) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  const lab = (hex: string, m: number[]) => {
    const rgb = linear(hex);
    const [r, g, b] = [0, 3, 6].map((row) => Math.min(1, Math.max(0, m[row]! * rgb[0]! + m[row + 1]! * rgb[1]! + m[row + 2]! * rgb[2]!))) as [number, number, number];
    const f = (t: number) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
    const [x, y, z] = [f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505), f(0.2126 * r + 0.7152 * g + 0.0722 * b), f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089)];
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)] as const;
  };
  const luminance = (hex: string) => linear(hex).reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i]!, 0);

  test.each(Object.keys(SIGHTS) as (keyof typeof SIGHTS)[])("tells its groups apart by %s sight, in the dark and in the light", (sight) => {
    for (const theme of ["dark", "light"] as const) {
      for (const [i, one] of GROUPS.entries()) {
        for (const other of GROUPS.slice(i + 1)) {
          const [a, b] = [lab(one[theme], SIGHTS[sight]), lab(other[theme], SIGHTS[sight])];
          const apart = Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
          expect(apart, `${one.id} and ${other.id}, ${theme}`).toBeGreaterThan(sight === "full" ? 30 : 15);
        }
      }
    }
  });

  test("stands out from its ground: 3 to 1 at least", () => {
    for (const [theme, ground] of [["dark", "#0b1120"], ["light", "#f8fafd"]] as const) {
      for (const group of GROUPS) {
        const [a, b] = [luminance(group[theme]), luminance(ground)];
        expect((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), `${group.id}, ${theme}`).toBeGreaterThan(3);
      }
    }
  });

  test("is the fainter, the weaker the signal, and never gone", () => {
    expect([brightness(0), brightness(200), brightness(-5)]).toEqual([1, 0.22, 1]);
    for (let db = 0; db < 70; db++) expect(brightness(db + 1)).toBeLessThan(brightness(db));
  });
});

describe("a profile", () => {
  test("of a register shows what was used", () => expect(barsOf([[0, 1000], [1, 1010], [2, 1010], [3, 1040], [4, 1041], [5, 1050]])).toEqual({ times: [1, 2, 3, 4, 5], values: [10, 0, 30, 1, 9], differences: true }));
  test("of intervals is shown as it is, also where it rises", () => {
    expect(barsOf([[0, 5], [3600, 9], [7200, 14]]).differences).toBe(false);
    expect(barsOf([[0, 9], [3600, 5], [7200, 14]]).values).toEqual([9, 5, 14]);
  });
  test("has round marks that reach its top", () => {
    for (const most of [0, 0.3, 1, 7, 99, 100, 812.5, 31_000]) {
      const axis = marks(most);
      expect(axis[0]).toBe(0);
      expect(axis.at(-1)).toBeGreaterThanOrEqual(most);
      expect(axis.length).toBeLessThan(6);
    }
  });
});

test("times are written as people read them", () => {
  expect(clock(Date.UTC(2026, 0, 1, 23, 59, 0) / 1000, 61.25, 2)).toBe("00:00:01.25");
  expect(clock(null, 3599.999, 2)).toBe("00:59:59.99");
  expect([0.05, 0.5, 59.94, 60, 3601].map(duration)).toEqual(["50.0 ms", "500 ms", "59.9 s", "1 min 00 s", "1 h 00 min"]);
});
