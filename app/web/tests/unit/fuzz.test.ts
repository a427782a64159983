/**
 * What the page reads, mutated: a recording of the simulated street (support/recorded.jsonl, three homes) and the tests' own street, changed byte by
 * byte, line by line and value by value. Whatever comes, nothing throws, nothing that is drawn is no number, and what cannot be used is
 * counted. The seed is fixed: a failure can be repeated. It stops after so many inputs, not after so many seconds.
 */

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { brief, detailOf, readLine, type Event, type Message, type Street } from "../../src/events";
import { Recording } from "../../src/recording";
import { readRecording, type Status } from "../../src/source";
import { record } from "../support/street";

const RECORDED = readFileSync(new URL("../support/recorded.jsonl", import.meta.url), "utf8");
const MADE = record({ meters: 3 });
const LINES = [RECORDED, MADE].map((text) => text.trim().split("\n"));
const ODD = [null, true, -1, 0, 0.5, 65536, 2 ** 53, 1e308, -1e308, "", "x".repeat(300), "9", [], {}, [null], [[]], { toString: 1 }, { length: 3 }, JSON.parse('{"__proto__":{"e":"frame"}}')];

class Chance {
  constructor(private state: number) {}
  next(n: number): number {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.state / 2 ** 32) * n);
  }
  of<T>(items: readonly T[]): T {
    return items[this.next(items.length)]!;
  }
}

/** A line with one value, somewhere in it, that is another, twice there, or gone. */
function bent(line: string, chance: Chance): string {
  const whole = JSON.parse(line) as unknown;
  let holder: unknown = { whole }, key: string | number = "whole";
  for (let depth = chance.next(6); depth >= 0; depth--) {
    const inner: unknown = (holder as Record<string, unknown>)[key];
    if (typeof inner !== "object" || inner === null || !Object.keys(inner).length) break;
    holder = inner;
    key = chance.of(Object.keys(inner));
  }
  const place = holder as Record<string, unknown>;
  const what = chance.next(4);
  if (what === 0) delete place[key];
  else if (what === 1) place[key] = [place[key], place[key]];
  else place[key] = chance.of(ODD);
  return JSON.stringify("whole" in place ? place["whole"] : whole) ?? "";
}

/** A recording's lines with some of them bent, cut, repeated, exchanged, or of another recording. */
function mutated(chance: Chance): string[] {
  const lines = [...chance.of(LINES)];
  for (let times = 1 + chance.next(12); times > 0; times--) {
    const at = chance.next(6) ? chance.next(lines.length) : 0, line = lines[at]!; // the first one tells of the street
    switch (chance.next(7)) {
      case 0: lines[at] = line.slice(0, chance.next(line.length + 1)); break;
      case 1: lines.splice(at, 0, line); break;
      case 2: lines.splice(at, 1); break;
      case 3: lines[at] = chance.of(chance.of(LINES)); break;
      case 4: lines[at] = line.replace(/-?\d+(\.\d+)?/g, (n) => (chance.next(9) ? n : String(chance.of([-1, 1e308, 1e16, 0, 99999])))); break;
      default: try { lines[at] = bent(line, chance); } catch { /* cut before */ }
    }
    if (!lines.length) lines.push("");
  }
  return lines;
}

const finite = (...values: (number | null)[]) => values.every((value) => value === null || Number.isFinite(value));

/** Feed a recording and look at it as the page does; complain of what would be drawn wrongly. */
function looked(messages: (Message | null | undefined)[], live: boolean): Recording | null {
  const street = messages.find((message): message is Street => message?.e === "street");
  if (!street) return null;
  const recording = new Recording(street, live);
  let told = 0;
  for (const message of messages) {
    if (!message || ["street", "hello", "lost", "collector", "clock"].includes(message.e)) continue;
    recording.push(message as Event);
    told++;
  }
  expect(recording.events.length + recording.skipped).toBe(told);
  const nodes = street.nodes.length;
  recording.frames.forEach((frame, at) => {
    expect(finite(frame.t, frame.air, frame.size, frame.id, ...frame.got, ...frame.att, frame.orig, frame.final)).toBe(true);
    expect(frame.src >= 0 && frame.src < nodes && frame.dst < nodes).toBe(true);
    if (at) expect(recording.frames[at - 1]!.t).toBeLessThanOrEqual(frame.t);
    const detail = recording.detail(frame);
    for (const [title, fields] of detail?.layers ?? []) for (const [name, value] of fields) expect(typeof (title + name + brief(value))).toBe("string");
  });
  if (!recording.events.length) return recording;
  for (const share of [0, 0.5, 1]) {
    const t = recording.begin + share * (recording.end - recording.begin);
    const state = recording.stateAt(t);
    expect(finite(state.t, state.collected, state.expected, state.floor, state.share, ...state.air)).toBe(true);
    for (let node = 0; node < Math.min(nodes, 8); node++) {
      expect(state.path(node, 0).nodes.length).toBeLessThanOrEqual(65);
      expect(recording.profileAt(node, t)?.rows.every((row) => finite(...row)) ?? true).toBe(true);
    }
    state.census();
  }
  return recording;
}

describe("whatever is done to a recording", () => {
  test("its lines are read or counted, and what they add up to can be looked at", () => {
    const chance = new Chance(1);
    let whole = 0;
    for (let round = 0; round < 1_000; round++) {
      const live = round % 2 === 0;
      if (looked(mutated(chance).map((line) => readLine(line, live)), live)) whole++;
    }
    expect(whole).toBeGreaterThan(600); // most are damaged, not destroyed
  }, 120_000);

  test("its bytes are read to their end, or it is said how far they went", async () => {
    const chance = new Chance(2);
    const short = (lines: string[]) => [...lines.slice(0, 60), lines.at(-1)].join("\n");
    const packed = LINES.map((lines) => gzipSync(short(lines)));
    const outcomes = new Set<string>();
    for (let round = 0; round < 400; round++) {
      const bytes = Uint8Array.from(round % 2 ? chance.of(packed) : Buffer.from(short(mutated(chance))));
      for (let times = chance.next(4); times > 0; times--) bytes[chance.next(bytes.length)]! ^= 1 << chance.next(8);
      const data = chance.next(3) ? bytes : bytes.slice(0, chance.next(bytes.length));
      const messages: Message[] = [];
      let skipped = 0, last: Status | null = null;
      const text = await readRecording(data, { message: (message) => messages.push(message), skipped: () => skipped++, status: (status) => (last = status) });
      const status = last as Status | null;
      expect(["ready", "broken"]).toContain(status?.kind);
      outcomes.add(status?.kind === "broken" ? (status.partial ? "partial" : "broken") : "ready");
      looked(messages, false);
      for (const at of [0, 7, data.length, data.length + 9]) expect(() => detailOf(text.line(at))).not.toThrow();
    }
    expect(outcomes).toEqual(new Set(["ready", "partial", "broken"]));
  }, 120_000);

  test("the mutator reaches what it is for: events refused, events unknown, streets without nodes", () => {
    const chance = new Chance(3), seen = new Set<string>();
    for (let round = 0; round < 300; round++) {
      for (const line of mutated(chance)) {
        const message = readLine(line, true);
        seen.add(message === null ? "no event" : message === undefined ? "nothing here" : message.e === "street" && !message.nodes.length ? "empty street" : message.e);
      }
    }
    expect([...seen].sort()).toEqual(expect.arrayContaining(["no event", "nothing here", "empty street", "frame", "join", "route", "profile", "reading", "progress", "cable", "end"]));
  });
});

describe("what would take the tab down", () => {
  test("values that nest without end, or bring a text of their own, are cut short", () => {
    const deep = JSON.parse(`${"[".repeat(100_000)}${"]".repeat(100_000)}`) as unknown;
    for (const value of [deep, [deep], { toString: 1, valueOf: 2 }, { a: deep }]) expect(brief(value)).toBe("…");
    expect(brief([1, "a", true])).toBe("1, a, true");
    const line = JSON.stringify({ e: "frame", t: 1, src: 0, layers: [["MAC", [["x", { toString: 1 }]]]] });
    expect(readLine(line, true)).toMatchObject({ detail: { layers: [["MAC", [["x", { toString: 1 }]]]] } });
  });

  test("lists without end are cut short", () => {
    const many = Array.from({ length: 200_000 }, (_, at) => at);
    const frame = readLine(JSON.stringify({ e: "frame", t: 1, src: 0, got: many, att: many }), false);
    expect(frame).toMatchObject({ e: "frame" });
    if (frame?.e === "frame") expect([frame.got.length, frame.att.length, Math.max(...frame.att)]).toEqual([50_000, 50_000, 49_999]);
  });

  test("a node that tells of its profile again and again costs what is told, not its square", () => {
    const recording = new Recording(readLine('{"e":"street","nodes":[{"id":0}]}', true) as Street, true);
    for (let i = 0; i < 100_000; i++) recording.push({ e: "profile", t: i, node: 0, unit: "Wh", name: "p", rows: [] });
    expect(recording.profiles.get(0)!.length).toBe(100_000);
  }, 60_000);
});

test("canary: a reader that believes a number is found out", () => {
  const believed = { e: "frame", t: 1, id: 0, src: 0, dst: -1, kind: 0, air: Number.NaN, mod: "", size: 0, got: [], att: [], lost: null, orig: null, final: null, detail: null } as Event;
  const street = readLine('{"e":"street","nodes":[{"id":0}]}', true)!;
  expect(() => looked([street, believed], false)).toThrow();
  expect(() => looked([street, { ...believed, air: 0 } as Event], false)).not.toThrow();
});
