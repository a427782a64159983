/**
 * A street for the page's tests: it speaks the event stream plausibly (joins, LOADng floods, sessions hop by hop, a cable that breaks),
 * without being a simulation of the line. Deterministic in its seed. Never part of the page.
 */

export interface StreetOptions { meters: number; seed?: number; cutAt?: number | null; layers?: boolean; join?: boolean; routed?: boolean; sessions?: number }
export type Line = Record<string, unknown>;

interface Place { x: number; y: number; parent: number; depth: number }
interface Hop { next: number; cost: number; hops: number }

const REACH_DB = 62;
const MODES = [["D8PSK", 30, 0.043, 1], ["DQPSK", 42, 0.057, 2], ["DBPSK", 52, 0.096, 3], ["ROBO", Infinity, 0.19, 5]] as const;
const START = Date.UTC(2026, 10, 28, 23, 0, 0) / 1000;

export class TestStreet {
  t = 0;
  readonly places: Place[] = [{ x: 0, y: 0, parent: -1, depth: 0 }];
  readonly homes: number[] = [0];
  readonly cut = new Set<number>();
  readonly off = new Set<number>();
  readonly noise = new Map<number, { db: number; until: number }>();
  readonly street: Line;
  private readonly random: () => number;
  private readonly phases: string[] = ["ABC"];
  private reach: number[][] = [];
  private loss = new Map<number, number>();
  private hops: (Hop | null)[] = [];
  private frame = 0;
  private measured = "never";
  private readonly air: Record<string, number> = {};
  private readonly rows: number[];
  private collected = 0;
  private readonly flooded = new Set<number>();

  constructor(private readonly options: StreetOptions) {
    this.random = mulberry(options.seed ?? 2026);
    this.build(options.meters);
    this.rows = this.homes.map(() => 0);
    this.street = {
      e: "street", version: 1, start: START, title: `Test street, ${options.meters} meters`,
      junctions: this.places.map(({ x, y }, id) => ({ id, x: Number(x.toFixed(1)), y: Number(y.toFixed(1)) })),
      cables: this.places.slice(1).map((place, at) => ({ id: at + 1, from: place.parent, to: at + 1, length: Number(this.length(at + 1).toFixed(1)) })),
      nodes: this.homes.map((junction, id) => ({ id, junction, phase: this.phases[id], role: id ? "meter" : "coordinator", name: id ? `GDC4800${String(id).padStart(4, "0")}` : "DCU-1", eui: `00055affffe${(0x10000 + id).toString(16)}` })),
    };
    this.measure();
  }

  /** The whole night; between two lines somebody may cut a cable. */
  *night(): Generator<Line> {
    yield this.street;
    const order = this.homes.map((_, id) => id).slice(1).sort((a, b) => this.places[this.homes[a]!]!.depth - this.places[this.homes[b]!]!.depth);
    if (this.options.join !== false) for (const id of order) yield* this.join(id);
    yield* this.progress();
    order.length = Math.min(order.length, this.options.sessions ?? Infinity);
    const cutAt = this.options.cutAt === undefined ? Math.floor(order.length * 0.45) : this.options.cutAt;
    let broken = 0;
    for (const [turn, id] of order.entries()) {
      if (turn === cutAt) {
        broken = this.heaviestCable();
        yield this.break(broken);
      }
      if (broken && turn === Math.floor(order.length * 0.85)) yield this.mend(broken);
      yield* this.session(id);
      if (turn % 4 === 3) yield* this.progress();
      if (this.random() < 0.05) yield* this.push(order[Math.floor(this.random() * order.length)]!);
    }
    for (const id of order) for (let more = 0; this.rows[id]! < 24 && more < 4; more++) yield* this.session(id);
    yield* this.progress();
    yield { t: this.round(this.t), e: "end" };
  }

  break(cable: number): Line {
    this.cut.add(cable);
    this.loss.clear();
    return { t: this.round(this.t), e: "cable", id: cable, state: "cut" };
  }

  mend(cable: number): Line {
    this.cut.delete(cable);
    this.loss.clear();
    return { t: this.round(this.t), e: "cable", id: cable, state: "whole" };
  }

  /** The cable behind which most meters are, but not all of a trunk's. */
  heaviestCable(): number {
    const behind = this.places.map(() => 0);
    for (const home of this.homes.slice(1)) for (let at = home; at > 0; at = this.places[at]!.parent) behind[at]!++;
    let best = 1;
    behind.forEach((count, at) => {
      if (at && this.places[at]!.depth >= 3 && count > behind[best]! * (this.places[best]!.depth < 3 ? 0 : 1)) best = at;
    });
    return best;
  }

  private build(meters: number): void {
    const trunks = Math.min(8, Math.max(2, Math.round(Math.sqrt(meters / 12))));
    const add = (parent: number, angle: number, length: number) => {
      const from = this.places[parent]!;
      return this.places.push({ x: from.x + length * Math.cos(angle), y: from.y + length * Math.sin(angle) * 0.8, parent, depth: from.depth + 1 }) - 1;
    };
    const ends = Array.from({ length: trunks }, (_, i) => ({ at: 0, angle: (2 * Math.PI * i) / trunks + 0.35, home: (2 * Math.PI * i) / trunks + 0.35 }));
    let side = 1;
    for (let id = 1; id <= meters; ) {
      for (const trunk of ends) {
        if (id > meters) break;
        trunk.angle = trunk.home + (this.random() - 0.5) * 0.5;
        trunk.at = add(trunk.at, trunk.angle, 26 + this.random() * 14);
        let twig = trunk.at;
        const along = trunk.angle + side * (1.2 + this.random() * 0.5);
        const homes = 3 + Math.floor(this.random() * 3);
        for (let k = 0; k < homes && id <= meters; k++, id++) {
          twig = add(twig, along, 14 + this.random() * 10);
          this.homes.push(add(twig, along + (k % 2 ? 1.4 : -1.4), 7 + this.random() * 6));
          this.phases.push("ABC"[id % 3]!);
        }
        side = -side;
      }
    }
  }

  private length(place: number): number {
    const { x, y, parent } = this.places[place]!;
    return Math.hypot(x - this.places[parent]!.x, y - this.places[parent]!.y);
  }

  /** Attenuation between two nodes in dB. */
  private db(a: number, b: number): number {
    const key = a < b ? a * 4096 + b : b * 4096 + a;
    const known = this.loss.get(key);
    if (known !== undefined) return known;
    let i = this.homes[a]!, j = this.homes[b]!, db = 10;
    while (i !== j) {
      const deeper = this.places[i]!.depth >= this.places[j]!.depth;
      const at = deeper ? i : j;
      db += this.length(at) * 0.16 + (this.cut.has(at) ? 34 : 0);
      if (deeper) i = this.places[i]!.parent;
      else j = this.places[j]!.parent;
    }
    if (this.phases[a] !== this.phases[b] && a && b) db += 8;
    this.loss.set(key, db);
    return db;
  }

  /** No cable is shorter than the bird's way. */
  private near(a: number, b: number): boolean {
    const from = this.places[this.homes[a]!]!, to = this.places[this.homes[b]!]!;
    return Math.hypot(from.x - to.x, from.y - to.y) * 0.16 < REACH_DB;
  }

  /** Routes towards the concentrator from everybody who can be heard (Dijkstra). */
  private measure(): void {
    const n = this.homes.length;
    const key = `${[...this.cut].join()}|${[...this.off].join()}`;
    if (key === this.measured) return;
    this.measured = key;
    this.reach = Array.from({ length: n }, (_, a) => Array.from({ length: n }, (_, b) => b).filter((b) => b !== a && this.near(a, b) && this.db(a, b) < REACH_DB));
    const cost = new Array<number>(n).fill(Infinity);
    const hops: (Hop | null)[] = new Array<Hop | null>(n).fill(null);
    cost[0] = 0;
    const open = new Set([0]);
    while (open.size) {
      let at = -1;
      for (const node of open) if (at < 0 || cost[node]! < cost[at]!) at = node;
      open.delete(at);
      for (const other of this.reach[at]!) {
        if (this.off.has(other)) continue;
        const next = cost[at]! + 4 + Math.round(this.db(at, other) * 0.35) + 6;
        if (next >= cost[other]!) continue;
        cost[other] = next;
        hops[other] = { next: at, cost: next, hops: (hops[at]?.hops ?? 0) + 1 };
        open.add(other);
      }
    }
    this.hops = hops;
  }

  private way(id: number): number[] {
    const way = [id];
    for (let at = id; at && this.hops[at] && way.length < 40; ) way.push((at = this.hops[at]!.next));
    return way;
  }

  private round(t: number): number {
    return Math.round(t * 1e6) / 1e6;
  }

  /** One frame on the air; true when `dst` got it. */
  private *send(src: number, dst: number, kind: string, size: number, orig: number | null, final: number | null, layers: unknown[] = []): Generator<Line, boolean> {
    const targets = dst < 0 ? this.reach[src]!.slice(0, 60) : [dst];
    const worst = dst < 0 ? Infinity : this.db(src, dst);
    const [mod, , base] = MODES.find(([, limit]) => worst <= limit)!;
    const air = dst < 0 ? 0.19 : base * (0.45 + (0.55 * size) / 239);
    const noisy = (node: number) => {
      const noise = this.noise.get(this.homes[node]!);
      return noise !== undefined && noise.until > this.t && noise.db > 20;
    };
    const got = targets.filter((node) => !this.off.has(node) && this.db(src, node) < REACH_DB && !noisy(node) && this.random() > 0.012);
    const blocked = dst >= 0 && this.db(src, dst) >= REACH_DB;
    const lost = dst >= 0 && !got.length ? (blocked ? "cut" : noisy(dst) ? "noise" : this.random() < 0.5 ? "collision" : "noise") : null;
    this.air[kind] = (this.air[kind] ?? 0) + air;
    {
      const bytes = hexOf(src * 7919 + this.frame, Math.min(size, 24));
      yield {
        t: this.round(this.t), e: "frame", id: ++this.frame, src, dst, kind, d: this.round(air), mod: dst < 0 ? "ROBO" : mod, n: size, got,
        att: got.map((node) => Math.round(this.db(src, node) * 10) / 10), lost, orig, final,
        ...(this.options.layers === false ? {} : { bytes, layers: [["PHY", [["mode", mod], ["tone map", "36 of 36"]]], ["MAC", [["frame", "data"], ["source", hex(src)], ["destination", dst < 0 ? "ffff" : hex(dst)], ["security", "CCM-32, key 0"]]], ...layers] }),
      };
    }
    this.t += air + 0.012;
    if (dst >= 0 && got.length) {
      this.air["ACK"] = (this.air["ACK"] ?? 0) + 0.015;
      yield { t: this.round(this.t), e: "frame", id: ++this.frame, src: dst, dst: src, kind: "ACK", d: 0.015, mod: "ROBO", n: 5, got: [src], att: [Math.round(this.db(src, dst))], lost: null, orig: null, final: null };
      this.t += 0.02 + this.random() * 0.01;
    }
    return got.length > 0;
  }

  private *join(id: number): Generator<Line> {
    const state = (name: string, short = 0xffff) => ({ t: this.round(this.t), e: "join", node: id, state: name, short });
    yield state("scan");
    yield* this.send(id, -1, "BEACON", 12, null, null);
    const way = this.way(id);
    const carry = function* (this: TestStreet, up: boolean, size: number): Generator<Line> {
      const hops = up ? way : [...way].reverse();
      for (let i = 0; i + 1 < hops.length; i++) yield* this.send(hops[i]!, hops[i + 1]!, "LBP", size, hops[0]!, hops.at(-1)!, [["LBP", [["message", up ? "JOINING" : "CHALLENGE"], ["EAP", "EAP-PSK"]]]]);
    }.bind(this);
    for (const [name, size, up] of [["joining", 12, true], ["challenge1", 42, false], ["joining", 74, true], ["challenge2", 98, false], ["joining", 55, true], ["accepted", 16, false]] as const) {
      if (name !== "joining" || size === 12) yield state(name);
      yield* carry(up, size);
    }
    yield state("joined", id);
    const hop = this.hops[id];
    if (this.options.routed) this.flooded.add(id);
    if (hop) yield { t: this.round(this.t), e: "route", node: id, to: 0, ...hop };
    if (hop) yield { t: this.round(this.t), e: "route", node: 0, to: id, next: way.at(-2) ?? id, cost: hop.cost, hops: hop.hops };
  }

  /** A flood for `id`, its reply, and the routes that follow. */
  private *discover(id: number): Generator<Line> {
    this.measure();
    const { hops } = this;
    const relays = new Set<number>([0]);
    for (let other = 1; other < this.homes.length; other++) if (hops[other]) relays.add(hops[other]!.next);
    const flood = [0, ...[...relays].filter((relay) => relay && hops[relay]).sort((a, b) => hops[a]!.hops - hops[b]!.hops)].slice(0, 24);
    for (const relay of flood) {
      yield* this.send(relay, -1, "RREQ", 38, 0, id, [["LOADng RREQ", [["destination", hex(id)], ["originator", "0000"], ["route cost", hops[relay]?.cost ?? 0], ["hop limit", 8]]]]);
    }
    const way = this.way(id);
    for (let i = 0; i + 1 < way.length; i++) {
      yield* this.send(way[i]!, way[i + 1]!, "RREP", 38, id, 0, [["LOADng RREP", [["destination", "0000"], ["originator", hex(id)], ["route cost", hops[way[i + 1]!]?.cost ?? 0]]]]);
      const hop = hops[way[i]!]!;
      yield { t: this.round(this.t), e: "route", node: way[i], to: 0, ...hop };
    }
    if (hops[id]) yield { t: this.round(this.t), e: "route", node: 0, to: id, next: way.at(-2) ?? id, cost: hops[id].cost, hops: hops[id].hops };
    this.flooded.add(id);
  }

  private *session(id: number): Generator<Line> {
    if (!this.flooded.has(id)) yield* this.discover(id);
    const apdus: [string, boolean, number, unknown[]][] = [
      ["AARQ", false, 92, [["DLMS AARQ", [["mechanism", "HLS 5, GMAC"]]]]],
      ["AARE", true, 97, [["DLMS AARE", [["result", "accepted"]]]]],
      ["GET", false, 74, [["IPv6/UDP", [["port", "61616 → 4059"]]], ["DLMS get-request-normal", [["invoke id", 1]]], ["COSEM", [["class", "7 Profile generic"], ["OBIS", "1-0:99.1.0*255"], ["attribute", "2 buffer"], ["selection", "24 rows"]]]]],
      ...[0, 1, 2].map((part): [string, boolean, number, unknown[]] => ["RESPONSE", true, 214, [["6LoWPAN", [["fragment", `${part + 1} of 3`]]], ["DLMS get-response", [["suite", "0, authenticated and encrypted"], ["invocation counter", 4711 + id]]], ["COSEM value", [["attribute", "7,1-0:99.1.0*255,2"], ["rows", [[START, 4711230 + id], [START + 3600, 4711390 + id]]]]]]]),
    ];
    for (const [kind, up, size, layers] of apdus) {
      for (let attempt = 0; attempt < 3; attempt++) {
        if (yield* this.carry(id, kind, up, size, layers)) break;
        if (this.off.has(id) || attempt === 2) return;
        yield* this.discover(id);
        if (!this.hops[id]) return;
      }
    }
    this.collected += 24 - this.rows[id]!;
    this.rows[id] = 24;
    yield { t: this.round(this.t), e: "reading", node: id, rows: 24, of: 24 };
    let register = 4_711_230 + id * 137;
    yield { t: this.round(this.t), e: "profile", node: id, unit: "Wh", rows: Array.from({ length: 24 }, (_, hour) => [START - 86400 + hour * 3600, (register += Math.round(120 + 400 * this.random() + (hour > 17 ? 700 : 0)))]) };
  }

  private *carry(id: number, kind: string, up: boolean, size: number, layers: unknown[]): Generator<Line, boolean> {
    const way = up ? this.way(id) : this.way(id).reverse();
    if (way.length < 2) return false;
    for (let i = 0; i + 1 < way.length; i++) {
      let there = false;
      for (let attempt = 0; attempt < 3 && !there; attempt++) there = yield* this.send(way[i]!, way[i + 1]!, kind, size, way[0]!, way.at(-1)!, layers);
      if (there) continue;
      for (let back = i; back > 0; back--) yield* this.send(way[back]!, way[back - 1]!, "RERR", 30, way[i]!, way[0]!, [["LOADng RERR", [["unreachable", hex(way[i + 1]!)], ["error", "0, no route"]]]]);
      yield { t: this.round(this.t), e: "route", node: up ? way[i] : 0, to: up ? 0 : id, next: null };
      return false;
    }
    return true;
  }

  private *push(id: number): Generator<Line> {
    yield* this.carry(id, "PUSH", true, 88, [["DLMS data-notification", [["event", "cover opened"]]]]);
  }

  private *progress(): Generator<Line> {
    const floor = this.collected * 0.05;
    yield { t: this.round(this.t), e: "progress", collected: this.collected, expected: 24 * (this.homes.length - 1), air: this.air, floor, share: this.collected ? Math.min(0.97, 0.72 + 0.1 * this.random()) : 0 };
  }
}

const hex = (short: number) => short.toString(16).padStart(4, "0");
const hexOf = (seed: number, size: number) => Array.from({ length: size }, (_, i) => ((seed * (i + 3) * 2654435761) >>> 24).toString(16).padStart(2, "0")).join("");

function mulberry(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), a | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A whole recording as lines. */
export function record(options: StreetOptions): string {
  let text = "";
  for (const line of new TestStreet(options).night()) text += `${JSON.stringify(line)}\n`;
  return text;
}
