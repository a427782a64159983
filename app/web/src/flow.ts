/**
 * A frame's way over the plan: the edges from its sender to everybody who received it, each with how far from the sender it begins and
 * how weak the signal is there. Worked out once a frame, when it is first drawn; in the tree of routes frames run straight.
 */

import type { Frame } from "./events";
import { neighbours, type Plan } from "./plan";

export interface Flow {
  /** Pieces a → b (vertices) that begin `near` and end `far` away from the sender, in drawn units, at `dbNear` and `dbFar`. */
  a: Int32Array;
  b: Int32Array;
  near: Float64Array;
  far: Float64Array;
  dbNear: Float32Array;
  dbFar: Float32Array;
  /** Share of the last piece at which a frame ended that met a cut cable. */
  reach: number;
  ends: { vertex: number; distance: number; db: number; lost: boolean }[];
}

interface Tree { parent: Int32Array; edge: Int32Array }

/** A cut cable still leads where nothing else does: that is where the frame is lost. */
const CUT = 1e7;

export class Flows {
  private readonly links;
  private readonly trees = new Map<number, Tree>();
  private flows = new WeakMap<Frame, Flow>();
  private cut: Uint8Array;
  private readonly stamp: Int32Array;
  private readonly distance: Float64Array;
  private round = 0;

  constructor(private readonly plan: Plan, cut: Uint8Array) {
    this.links = neighbours(plan);
    this.cut = cut.slice();
    this.stamp = new Int32Array(plan.x.length);
    this.distance = new Float64Array(plan.x.length);
  }

  /** The cables that are cut have changed: ways are found anew. */
  setCut(cut: Uint8Array): void {
    if (cut.every((value, at) => value === this.cut[at])) return;
    this.cut = cut.slice();
    this.trees.clear();
    this.flows = new WeakMap();
  }

  of(frame: Frame): Flow {
    let flow = this.flows.get(frame);
    if (!flow) this.flows.set(frame, (flow = this.plan.layout === "routes" ? this.straight(frame) : this.along(frame)));
    return flow;
  }

  private isCut(edge: number): boolean {
    const cable = this.plan.cable[edge]!;
    return cable >= 0 && this.cut[cable] === 1;
  }

  private targets(frame: Frame): { vertex: number; db: number; lost: boolean }[] {
    const targets = [];
    for (let i = 0; i < frame.got.length; i++) {
      if (frame.got[i]! >= 0) targets.push({ vertex: this.plan.junctions + frame.got[i]!, db: frame.att[i] ?? 30, lost: false });
    }
    if (frame.dst >= 0 && !frame.got.includes(frame.dst)) targets.push({ vertex: this.plan.junctions + frame.dst, db: 60, lost: frame.lost !== null });
    return targets;
  }

  private along(frame: Frame): Flow {
    const { plan, stamp, distance } = this;
    const source = plan.junctions + frame.src;
    const { parent, edge } = this.tree(source);
    const round = ++this.round;
    stamp[source] = round;
    distance[source] = 0;
    const pieces: [a: number, b: number, near: number, far: number, dbNear: number, dbFar: number][] = [];
    const ends: Flow["ends"] = [];
    let reach = 1;
    for (const { vertex, db, lost } of this.targets(frame)) {
      const way: number[] = [];
      let at = vertex;
      while (at >= 0 && stamp[at] !== round) {
        way.push(at);
        at = parent[at]!;
      }
      if (at < 0) continue;
      const stretch: number[] = [];
      for (let i = way.length - 1; i >= 0; i--) {
        const v = way[i]!, p = parent[v]!;
        distance[v] = distance[p]! + Math.hypot(plan.x[v]! - plan.x[p]!, plan.y[v]! - plan.y[p]!);
        stamp[v] = round;
        stretch.push(v);
        if (lost && this.isCut(edge[v]!)) {
          reach = 0.5;
          break;
        }
      }
      const total = Math.max(distance[stretch.at(-1) ?? vertex]!, 1e-9);
      for (const v of stretch) {
        const p = parent[v]!;
        pieces.push([p, v, distance[p]!, distance[v]!, (db * distance[p]!) / total, (db * distance[v]!) / total]);
      }
      ends.push({ vertex: stretch.at(-1) ?? vertex, distance: total, db, lost });
    }
    return pack(pieces, ends, reach);
  }

  private straight(frame: Frame): Flow {
    const { plan } = this;
    const source = plan.junctions + frame.src;
    const pieces: [number, number, number, number, number, number][] = [];
    const ends: Flow["ends"] = [];
    for (const { vertex, db, lost } of this.targets(frame)) {
      const d = Math.hypot(plan.x[vertex]! - plan.x[source]!, plan.y[vertex]! - plan.y[source]!);
      pieces.push([source, vertex, 0, d, 0, db]);
      ends.push({ vertex, distance: d, db, lost });
    }
    return pack(pieces, ends, 1);
  }

  /** Shortest ways from a vertex (Dijkstra with a binary heap). */
  private tree(source: number): Tree {
    const known = this.trees.get(source);
    if (known) return known;
    const n = this.plan.x.length;
    const parent = new Int32Array(n).fill(-1), edge = new Int32Array(n).fill(-1);
    const cost = new Float64Array(n).fill(Infinity);
    const heap = new Heap();
    cost[source] = 0;
    heap.push(0, source);
    for (let top = heap.pop(); top; top = heap.pop()) {
      const [spent, v] = top;
      if (spent > cost[v]!) continue;
      for (const [other, e] of this.links[v]!) {
        const next = spent + this.plan.length[e]! + (this.isCut(e) ? CUT : 0);
        if (next >= cost[other]!) continue;
        cost[other] = next;
        parent[other] = v;
        edge[other] = e;
        heap.push(next, other);
      }
    }
    const tree = { parent, edge };
    if (this.trees.size > 4000) this.trees.clear();
    this.trees.set(source, tree);
    return tree;
  }
}

function pack(pieces: [number, number, number, number, number, number][], ends: Flow["ends"], reach: number): Flow {
  return {
    a: Int32Array.from(pieces, (p) => p[0]),
    b: Int32Array.from(pieces, (p) => p[1]),
    near: Float64Array.from(pieces, (p) => p[2]),
    far: Float64Array.from(pieces, (p) => p[3]),
    dbNear: Float32Array.from(pieces, (p) => p[4]),
    dbFar: Float32Array.from(pieces, (p) => p[5]),
    reach,
    ends,
  };
}

class Heap {
  private readonly items: [number, number][] = [];

  push(key: number, value: number): void {
    const { items } = this;
    let at = items.length;
    items.push([key, value]);
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (items[up]![0] <= key) break;
      items[at] = items[up]!;
      at = up;
    }
    items[at] = [key, value];
  }

  pop(): [number, number] | undefined {
    const { items } = this;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined || items.length === 0) return top;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && items[child + 1]![0] < items[child]![0]) child++;
      if (items[child]![0] >= last[0]) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
