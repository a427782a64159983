/** The picture: two canvases (still and moving), the camera over them, and what pointer and keys do there. */

import { byId, calm } from "./dom";
import type { Frame } from "./events";
import { Flows } from "./flow";
import { Motion, afterglow } from "./motion";
import { GROUPS } from "./palette";
import { bounds, hasMap, makePlan, type Layout, type Plan } from "./plan";
import type { Player } from "./player";
import type { Recording } from "./recording";
import { nodeRadius, readColours, screenX, screenY, type Camera, type Chosen } from "./scene";
import { drawStill } from "./still";
import type { State } from "./state";

export type Thing = { kind: "node" | "cable" | "junction"; at: number } | { kind: "frame"; frame: Frame };

const TURN_MS = 600;
/** What happens to nodes is drawn this often at most while time runs: a busy street changes with every picture. */
const STILL_MS = 120;
/** Routes change one by one; their tree is laid anew this often at most. */
const RELAY_MS = 900;

export class Stage {
  readonly chosen: Chosen = { node: null, cable: null, junction: null, hover: null };
  routes = false;
  /** What a click is for, where a tool is in hand. */
  wanted: "cable" | "node" | null = null;
  hidden = new Set<number>();
  frame: Frame | null = null;
  layout: Layout;
  onPick: (thing: Thing | null, x: number, y: number) => void = () => {};
  onHover: (thing: Thing | null, x: number, y: number) => void = () => {};
  plan: Plan;
  /** Milliseconds that drawing took, of the last pictures. */
  readonly costs: number[] = [];

  private readonly still = byId<HTMLCanvasElement>("still");
  private readonly moving = byId<HTMLCanvasElement>("moving");
  private readonly stillContext = this.still.getContext("2d")!;
  private readonly movingContext = this.moving.getContext("2d")!;
  private camera: Camera = { k: 1, x: 0, y: 0, width: 1, height: 1, ratio: 1 };
  private colours = readColours();
  private flows: Flows;
  private readonly motion = new Motion();
  private labels: string[];
  private drawn = "";
  private told = "";
  private stillAt = 0;
  private fitted = true;
  private turn: { x: Float64Array; y: Float64Array; toX: Float64Array; toY: Float64Array; began: number; hides: boolean } | null = null;
  private relaid = { version: -1, at: 0 };
  private readonly listeners = new AbortController();

  constructor(private readonly recording: Recording, private readonly player: Player) {
    const { index } = recording;
    this.layout = hasMap(index) ? "feeder" : "routes";
    Object.assign(this.camera, { width: this.moving.clientWidth, height: this.moving.clientHeight });
    this.plan = makePlan(index, this.layout, recording.latest, this.aspect);
    this.flows = new Flows(this.plan, recording.latest.cut);
    this.labels = labelsOf(recording);
    this.listen();
    this.resize();
  }

  close(): void {
    this.listeners.abort();
  }

  /** Draw the moment `state`, if anything is different from what is there. */
  draw(state: State, now: number): void {
    const began = performance.now();
    this.turnOn(state, now);
    const noisy = [...state.noise.values()].some((noise) => noise.until > state.t) ? Math.floor(state.t) : 0;
    const { camera, chosen, plan } = this;
    const told = `${state.version}|${noisy}`;
    const key = [camera.k, camera.x, camera.y, camera.width, camera.height, chosen.node, chosen.cable, chosen.hover?.kind, chosen.hover?.at, this.routes, this.layout, this.turn ? now : 0, this.colours.back, this.relaid.at].join();
    if (key !== this.drawn || (told !== this.told && (now - this.stillAt > STILL_MS || !this.player.moving))) {
      this.drawn = key;
      this.told = told;
      this.stillAt = now;
      this.flows.setCut(state.cut);
      const join = GROUPS[3]!;
      drawStill(this.stillContext, { plan, state, camera, colours: this.colours, chosen, routes: this.routes, labels: this.labels, joinColour: this.colours.dark ? join.dark : join.light });
    }
    const { frames, maxAir } = this.recording;
    const { t, rate } = this.player;
    const last = this.recording.framesUntil(t);
    const first = this.turn?.hides ? last : this.recording.framesUntil(t - maxAir - afterglow(rate));
    this.motion.draw(this.movingContext, frames, first, last, this.flows, plan, camera, this.colours, { t, rate, hidden: this.hidden, selected: this.turn?.hides ? null : this.frame, still: calm.matches });
    this.costs.push(performance.now() - began);
    if (this.costs.length > 600) this.costs.splice(0, 300);
  }

  setLayout(layout: Layout, state: State): void {
    if (layout !== "routes" && !hasMap(this.recording.index)) return;
    this.layout = layout;
    this.replan(makePlan(this.recording.index, layout, state, this.aspect), true, true);
  }

  recolour(): void {
    this.colours = readColours();
    this.drawn = "";
  }

  zoom(by: number, x = this.camera.width / 2, y = this.camera.height / 2): void {
    const { camera } = this;
    const k = Math.min(Math.max(camera.k * by, 0.02), 400);
    camera.x = x - ((x - camera.x) * k) / camera.k;
    camera.y = y - ((y - camera.y) * k) / camera.k;
    camera.k = k;
    this.fitted = false;
  }

  fit(): void {
    const { camera, plan } = this;
    const [x0, y0, x1, y1] = bounds(this.turn ? { ...plan, x: this.turn.toX, y: this.turn.toY } : plan);
    const side = Math.min(56, camera.width * 0.08), left = side, right = plan.layout === "feeder" && plan.spacing >= 12 ? side + 40 : side, top = 60, below = 48;
    const width = Math.max(x1 - x0, 1e-6), height = Math.max(y1 - y0, 1e-6);
    camera.k = Math.min((camera.width - left - right) / width, (camera.height - top - below) / height);
    if (camera.k <= 0 || !Number.isFinite(camera.k)) camera.k = 1;
    camera.x = left + (camera.width - left - right - width * camera.k) / 2 - x0 * camera.k;
    camera.y = top + (camera.height - top - below - height * camera.k) / 2 - y0 * camera.k;
    this.fitted = true;
  }

  /** Bring a node into the picture. */
  reveal(node: number): void {
    const { camera } = this;
    const [x, y] = this.nodeAt(node);
    if (x > 30 && y > 30 && x < camera.width - 30 && y < camera.height - 30) return;
    camera.x += camera.width / 2 - x;
    camera.y += camera.height / 2 - y;
    this.fitted = false;
  }

  nodeAt(node: number): [number, number] {
    const v = this.plan.junctions + node;
    return [screenX(this.camera, this.plan.x[v]!), screenY(this.camera, this.plan.y[v]!)];
  }

  /** Where the middle of a cable is on the screen. */
  cableAt(cable: number): [number, number] | null {
    const e = this.plan.cable.indexOf(cable);
    if (e < 0) return null;
    const a = this.plan.from[e]!, b = this.plan.to[e]!;
    return [screenX(this.camera, (this.plan.x[a]! + this.plan.x[b]!) / 2), screenY(this.camera, (this.plan.y[a]! + this.plan.y[b]!) / 2)];
  }

  /** The node next to `node` in a direction of the screen. */
  neighbour(node: number | null, dx: number, dy: number): number {
    const [x, y] = node === null ? [this.camera.width / 2, this.camera.height / 2] : this.nodeAt(node);
    let best = node ?? this.recording.index.coordinator, least = Infinity;
    for (let other = 0; other < this.labels.length; other++) {
      if (other === node) continue;
      const [ox, oy] = this.nodeAt(other);
      const along = (ox - x) * dx + (oy - y) * dy, across = Math.abs((ox - x) * dy - (oy - y) * dx);
      if (node !== null && along <= 0.5) continue;
      const cost = node === null ? Math.hypot(ox - x, oy - y) : along + 2 * across;
      if (cost < least) [best, least] = [other, cost];
    }
    return best;
  }

  private get aspect(): number {
    return Math.max(0.3, (this.camera.width - Math.min(150, this.camera.width * 0.26)) / Math.max(1, this.camera.height - 110));
  }

  /** hides: frames are not drawn while everything is on its way to another place. */
  private replan(plan: Plan, fit: boolean, hides: boolean): void {
    const old = this.plan;
    const toX = plan.x.slice(), toY = plan.y.slice();
    this.plan = plan;
    this.flows = new Flows(plan, this.recording.latest.cut);
    this.drawn = "";
    const common = old.junctions + this.labels.length;
    if (!calm.matches) {
      const x = toX.slice(), y = toY.slice();
      x.set(old.x.subarray(0, common));
      y.set(old.y.subarray(0, common));
      this.turn = { x, y, toX, toY, began: performance.now(), hides };
      if (fit) {
        // the camera jumps to its new place; the old picture is put where it was on the screen
        const { k, x: cx, y: cy } = this.camera;
        this.fit();
        for (let v = 0; v < common; v++) {
          x[v] = (x[v]! * k + cx - this.camera.x) / this.camera.k;
          y[v] = (y[v]! * k + cy - this.camera.y) / this.camera.k;
        }
      }
    } else if (fit) this.fit();
  }

  private turnOn(state: State, now: number): void {
    if (this.layout === "routes" && !this.turn && state.version !== this.relaid.version && now - this.relaid.at > RELAY_MS) {
      this.relaid = { version: state.version, at: now };
      const plan = makePlan(this.recording.index, "routes", state, this.aspect);
      if (plan.from.some((v, e) => v !== this.plan.from[e])) this.replan(plan, this.fitted, false);
    }
    const { turn, plan } = this;
    if (!turn) return;
    const share = Math.min(1, (now - turn.began) / TURN_MS);
    const eased = share < 0.5 ? 4 * share ** 3 : 1 - (-2 * share + 2) ** 3 / 2;
    for (let v = 0; v < plan.x.length; v++) {
      plan.x[v] = turn.x[v]! + (turn.toX[v]! - turn.x[v]!) * eased;
      plan.y[v] = turn.y[v]! + (turn.toY[v]! - turn.y[v]!) * eased;
    }
    if (share < 1) return;
    this.turn = null;
    this.flows = new Flows(plan, state.cut);
    this.drawn = "";
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.moving;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    for (const canvas of [this.still, this.moving]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const { camera, fitted } = this;
    if (!fitted) {
      camera.x += (width - camera.width) / 2;
      camera.y += (height - camera.height) / 2;
    }
    Object.assign(camera, { width, height, ratio });
    // a tree fills the picture: of another shape it is laid anew
    if (this.plan.layout !== "map" && Math.abs(Math.log(this.aspect / this.plan.aspect)) > 0.15) {
      this.plan = makePlan(this.recording.index, this.layout, this.recording.latest, this.aspect);
      this.flows = new Flows(this.plan, this.recording.latest.cut);
      this.turn = null;
    }
    if (fitted) this.fit();
    this.drawn = "";
  }

  /** What is under a point: a node, then a frame, then a cable; with a tool in hand only what it is for. */
  at(x: number, y: number): Thing | null {
    const { plan, camera, wanted } = this;
    const reach = Math.max(9, nodeRadius(camera, plan) + 4);
    let best: Thing | null = null, least = reach;
    for (let node = 0; wanted !== "cable" && node < this.labels.length; node++) {
      const [nx, ny] = this.nodeAt(node);
      const d = Math.hypot(nx - x, ny - y) - (node === this.recording.index.coordinator ? 5 : 0);
      if (d < least) [best, least] = [{ kind: "node", at: node }, d];
    }
    if (!wanted) {
      for (const { frame, x: fx, y: fy } of this.motion.drawn) {
        const d = Math.hypot(fx - x, fy - y) + 4;
        if (d < Math.min(least, 14)) [best, least] = [{ kind: "frame", frame }, d];
      }
    }
    if (best || wanted === "node" || plan.layout === "routes") return best;
    least = wanted ? 14 : 7;
    for (let e = 0; e < plan.from.length; e++) {
      if (plan.cable[e]! < 0) continue;
      const d = toSegment(x, y, this.screen(plan.from[e]!), this.screen(plan.to[e]!));
      if (d < least) [best, least] = [{ kind: "cable", at: plan.cable[e]! }, d];
    }
    return best;
  }

  /** The junction nearest to a point. */
  junctionNear(x: number, y: number): number | null {
    let best: number | null = null, least = Infinity;
    if (this.plan.layout === "routes") return null;
    for (let j = 0; j < this.plan.junctions; j++) {
      const [jx, jy] = this.screen(j);
      const d = Math.hypot(jx - x, jy - y);
      if (d < least) [best, least] = [j, d];
    }
    return best;
  }

  private screen(vertex: number): [number, number] {
    return [screenX(this.camera, this.plan.x[vertex]!), screenY(this.camera, this.plan.y[vertex]!)];
  }

  private listen(): void {
    const { signal } = this.listeners;
    const canvas = this.moving;
    const held = new Map<number, { x: number; y: number }>();
    let moved = 0;
    const place = (event: PointerEvent | WheelEvent): [number, number] => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("pointerdown", (event) => {
      const [x, y] = place(event);
      held.set(event.pointerId, { x, y });
      moved = 0;
      canvas.setPointerCapture(event.pointerId);
    }, { signal });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = place(event);
      const was = held.get(event.pointerId);
      if (!was) {
        const thing = this.at(x, y);
        this.chosen.hover = thing && thing.kind !== "frame" ? thing : null;
        this.onHover(thing, x, y);
        return;
      }
      moved += Math.hypot(x - was.x, y - was.y);
      if (moved < 4) return;
      const other = [...held].find(([id]) => id !== event.pointerId)?.[1];
      if (other) this.zoom(Math.hypot(x - other.x, y - other.y) / Math.max(1, Math.hypot(was.x - other.x, was.y - other.y)), other.x, other.y);
      else {
        this.camera.x += x - was.x;
        this.camera.y += y - was.y;
        this.fitted = false;
      }
      held.set(event.pointerId, { x, y });
    }, { signal });
    const release = (event: PointerEvent) => {
      held.delete(event.pointerId);
      const [x, y] = place(event);
      if (event.type === "pointerup" && moved < 4 && held.size === 0) this.onPick(this.at(x, y), x, y);
    };
    canvas.addEventListener("pointerup", release, { signal });
    canvas.addEventListener("pointercancel", release, { signal });
    canvas.addEventListener("pointerleave", () => {
      this.chosen.hover = null;
      this.onHover(null, 0, 0);
    }, { signal });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-Math.sign(event.deltaY) * Math.min(Math.abs(event.deltaY), 100) * 0.0022), ...place(event));
    }, { signal, passive: false });
    canvas.addEventListener("dblclick", () => this.fit(), { signal });
    const observer = new ResizeObserver(() => this.resize());
    observer.observe(canvas);
    signal.addEventListener("abort", () => observer.disconnect());
  }
}

/** What stands beside the nodes: what their names do not have in common. */
export function labelsOf(recording: Recording): string[] {
  const { nodes } = recording.street;
  const meters = nodes.filter((node) => node.role === "meter").map((node) => node.name);
  let common = meters[0] ?? "";
  for (const name of meters) while (!name.startsWith(common)) common = common.slice(0, -1);
  return nodes.map((node) => (node.role === "coordinator" ? "Concentrator" : node.role === "intruder" ? "intruder" : node.name.slice(Math.max(0, Math.min(common.length, node.name.length - 2)))));
}

function toSegment(x: number, y: number, [ax, ay]: [number, number], [bx, by]: [number, number]): number {
  const dx = bx - ax, dy = by - ay;
  const share = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - ax - share * dx, y - ay - share * dy);
}
