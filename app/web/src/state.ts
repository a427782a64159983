/**
 * What is true of the street at one moment: built by applying events, copied for keyframes, so that scrubbing applies a few thousand
 * events at most. Nodes are numbered by their place in the street's list; routes are kept flat, keyed by node and destination.
 */

import { JOIN_STATES, KINDS, type Event, type Frame, type Street } from "./events";

export interface Route { next: number; cost: number; hops: number; since: number }
export interface Noise { db: number; until: number }

export const JOINED = JOIN_STATES.indexOf("joined");

/** Numbers of a street's things, and where each id is. */
export class Index {
  readonly node = new Map<number, number>();
  readonly cable = new Map<number, number>();
  readonly junction = new Map<number, number>();
  readonly coordinator: number;
  constructor(readonly street: Street) {
    street.nodes.forEach((node, at) => this.node.set(node.id, at));
    street.cables.forEach((cable, at) => this.cable.set(cable.id, at));
    street.junctions.forEach((junction, at) => this.junction.set(junction.id, at));
    this.coordinator = Math.max(0, street.nodes.findIndex((node) => node.role === "coordinator"));
  }
}

export class State {
  t = 0;
  join: Uint8Array;
  short: Uint16Array;
  off: Uint8Array;
  rows: Uint16Array;
  rowsOf: Uint16Array;
  heard: Float64Array;
  sent: Uint32Array;
  cut: Uint8Array;
  noise = new Map<number, Noise>();
  routes = new Map<number, Route>();
  frames = 0;
  failed = 0;
  air = new Float64Array(KINDS.length);
  count = new Uint32Array(KINDS.length);
  lost: Record<string, number> = {};
  collected = 0;
  expected = 0;
  floor: number | null = null;
  share: number | null = null;
  /** Grows whenever something that is drawn still has changed. */
  version = 0;
  ended = false;

  constructor(readonly index: Index) {
    const nodes = index.street.nodes.length;
    this.join = new Uint8Array(nodes);
    this.short = new Uint16Array(nodes).fill(0xffff);
    this.off = new Uint8Array(nodes);
    this.rows = new Uint16Array(nodes);
    this.rowsOf = new Uint16Array(nodes).fill(24);
    this.heard = new Float64Array(nodes).fill(-Infinity);
    this.sent = new Uint32Array(nodes);
    this.cut = new Uint8Array(index.street.cables.length);
  }

  copy(): State {
    const other = new State(this.index);
    for (const key of ["join", "short", "off", "rows", "rowsOf", "heard", "sent", "cut", "air", "count"] as const) other[key].set(this[key] as never);
    other.noise = new Map(this.noise);
    other.routes = new Map(this.routes); // a Route is replaced, never changed
    other.lost = { ...this.lost };
    for (const key of ["t", "frames", "failed", "collected", "expected", "version"] as const) other[key] = this[key];
    other.floor = this.floor;
    other.share = this.share;
    other.ended = this.ended;
    return other;
  }

  static routeKey(node: number, to: number): number {
    return node * 65536 + to;
  }

  /** The route of node number `node` towards node number `to`. */
  route(node: number, to: number): Route | undefined {
    return this.routes.get(State.routeKey(node, to));
  }

  /** Node numbers from `node` to `to` by each hop's own table; whole: it arrives. Bounded, so a loop ends. */
  path(node: number, to: number): { nodes: number[]; whole: boolean } {
    const nodes = [node];
    let at = node;
    while (at !== to && nodes.length <= 64) {
      const next = this.route(at, to)?.next;
      if (next === undefined || nodes.includes(next)) return { nodes, whole: false };
      nodes.push(next);
      at = next;
    }
    return { nodes, whole: at === to };
  }

  /** Take in an event whose ids are already numbers (Recording does that). */
  apply(event: Event): void {
    this.t = Math.max(this.t, event.t);
    if (event.e === "frame") {
      this.applyFrame(event);
      return;
    }
    this.version++;
    switch (event.e) {
      case "join":
        this.join[event.node] = JOIN_STATES.indexOf(event.state);
        if (event.short !== null) this.short[event.node] = event.short;
        return;
      case "route": {
        const key = State.routeKey(event.node, event.to);
        if (event.next === null) this.routes.delete(key);
        else this.routes.set(key, { next: event.next, cost: event.cost, hops: event.hops, since: event.t });
        return;
      }
      case "cable":
        this.cut[event.id] = event.state === "cut" ? 1 : 0;
        return;
      case "noise":
        this.noise.set(event.junction, { db: event.db, until: event.until });
        return;
      case "node":
        this.off[event.id] = event.state === "off" ? 1 : 0;
        return;
      case "reading":
        this.rows[event.node] = event.rows;
        this.rowsOf[event.node] = event.of;
        return;
      case "progress":
        this.collected = event.collected;
        this.expected = event.expected;
        this.floor = event.floor;
        this.share = event.share;
        if (this.frames === 0) {
          // a device sends no frames, only sums
          KINDS.forEach((kind, at) => (this.air[at] = event.air[kind] ?? 0));
        }
        return;
      case "end":
        this.ended = true;
    }
  }

  private applyFrame(frame: Frame): void {
    this.frames++;
    this.air[frame.kind]! += frame.air;
    this.count[frame.kind]!++;
    this.heard[frame.src] = frame.t;
    this.sent[frame.src]!++;
    if (frame.lost) {
      this.failed++;
      this.lost[frame.lost] = (this.lost[frame.lost] ?? 0) + 1;
    }
  }

  /** How many meters have joined, and how many have all their rows. */
  census(): { meters: number; joined: number; complete: number; off: number } {
    let meters = 0, joined = 0, complete = 0, off = 0;
    this.index.street.nodes.forEach((node, at) => {
      if (node.role !== "meter") return;
      meters++;
      if (this.join[at] === JOINED) joined++;
      if (this.rowsOf[at]! > 0 && this.rows[at]! >= this.rowsOf[at]!) complete++;
      if (this.off[at]) off++;
    });
    return { meters, joined, complete, off };
  }
}
