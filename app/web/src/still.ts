/** The still layer: cables, nodes and what befell them, routes. Drawn anew only when something in it has changed. */

import { LADDER } from "./events";
import { nodeRadius, screenX, screenY, type Camera, type Chosen, type Colours } from "./scene";
import { JOINED, type State } from "./state";
import { FEEDER, RING, stretch, type Plan } from "./plan";

/** Cables in a path: long paths are slow to draw where no GPU helps. */
const SHORT = 60;

export interface StillOptions { plan: Plan; state: State; camera: Camera; colours: Colours; chosen: Chosen; routes: boolean; labels: string[]; joinColour: string }

export function drawStill(context: CanvasRenderingContext2D, o: StillOptions): void {
  const { camera } = o;
  context.setTransform(camera.ratio, 0, 0, camera.ratio, 0, 0);
  context.clearRect(0, 0, camera.width, camera.height);
  context.lineCap = context.lineJoin = "round";
  drawNoise(context, o);
  if (o.plan.layout === "feeder" && o.plan.spacing >= 12) drawRuler(context, o);
  if (o.plan.layout === "routes") drawRings(context, o);
  drawCables(context, o);
  if (o.routes) drawAllRoutes(context, o);
  const costs = o.chosen.node === null ? [] : drawRoute(context, o, o.chosen.node);
  drawNodes(context, o);
  drawLabels(context, o);
  drawCosts(context, o, costs);
}

function drawCables(context: CanvasRenderingContext2D, o: StillOptions): void {
  const { plan, camera, colours, state, chosen } = o;
  const line = (edge: number) => {
    const a = plan.from[edge]!, b = plan.to[edge]!;
    const ax = screenX(camera, plan.x[a]!), ay = screenY(camera, plan.y[a]!);
    const bx = screenX(camera, plan.x[b]!), by = screenY(camera, plan.y[b]!);
    context.moveTo(ax, ay);
    context.lineTo(bx, by);
  };
  // the more meters hang on a cable, the heavier it is drawn: four strokes for all cables
  let most = 1;
  for (const load of plan.load) most = Math.max(most, load);
  const scale = Math.min(1.4, Math.max(0.7, nodeRadius(camera, plan) / 6));
  if (plan.from.length > 600) context.lineCap = "butt";
  for (let weight = 0; weight < 4; weight++) {
    context.strokeStyle = weight > 1 ? colours.trunk : colours.cable;
    context.lineWidth = Math.max(1, [1.2, 1.8, 2.6, 3.6][weight]! * scale);
    context.beginPath();
    let held = 0;
    for (let edge = 0; edge < plan.from.length; edge++) {
      const cable = plan.cable[edge]!;
      if (cable >= 0 && state.cut[cable]) continue;
      if (Math.min(3, Math.floor(4 * Math.sqrt(plan.load[edge]! / most))) !== weight) continue;
      line(edge);
      if (++held % SHORT) continue;
      context.stroke();
      context.beginPath();
    }
    context.stroke();
  }
  context.lineCap = "round";
  const lit = chosen.cable ?? (chosen.hover?.kind === "cable" ? chosen.hover.at : null);
  const cut = new Set<number>();
  for (let edge = 0; edge < plan.from.length; edge++) {
    const cable = plan.cable[edge]!;
    if (cable < 0) continue;
    if (state.cut[cable]) drawCut(context, o, edge, line, cut.has(cable));
    if (state.cut[cable]) cut.add(cable);
    if (cable !== lit) continue;
    context.beginPath();
    line(edge);
    context.strokeStyle = colours.accent;
    context.lineWidth = 4;
    context.stroke();
  }
}

function drawCut(context: CanvasRenderingContext2D, o: StillOptions, edge: number, line: (edge: number) => void, marked: boolean): void {
  const { plan, camera, colours } = o;
  context.beginPath();
  line(edge);
  context.setLineDash([3, 6]);
  context.strokeStyle = colours.bad;
  context.lineWidth = 2;
  context.stroke();
  context.setLineDash([]);
  if (marked) return;
  const a = plan.from[edge]!, b = plan.to[edge]!;
  const x = screenX(camera, (plan.x[a]! + plan.x[b]!) / 2), y = screenY(camera, (plan.y[a]! + plan.y[b]!) / 2);
  context.beginPath();
  context.arc(x, y, 9, 0, 2 * Math.PI);
  context.fillStyle = colours.back;
  context.fill();
  context.stroke();
  context.beginPath();
  context.moveTo(x - 4, y - 4);
  context.lineTo(x + 4, y + 4);
  context.moveTo(x + 4, y - 4);
  context.lineTo(x - 4, y + 4);
  context.lineWidth = 2.5;
  context.stroke();
}

function drawNoise(context: CanvasRenderingContext2D, o: StillOptions): void {
  const { plan, camera, colours, state } = o;
  for (const [junction, { db, until }] of state.noise) {
    if (until <= state.t || plan.layout === "routes") continue;
    const x = screenX(camera, plan.x[junction]!), y = screenY(camera, plan.y[junction]!);
    const reach = 18 + db;
    const halo = context.createRadialGradient(x, y, 2, x, y, reach);
    halo.addColorStop(0, colours.warn);
    halo.addColorStop(1, "transparent");
    context.globalAlpha = 0.35;
    context.fillStyle = halo;
    context.beginPath();
    context.arc(x, y, reach, 0, 2 * Math.PI);
    context.fill();
    context.globalAlpha = 1;
    // a jagged ring, told from a halo without colour
    context.beginPath();
    for (let i = 0; i <= 36; i++) {
      const r = reach * (i % 2 ? 0.62 : 0.8);
      const [px, py] = [x + r * Math.cos((i * Math.PI) / 18), y + r * Math.sin((i * Math.PI) / 18)];
      if (i) context.lineTo(px, py);
      else context.moveTo(px, py);
    }
    context.strokeStyle = colours.warn;
    context.lineWidth = 1.5;
    context.stroke();
  }
}

function hop(context: CanvasRenderingContext2D, o: StillOptions, from: number, to: number, bend: number): [number, number] {
  const { plan, camera } = o;
  const ax = screenX(camera, plan.x[plan.junctions + from]!), ay = screenY(camera, plan.y[plan.junctions + from]!);
  const bx = screenX(camera, plan.x[plan.junctions + to]!), by = screenY(camera, plan.y[plan.junctions + to]!);
  const cx = (ax + bx) / 2 + (by - ay) * bend, cy = (ay + by) / 2 - (bx - ax) * bend;
  context.moveTo(ax, ay);
  context.quadraticCurveTo(cx, cy, bx, by);
  return [(ax + 2 * cx + bx) / 4, (ay + 2 * cy + by) / 4];
}

function drawAllRoutes(context: CanvasRenderingContext2D, o: StillOptions): void {
  if (o.plan.layout === "routes") return;
  const { state, colours } = o;
  const coordinator = state.index.coordinator;
  context.beginPath();
  for (let node = 0; node < state.join.length; node++) {
    const route = state.route(node, coordinator);
    if (route) hop(context, o, node, route.next, 0.12);
  }
  context.strokeStyle = colours.accent;
  context.globalAlpha = 0.4;
  context.lineWidth = 1;
  context.stroke();
  context.globalAlpha = 1;
}

/** A place on the screen and the cost to write there. */
type Cost = [number, number, string];

/** The way of the chosen node to the coordinator: bent arcs; returns the cost of what is left at each hop. */
function drawRoute(context: CanvasRenderingContext2D, o: StillOptions, node: number): Cost[] {
  const { state, colours } = o;
  const coordinator = state.index.coordinator;
  const { nodes, whole } = state.path(node, coordinator);
  const places: Cost[] = [];
  if (nodes.length < 2) return places;
  context.beginPath();
  for (let i = 0; i + 1 < nodes.length; i++) {
    const [x, y] = hop(context, o, nodes[i]!, nodes[i + 1]!, o.plan.layout === "routes" ? 0 : 0.16);
    places.push([x, y, String(state.route(nodes[i]!, coordinator)?.cost ?? "?")]);
  }
  context.strokeStyle = whole ? colours.accent : colours.bad;
  context.globalAlpha = 0.22;
  context.lineWidth = 9;
  context.stroke();
  context.globalAlpha = 1;
  context.lineWidth = 2.2;
  context.setLineDash([7, 5]);
  context.stroke();
  context.setLineDash([]);
  return places;
}

/** Over everything else: a name that a cost covers stands in the list, too. */
function drawCosts(context: CanvasRenderingContext2D, { colours }: StillOptions, places: Cost[]): void {
  context.font = "600 11px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (const [x, y, cost] of places) {
    const width = context.measureText(cost).width + 10;
    context.beginPath();
    context.roundRect(x - width / 2, y - 8, width, 16, 8);
    context.fillStyle = colours.panel;
    context.fill();
    context.lineWidth = 1;
    context.strokeStyle = colours.accent;
    context.stroke();
    context.fillStyle = colours.text;
    context.fillText(cost, x, y + 0.5);
  }
}

function drawNodes(context: CanvasRenderingContext2D, o: StillOptions): void {
  const { plan, camera, colours, state, chosen } = o;
  const r = nodeRadius(camera, plan);
  const paths = { waiting: new Path2D(), joined: new Path2D(), complete: new Path2D(), arcs: new Path2D(), ladder: new Path2D(), off: new Path2D(), refused: new Path2D(), ticks: new Path2D() };
  for (let node = 0; node < state.join.length; node++) {
    const x = screenX(camera, plan.x[plan.junctions + node]!), y = screenY(camera, plan.y[plan.junctions + node]!);
    if (x < -20 || y < -20 || x > camera.width + 20 || y > camera.height + 20) continue;
    if (node === state.index.coordinator) {
      drawCoordinator(context, o, x, y, Math.max(9, r * 1.6));
      continue;
    }
    const disc = (path: Path2D, radius: number) => {
      path.moveTo(x + radius, y);
      path.arc(x, y, radius, 0, 2 * Math.PI);
    };
    const arc = (path: Path2D, share: number, radius: number) => {
      path.moveTo(x, y - radius);
      path.arc(x, y, radius, -Math.PI / 2, -Math.PI / 2 + 2 * Math.PI * share);
    };
    const join = state.join[node]!;
    const done = state.rowsOf[node]! ? state.rows[node]! / state.rowsOf[node]! : 0;
    if (state.index.street.nodes[node]!.role === "intruder") {
      paths.refused.moveTo(x, y - r * 1.3);
      paths.refused.lineTo(x + r * 1.2, y + r * 0.8);
      paths.refused.lineTo(x - r * 1.2, y + r * 0.8);
      paths.refused.closePath();
    } else if (state.off[node]) {
      const d = r * 0.8;
      paths.off.moveTo(x - d, y - d);
      paths.off.lineTo(x + d, y + d);
      paths.off.moveTo(x + d, y - d);
      paths.off.lineTo(x - d, y + d);
    } else if (join > JOINED) {
      disc(paths.refused, r);
      paths.refused.moveTo(x - r * 0.7, y + r * 0.7);
      paths.refused.lineTo(x + r * 0.7, y - r * 0.7);
    } else if (done >= 1) {
      disc(paths.complete, r);
      if (r >= 5) {
        paths.ticks.moveTo(x - r * 0.42, y + r * 0.02);
        paths.ticks.lineTo(x - r * 0.1, y + r * 0.36);
        paths.ticks.lineTo(x + r * 0.45, y - r * 0.32);
      }
    } else if (join === JOINED) {
      disc(paths.joined, r);
      if (done > 0) arc(paths.arcs, done, r);
    } else {
      disc(paths.waiting, r);
      if (join > 0) arc(paths.ladder, join / LADDER.length, r);
    }
  }
  paint(context, o, paths, r);
  for (const [at, width] of [[chosen.hover?.kind === "node" ? chosen.hover.at : null, 1.5], [chosen.node, 2.5]] as const) {
    if (at === null) continue;
    context.beginPath();
    context.arc(screenX(camera, plan.x[plan.junctions + at]!), screenY(camera, plan.y[plan.junctions + at]!), (at === state.index.coordinator ? Math.max(9, r * 1.6) : r) + 5, 0, 2 * Math.PI);
    context.strokeStyle = colours.accent;
    context.lineWidth = width;
    context.stroke();
  }
}

function paint(context: CanvasRenderingContext2D, o: StillOptions, paths: Record<"waiting" | "joined" | "complete" | "arcs" | "ladder" | "off" | "refused" | "ticks", Path2D>, r: number): void {
  const { colours } = o;
  const thin = Math.max(1, r * 0.22);
  context.fillStyle = colours.back;
  for (const path of [paths.waiting, paths.joined, paths.refused]) context.fill(path);
  context.lineWidth = thin;
  context.setLineDash(r >= 4 ? [2, 2.5] : []);
  context.strokeStyle = colours.faint;
  context.stroke(paths.waiting);
  context.setLineDash([]);
  context.strokeStyle = colours.muted;
  context.stroke(paths.joined);
  context.strokeStyle = o.joinColour;
  context.lineWidth = thin * 1.6;
  context.stroke(paths.ladder);
  context.strokeStyle = colours.good;
  context.stroke(paths.arcs);
  context.fillStyle = colours.good;
  context.fill(paths.complete);
  context.strokeStyle = colours.back;
  context.lineWidth = thin;
  context.stroke(paths.ticks);
  context.strokeStyle = colours.bad;
  context.lineWidth = thin * 1.3;
  context.stroke(paths.refused);
  context.stroke(paths.off);
}

/** The transformer with the concentrator: a square with a bolt. */
function drawCoordinator(context: CanvasRenderingContext2D, o: StillOptions, x: number, y: number, r: number): void {
  context.beginPath();
  context.roundRect(x - r, y - r, 2 * r, 2 * r, r * 0.35);
  context.fillStyle = o.colours.accent;
  context.fill();
  context.strokeStyle = o.colours.back;
  context.lineWidth = 2;
  context.stroke();
  context.beginPath();
  [[0.15, -0.65], [-0.42, 0.12], [-0.04, 0.12], [-0.15, 0.65], [0.42, -0.12], [0.04, -0.12]].forEach(([a, b], i) => (i ? context.lineTo(x + a! * r, y + b! * r) : context.moveTo(x + a! * r, y + b! * r)));
  context.closePath();
  context.fillStyle = o.colours.back;
  context.fill();
}

function drawLabels(context: CanvasRenderingContext2D, o: StillOptions): void {
  const { plan, camera, colours, state, chosen, labels } = o;
  const r = nodeRadius(camera, plan);
  const beside = plan.layout === "feeder" && plan.spacing >= 12;
  const all = plan.spacing * camera.k > (beside ? 12.5 : 30);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  context.lineWidth = 3;
  context.strokeStyle = colours.back;
  for (let node = 0; node < labels.length; node++) {
    const special = node === chosen.node || (chosen.hover?.kind === "node" && chosen.hover.at === node);
    if (!(all || special || node === state.index.coordinator)) continue;
    const x = screenX(camera, plan.x[plan.junctions + node]!), y = screenY(camera, plan.y[plan.junctions + node]!);
    if (x < -40 || y < -20 || x > camera.width + 40 || y > camera.height + 20) continue;
    context.textAlign = beside ? "left" : "center";
    context.fillStyle = special ? colours.text : colours.muted;
    const place: [number, number] = beside ? [x + r + 6, y] : [x, y + r + 10];
    if (node === state.index.coordinator) {
      context.textAlign = "center";
      place[0] = x < 0 ? x : Math.max(x, context.measureText(labels[node]!).width / 2 + 4); // whole also at the edge
      place[1] = y + Math.max(9, r * 1.6) + 11;
    }
    context.strokeText(labels[node]!, ...place);
    context.fillText(labels[node]!, ...place);
  }
}

/** Metres from the transformer, under the feeder's tree. */
function drawRuler(context: CanvasRenderingContext2D, o: StillOptions): void {
  const { camera, colours } = o;
  const metres = o.plan.furthest;
  if (!metres) return;
  const step = [10, 20, 25, 50, 100, 200, 250, 500, 1000].find((s) => (s / metres) * FEEDER * camera.k > 70) ?? 2000;
  context.font = "10px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  for (let at = 0; at <= metres; at += step) {
    const x = screenX(camera, (FEEDER * at) / metres);
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, camera.height);
    context.strokeStyle = colours.faint;
    context.globalAlpha = 0.18;
    context.lineWidth = 1;
    context.stroke();
    context.globalAlpha = 1;
    context.fillStyle = colours.muted;
    context.fillText(at ? `${at} m` : "0", x, camera.height - 8);
  }
}

/** Where a ring's name is written, from its foot on: the first of these that no meter stands at. */
const FOOT = [0, 1, -1, 2, -2, 3, -3, 4, -4].map((step) => Math.PI / 2 + step * 0.22);

/** Hops from the concentrator, around it. */
function drawRings(context: CanvasRenderingContext2D, o: StillOptions): void {
  const { camera, colours, plan } = o;
  context.font = "10px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const x = screenX(camera, 0), y = screenY(camera, 0);
  for (let hops = 1; hops <= Math.min(plan.furthest, 14); hops++) {
    const r = (RING * hops * camera.k) / plan.furthest;
    context.beginPath();
    context.ellipse(x, y, r * stretch(plan.aspect), r, 0, 0, 2 * Math.PI);
    context.strokeStyle = colours.faint;
    context.globalAlpha = 0.25;
    context.lineWidth = 1;
    context.stroke();
    context.globalAlpha = 1;
    const places = FOOT.map((angle) => [x + r * stretch(plan.aspect) * Math.cos(angle), y + r * Math.sin(angle)] as const);
    const place = places.find((each) => free(o, ...each));
    if (!place) continue; // crowded: the next ring says how they are counted
    context.lineWidth = 6;
    context.strokeStyle = colours.back;
    context.fillStyle = colours.muted;
    const name = hops === 1 ? "1 hop" : `${hops} hops`;
    context.strokeText(name, ...place);
    context.fillText(name, ...place);
  }
}

/** Whether neither a meter nor its name is near a place on the screen. */
function free({ plan, camera, labels }: StillOptions, x: number, y: number): boolean {
  for (let v = plan.junctions; v < plan.junctions + labels.length; v++) if (Math.abs(screenX(camera, plan.x[v]!) - x) < 34 && Math.abs(screenY(camera, plan.y[v]!) + 8 - y) < 22) return false;
  return true;
}
