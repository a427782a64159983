/**
 * Everything that is known of a street, in order: grows while a recording is read or a live street talks, and gives the state at any
 * time. A copy of the state is kept every few thousand events; from there a seek applies the rest.
 */

import { GROUPS, GROUP_OF } from "./palette";
import { detailOf, type Detail, type Event, type Frame, type ProfileEvent, type RouteEvent, type Street } from "./events";
import { Index, State } from "./state";

/** Events between two keyframes: a seek applies that many at most, a few milliseconds. */
const KEYFRAME = 4096;
/** A live page that stays open keeps this many frames, then lets the oldest third go. */
const MAX_LIVE_FRAMES = 240_000;
/** How far back an event may belong: a frame is told when its fate is known, and dated when it began. */
const LATE = 512;

/** Where the text of a recording is, for the frames' layers. */
export interface Text { line(at: number): string | null }

/** What happened besides frames: for the list of events and the marks on the time line. */
export type Happening = Exclude<Event, Frame | ProfileEvent>;

export class Recording {
  readonly index: Index;
  readonly events: Event[] = [];
  readonly frames: Frame[] = [];
  readonly happenings: Happening[] = [];
  readonly marks: Happening[] = [];
  readonly profiles = new Map<number, ProfileEvent[]>();
  /** Air time of each second and kind group, from `begin` on. */
  histogram = new Float32Array(GROUPS.length * 256);
  begin = Infinity;
  end = 0;
  maxAir = 0.05;
  /** Lines and events that could not be used. */
  skipped = 0;
  complete = false;
  text: Text | null = null;

  private readonly times: number[] = [];
  private keyframes: { at: number; state: State }[] = [];
  private tail: State;
  private cursor: { at: number; state: State };

  constructor(readonly street: Street, readonly live: boolean) {
    this.index = new Index(street);
    this.tail = new State(this.index);
    this.keyframes.push({ at: 0, state: this.tail.copy() });
    this.cursor = { at: 0, state: this.tail.copy() };
  }

  push(raw: Event): void {
    const event = this.numbered(raw);
    if (!event) {
      this.skipped++;
      return;
    }
    if (this.begin === Infinity) this.begin = event.t;
    this.end = Math.max(this.end, event.t + (event.e === "frame" ? event.air : 0));
    this.times.push(Math.max(event.t, this.times.at(-1) ?? -Infinity));
    this.events.push(event);
    this.tail.apply(event);
    if (event.e === "frame") this.pushFrame(event);
    else if (event.e === "profile") this.pushProfile(event);
    else this.pushHappening(event);
    if (this.events.length % KEYFRAME === 0) this.keyframes.push({ at: this.events.length, state: this.tail.copy() });
    if (this.live && this.frames.length > MAX_LIVE_FRAMES) this.trim();
  }

  private pushFrame(frame: Frame): void {
    let at = this.frames.length;
    while (at > 0 && this.frames.length - at < LATE && this.frames[at - 1]!.t > frame.t) at--;
    if (at === this.frames.length) this.frames.push(frame);
    else this.frames.splice(at, 0, frame);
    this.maxAir = Math.max(this.maxAir, frame.air);
    const second = Math.max(0, Math.floor(frame.t - this.begin));
    if (second > 2_000_000) return;
    const cell = second * GROUPS.length + GROUP_OF[frame.kind]!;
    if (cell >= this.histogram.length) {
      const larger = new Float32Array(Math.max(this.histogram.length * 2, (second + 1) * GROUPS.length));
      larger.set(this.histogram);
      this.histogram = larger;
    }
    this.histogram[cell]! += frame.air;
  }

  private pushProfile(event: ProfileEvent): void {
    const told = this.profiles.get(event.node);
    if (told) told.push(event);
    else this.profiles.set(event.node, [event]);
  }

  private pushHappening(event: Happening): void {
    if (event.e === "progress") return;
    if (event.e !== "reading") this.happenings.push(event);
    if (event.e === "cable" || event.e === "noise" || event.e === "node" || (event.e === "join" && event.state === "declined")) this.marks.push(event);
  }

  /** `event` with ids replaced by numbers of the street's lists; null when it speaks of what is not there. */
  private numbered(event: Event): Event | null {
    const { node } = this.index;
    if (event.e === "frame") {
      const src = node.get(event.src);
      if (src === undefined) return null;
      const number = (id: number | null) => (id === null ? null : (node.get(id) ?? null));
      event.src = src;
      event.dst = node.get(event.dst) ?? -1;
      event.orig = number(event.orig);
      event.final = number(event.final);
      for (let i = 0; i < event.got.length; i++) event.got[i] = node.get(event.got[i]!) ?? -1;
      return event;
    }
    if (event.e === "progress" || event.e === "end") return event;
    if (event.e === "route") {
      const from = node.get(event.node), to = node.get(event.to);
      if (from === undefined || to === undefined) return null;
      const next = event.next === null ? null : (node.get(event.next) ?? null);
      return { ...event, node: from, to, next } satisfies RouteEvent;
    }
    if (event.e === "cable") return this.renumbered(event, "id", this.index.cable);
    if (event.e === "noise") return this.renumbered(event, "junction", this.index.junction);
    if (event.e === "node") return this.renumbered(event, "id", node);
    return this.renumbered(event, "node", node);
  }

  private renumbered<E extends Event>(event: E, key: keyof E, numbers: Map<number, number>): E | null {
    const number = numbers.get(event[key] as number);
    return number === undefined ? null : { ...event, [key]: number };
  }

  /** The newest state; not to be changed. */
  get latest(): State {
    return this.tail;
  }

  /** The state at `t`. It stays the recording's: valid until the next call. */
  stateAt(t: number): State {
    const wanted = upperBound(this.times, t);
    if (wanted < this.cursor.at || wanted - this.cursor.at > KEYFRAME) {
      const key = this.keyframes[upperBoundBy(this.keyframes, wanted, (k) => k.at) - 1]!;
      this.cursor = { at: key.at, state: key.state.copy() };
    }
    const { state } = this.cursor;
    for (let at = this.cursor.at; at < wanted; at++) state.apply(this.events[at]!);
    this.cursor.at = wanted;
    return state;
  }

  /** How many frames began at or before `t`: the number of the next frame. */
  framesUntil(t: number): number {
    return upperBoundBy(this.frames, t, (frame) => frame.t);
  }

  happeningsUntil(t: number): number {
    return upperBoundBy(this.happenings, t, (event) => event.t);
  }

  /** The profile rows of a node known at `t`, in order of time. */
  profileAt(node: number, t: number): { unit: string; name: string; rows: [number, number][] } | null {
    const told = (this.profiles.get(node) ?? []).filter((event) => event.t <= t);
    if (!told.length) return null;
    const rows = new Map<number, number>();
    const first = told[0]!;
    for (const event of told) if (event.name === first.name) for (const [at, value] of event.rows) rows.set(at, value);
    return { unit: first.unit, name: first.name, rows: [...rows].sort((a, b) => a[0] - b[0]) };
  }

  /** A frame's bytes and layers, if this recording has them. */
  detail(frame: Frame): Detail | null {
    if (typeof frame.detail !== "number") return frame.detail;
    const line = this.text?.line(frame.detail);
    try {
      return line ? detailOf(JSON.parse(line)) : null;
    } catch {
      return null;
    }
  }

  private trim(): void {
    const key = this.keyframes[Math.ceil(this.keyframes.length / 3)];
    if (!key) return;
    const from = this.times[key.at] ?? this.end;
    this.events.splice(0, key.at);
    this.times.splice(0, key.at);
    this.frames.splice(0, this.framesUntil(from));
    this.happenings.splice(0, this.happeningsUntil(from));
    this.keyframes = this.keyframes.filter((k) => k.at >= key.at).map((k) => ({ at: k.at - key.at, state: k.state }));
    this.cursor = { at: 0, state: this.keyframes[0]!.state.copy() };
    const seconds = Math.floor(from - this.begin);
    this.histogram = this.histogram.slice(seconds * GROUPS.length);
    this.begin += seconds;
  }
}

function upperBound(values: number[], wanted: number): number {
  return upperBoundBy(values, wanted, (value) => value);
}

/** The number of items whose key is at most `wanted`; items are in order of their keys. */
export function upperBoundBy<T>(items: readonly T[], wanted: number, key: (item: T) => number): number {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (key(items[middle]!) <= wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
