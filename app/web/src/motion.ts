/**
 * The moving layer: frames on their way. A frame's head leaves the sender when the frame begins and is at the furthest receiver when it
 * ends; behind it the cable glows on for a moment. All of it follows from the time alone, so pausing and scrubbing show the same picture.
 *
 * Pieces are gathered by group and brightness and stroked together: a few dozen strokes a picture, however many frames are under way.
 */

import type { Frame } from "./events";
import type { Flow, Flows } from "./flow";
import { GROUPS, GROUP_OF, brightness, isStroked, tracePath } from "./palette";
import type { Plan } from "./plan";
import { nodeRadius, screenX, screenY, type Camera, type Colours } from "./scene";

const LEVELS = 5;
/** Frames and pieces drawn at a time; of more, an even sample. */
const MAX_FRAMES = 220;
const MAX_PIECES = 5000;
/** From here on a picture is drawn without glow, without round ends, and in short paths: three times as fast where no GPU helps. */
const MANY = 900;
const SHORT = 40;

export interface Moment { t: number; rate: number; hidden: ReadonlySet<number>; selected: Frame | null; still: boolean }

/** Simulated seconds for which a frame's light stays, at a rate. */
export function afterglow(rate: number): number {
  return rate * (rate > 8 ? 0.3 : 0.55);
}

export class Motion {
  private readonly strokes: number[][] = Array.from({ length: GROUPS.length * LEVELS }, () => []);
  private readonly heads: number[][] = Array.from({ length: GROUPS.length }, () => []);
  private readonly rings: number[][] = Array.from({ length: GROUPS.length * LEVELS }, () => []);
  private readonly losses: [x: number, y: number, why: string, alpha: number][] = [];
  /** Frames under way in the last picture, by what was drawn where: for clicking on them. */
  drawn: { frame: Frame; x: number; y: number }[] = [];

  draw(context: CanvasRenderingContext2D, frames: readonly Frame[], first: number, last: number, flows: Flows, plan: Plan, camera: Camera, colours: Colours, moment: Moment): void {
    context.setTransform(camera.ratio, 0, 0, camera.ratio, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    for (const list of [...this.strokes, ...this.heads, ...this.rings]) list.length = 0;
    this.losses.length = 0;
    this.drawn = [];
    const stride = Math.ceil((last - first) / MAX_FRAMES);
    let pieces = 0;
    for (let at = last - 1; at >= first && pieces < MAX_PIECES; at--) {
      if (stride > 1 && at % stride) continue;
      const frame = frames[at]!;
      if (moment.hidden.has(GROUP_OF[frame.kind]!) || frame === moment.selected) continue;
      pieces += this.add(frame, flows.of(frame), plan, camera, moment);
    }
    this.stroke(context, colours, pieces > MANY);
    if (moment.selected) this.drawSelected(context, moment.selected, flows, plan, camera, colours, moment);
    this.drawHeads(context, camera, plan, colours);
    this.drawLosses(context, colours);
  }

  private add(frame: Frame, flow: Flow, plan: Plan, camera: Camera, moment: Moment): number {
    const group = GROUP_OF[frame.kind]!;
    const glow = afterglow(moment.rate);
    const age = moment.t - frame.t;
    const progress = moment.still ? 1 : Math.min(1, age / Math.max(frame.air, 1e-6));
    const after = Math.max(0, age - frame.air) / glow;
    if (after > 1 || age < 0) return 0;
    let furthest = 0;
    for (const end of flow.ends) furthest = Math.max(furthest, end.distance);
    const head = progress * furthest;
    const speed = furthest / Math.max(frame.air, 1e-6);
    for (let i = 0; i < flow.a.length; i++) {
      if (flow.near[i]! > head) continue;
      this.addPiece(flow, i, group, head, speed, glow, after, plan, camera, frame);
    }
    for (const end of flow.ends) this.addEnd(frame, end, group, head, speed, glow, after, plan, camera);
    if (flow.ends.length === 0) this.ring(group, 1 - after, screenX(camera, plan.x[plan.junctions + frame.src]!), screenY(camera, plan.y[plan.junctions + frame.src]!), 4 + 8 * Math.min(1, progress + after));
    return flow.a.length + 1;
  }

  private addPiece(flow: Flow, i: number, group: number, head: number, speed: number, glow: number, after: number, plan: Plan, camera: Camera, frame: Frame): void {
    const a = flow.a[i]!, b = flow.b[i]!;
    const ax = screenX(camera, plan.x[a]!), ay = screenY(camera, plan.y[a]!);
    const bx = screenX(camera, plan.x[b]!), by = screenY(camera, plan.y[b]!);
    if ((ax < 0 && bx < 0) || (ay < 0 && by < 0) || (ax > camera.width && bx > camera.width) || (ay > camera.height && by > camera.height)) return;
    const near = flow.near[i]!, far = flow.far[i]!, length = far - near;
    const end = Math.min(far, head);
    const share = length > 0 ? (end - near) / length : 1;
    // seconds since the head passed the middle of what is lit
    const since = ((head - (near + end) / 2) / Math.max(speed, 1e-9)) / glow + after;
    const bright = brightness((flow.dbNear[i]! + flow.dbFar[i]!) / 2) * Math.max(0, 1 - since) ** 1.3;
    const level = Math.min(LEVELS - 1, Math.floor(bright * LEVELS));
    const ex = ax + (bx - ax) * share, ey = ay + (by - ay) * share;
    if (bright > 0.03) this.strokes[group * LEVELS + level]!.push(ax, ay, ex, ey);
    if (head < far && head > near && length > 0) {
      const norm = Math.hypot(bx - ax, by - ay) || 1;
      this.heads[group]!.push(ex, ey, (bx - ax) / norm, (by - ay) / norm);
      this.drawn.push({ frame, x: ex, y: ey });
    }
  }

  private addEnd(frame: Frame, end: Flow["ends"][number], group: number, head: number, speed: number, glow: number, after: number, plan: Plan, camera: Camera): void {
    if (head < end.distance * 0.999) return;
    const x = screenX(camera, plan.x[end.vertex]!), y = screenY(camera, plan.y[end.vertex]!);
    const since = Math.min(1, ((head - end.distance) / Math.max(speed, 1e-9)) / glow + after);
    if (end.lost) this.losses.push([x, y, frame.lost ?? "other", 1 - since]);
    else this.ring(group, brightness(end.db) * (1 - since), x, y, nodeRadius(camera, plan) + 2 + 9 * since);
    if (after < 0.9) this.drawn.push({ frame, x, y });
  }

  private ring(group: number, bright: number, x: number, y: number, r: number): void {
    const level = Math.min(LEVELS - 1, Math.max(0, Math.floor(bright * LEVELS)));
    if (bright > 0.04) this.rings[group * LEVELS + level]!.push(x, y, r);
  }

  /** Glow first, then the light itself; acknowledgements lie under everything. */
  private stroke(context: CanvasRenderingContext2D, colours: Colours, plain: boolean): void {
    context.lineCap = plain ? "butt" : "round";
    const order = GROUPS.map((_, number) => number).reverse();
    if (!plain) {
      context.globalCompositeOperation = colours.dark ? "lighter" : "source-over";
      for (const number of order) if (GROUPS[number]!.id !== "other") this.strokeGroup(context, colours, number, 10, 0.16);
      context.globalCompositeOperation = "source-over";
    }
    for (const number of order) {
      this.strokeGroup(context, colours, number, GROUPS[number]!.id === "other" ? 1.5 : 3, 1);
      context.lineWidth = 2;
      for (let level = 0; level < LEVELS; level++) {
        const rings = this.rings[number * LEVELS + level]!;
        if (!rings.length) continue;
        context.globalAlpha = (level + 0.7) / LEVELS;
        context.beginPath();
        for (let i = 0; i < rings.length; i += 3) {
          context.moveTo(rings[i]! + rings[i + 2]!, rings[i + 1]!);
          context.arc(rings[i]!, rings[i + 1]!, rings[i + 2]!, 0, 2 * Math.PI);
        }
        context.stroke();
      }
    }
    context.globalAlpha = 1;
  }

  private strokeGroup(context: CanvasRenderingContext2D, colours: Colours, number: number, width: number, strength: number): void {
    const group = GROUPS[number]!;
    context.strokeStyle = colours.dark ? group.dark : group.light;
    context.lineWidth = width;
    for (let level = 0; level < LEVELS; level++) {
      const lines = this.strokes[number * LEVELS + level]!;
      if (!lines.length) continue;
      context.globalAlpha = ((level + 0.7) / LEVELS) * strength;
      for (let from = 0; from < lines.length; from += 4 * SHORT) {
        context.beginPath();
        for (let i = from; i < Math.min(lines.length, from + 4 * SHORT); i += 4) {
          context.moveTo(lines[i]!, lines[i + 1]!);
          context.lineTo(lines[i + 2]!, lines[i + 3]!);
        }
        context.stroke();
      }
    }
  }

  private drawHeads(context: CanvasRenderingContext2D, camera: Camera, plan: Plan, colours: Colours): void {
    const r = Math.min(7, Math.max(3.2, nodeRadius(camera, plan) * 0.8));
    GROUPS.forEach((group, number) => {
      const heads = this.heads[number]!;
      if (!heads.length) return;
      context.beginPath();
      for (let i = 0; i < heads.length; i += 4) tracePath(context, group.shape, heads[i]!, heads[i + 1]!, r, heads[i + 2]!, heads[i + 3]!);
      const colour = colours.dark ? group.dark : group.light;
      if (isStroked(group.shape)) {
        context.strokeStyle = colour;
        context.lineWidth = 2.4;
        context.stroke();
      } else {
        context.fillStyle = colour;
        context.strokeStyle = colours.back;
        context.lineWidth = 1.5;
        context.stroke();
        context.fill();
      }
    });
  }

  /** The chosen frame: its whole way with every receiver, however old it is. */
  private drawSelected(context: CanvasRenderingContext2D, frame: Frame, flows: Flows, plan: Plan, camera: Camera, colours: Colours, moment: Moment): void {
    const flow = flows.of(frame);
    const group = GROUPS[GROUP_OF[frame.kind]!]!;
    context.strokeStyle = colours.dark ? group.dark : group.light;
    context.lineCap = "round";
    for (let i = 0; i < flow.a.length; i++) {
      context.beginPath();
      context.moveTo(screenX(camera, plan.x[flow.a[i]!]!), screenY(camera, plan.y[flow.a[i]!]!));
      context.lineTo(screenX(camera, plan.x[flow.b[i]!]!), screenY(camera, plan.y[flow.b[i]!]!));
      const bright = brightness((flow.dbNear[i]! + flow.dbFar[i]!) / 2);
      context.globalAlpha = bright * 0.25;
      context.lineWidth = 12;
      context.stroke();
      context.globalAlpha = bright;
      context.lineWidth = 3.5;
      context.stroke();
    }
    context.globalAlpha = 1;
    const r = nodeRadius(camera, plan);
    const x = screenX(camera, plan.x[plan.junctions + frame.src]!), y = screenY(camera, plan.y[plan.junctions + frame.src]!);
    context.lineWidth = 2;
    for (const end of flow.ends) {
      const ex = screenX(camera, plan.x[end.vertex]!), ey = screenY(camera, plan.y[end.vertex]!);
      if (end.lost) this.losses.push([ex, ey, frame.lost ?? "other", 1]);
      else {
        context.beginPath();
        context.arc(ex, ey, r + 4, 0, 2 * Math.PI);
        context.globalAlpha = brightness(end.db);
        context.stroke();
        context.globalAlpha = 1;
      }
    }
    context.beginPath();
    context.setLineDash([2, 3]);
    context.arc(x, y, r + 6, 0, 2 * Math.PI);
    context.stroke();
    context.setLineDash([]);
    const age = moment.t - frame.t;
    if (age < 0 || age > frame.air || moment.still) return;
    let furthest = 0;
    for (const end of flow.ends) furthest = Math.max(furthest, end.distance);
    const head = (age / Math.max(frame.air, 1e-6)) * furthest;
    for (let i = 0; i < flow.a.length; i++) {
      const near = flow.near[i]!, far = flow.far[i]!;
      if (head < near || head > far || far === near) continue;
      const ax = screenX(camera, plan.x[flow.a[i]!]!), ay = screenY(camera, plan.y[flow.a[i]!]!);
      const bx = screenX(camera, plan.x[flow.b[i]!]!), by = screenY(camera, plan.y[flow.b[i]!]!);
      const share = (head - near) / (far - near), norm = Math.hypot(bx - ax, by - ay) || 1;
      this.heads[GROUP_OF[frame.kind]!]!.push(ax + (bx - ax) * share, ay + (by - ay) * share, (bx - ax) / norm, (by - ay) / norm);
    }
  }

  /** A cross for what was cut, a burst for a collision, a jag for noise. */
  private drawLosses(context: CanvasRenderingContext2D, colours: Colours): void {
    context.strokeStyle = colours.bad;
    context.lineWidth = 2.2;
    for (const [x, y, why, alpha] of this.losses) {
      context.globalAlpha = Math.max(0, alpha);
      context.beginPath();
      if (why === "collision") {
        for (let i = 0; i < 8; i++) {
          const a = (i * Math.PI) / 4;
          context.moveTo(x + 4 * Math.cos(a), y + 4 * Math.sin(a));
          context.lineTo(x + 10 * Math.cos(a), y + 10 * Math.sin(a));
        }
      } else if (why === "noise") {
        [[-10, 0], [-6, -6], [-2, 6], [2, -6], [6, 6], [10, 0]].forEach(([a, b], i) => (i ? context.lineTo(x + a!, y + b!) : context.moveTo(x + a!, y + b!)));
      } else tracePath(context, "cross", x, y, 7);
      context.stroke();
    }
    context.globalAlpha = 1;
  }
}
