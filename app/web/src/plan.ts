/**
 * Where things are drawn: the map (the street's coordinates), the feeder as a tree by distance from the transformer, or the tree of
 * routes. A plan is a graph of vertices (junctions, then one a node, then corners) and edges (cables, then one stub a node, then what
 * comes behind a corner), so that a packet's way is a path in it, whatever the layout.
 */

import { hierarchy, tree, type HierarchyNode } from "d3-hierarchy";
import type { Index, State } from "./state";

export type Layout = "map" | "feeder" | "routes";

export interface Plan {
  layout: Layout;
  /** Vertices: junction j is j, node n is `junctions` + n. */
  x: Float64Array;
  y: Float64Array;
  junctions: number;
  /** Edge e joins from[e] and to[e]. */
  from: Int32Array;
  to: Int32Array;
  length: Float64Array;
  /** The cable that an edge is, or is a part of; -1 for the stub that leads to a node. */
  cable: Int32Array;
  /** How many meters are behind each edge, seen from the coordinator. */
  load: Float64Array;
  cables: number;
  /** Nodes that no route reaches, in the tree of routes. */
  adrift: Set<number>;
  /** Typical distance between neighbouring nodes, in the plan's units. */
  spacing: number;
  /** Length of the feeder in metres or of the routes in hops, where the plan is drawn by distance. */
  furthest: number;
  aspect: number;
}

interface Limb { vertex: number; metres: number; children: Limb[] }

export function hasMap(index: Index): boolean {
  const { junctions, cables, nodes } = index.street;
  return junctions.length > 0 && cables.length > 0 && nodes.some((node) => node.junction !== null && index.junction.has(node.junction));
}

/** aspect: width of the picture by its height, which trees fill. */
export function makePlan(index: Index, layout: Layout, state: State, aspect: number): Plan {
  const plan = layout === "routes" ? routesPlan(index, state, aspect) : layout === "feeder" ? feederPlan(index, aspect) : mapPlan(index);
  plan.aspect = aspect;
  weigh(plan, index);
  return plan;
}

function skeleton(index: Index, layout: Layout): Plan {
  const { junctions, cables, nodes } = index.street;
  const count = junctions.length + nodes.length;
  const plan: Plan = {
    layout,
    x: new Float64Array(count),
    y: new Float64Array(count),
    junctions: junctions.length,
    from: new Int32Array(cables.length + nodes.length),
    to: new Int32Array(cables.length + nodes.length),
    length: new Float64Array(cables.length + nodes.length),
    cable: Int32Array.from({ length: cables.length + nodes.length }, (_, at) => (at < cables.length ? at : -1)),
    load: new Float64Array(cables.length + nodes.length),
    cables: cables.length,
    adrift: new Set(),
    spacing: 1,
    furthest: 0,
    aspect: 1,
  };
  cables.forEach((cable, at) => {
    plan.from[at] = index.junction.get(cable.from)!;
    plan.to[at] = index.junction.get(cable.to)!;
    plan.length[at] = cable.length;
  });
  nodes.forEach((node, at) => {
    const vertex = junctions.length + at;
    plan.from[cables.length + at] = (node.junction === null ? undefined : index.junction.get(node.junction)) ?? vertex;
    plan.to[cables.length + at] = vertex;
    plan.length[cables.length + at] = 0.5;
  });
  return plan;
}

function mapPlan(index: Index): Plan {
  const plan = skeleton(index, "map");
  index.street.junctions.forEach((junction, at) => {
    plan.x[at] = junction.x;
    plan.y[at] = -junction.y;
  });
  plan.spacing = spacingOf(plan, index);
  // meters that share a junction stand around it
  const there = new Map<number, number[]>();
  index.street.nodes.forEach((_, at) => {
    const junction = plan.from[plan.cables + at]!;
    there.set(junction, [...(there.get(junction) ?? []), at]);
  });
  for (const [junction, nodes] of there) {
    nodes.forEach((node, i) => {
      const vertex = plan.junctions + node;
      const ring = nodes.length === 1 ? 0 : plan.spacing * (0.34 + 0.05 * Math.floor(i / 8));
      const angle = -Math.PI / 2 + (2 * Math.PI * i) / Math.min(nodes.length, 8) + Math.floor(i / 8) * 0.4;
      if (junction < plan.junctions) {
        plan.x[vertex] = plan.x[junction]! + ring * Math.cos(angle);
        plan.y[vertex] = plan.y[junction]! + ring * Math.sin(angle);
      }
    });
  }
  return plan;
}

/** The usual distance from a node to the nearest other one. */
function spacingOf(plan: Plan, index: Index): number {
  const places = index.street.nodes.map((_, at) => plan.from[plan.cables + at]!);
  const nearest: number[] = [];
  for (let i = 0; i < places.length; i += Math.ceil(places.length / 300)) {
    let least = Infinity;
    for (const other of places) {
      const d = Math.hypot(plan.x[other]! - plan.x[places[i]!]!, plan.y[other]! - plan.y[places[i]!]!);
      if (d > 0 && d < least) least = d;
    }
    if (least < Infinity) nearest.push(least);
  }
  nearest.sort((a, b) => a - b);
  return Math.max(0.001, nearest[nearest.length >> 1] ?? 1);
}

export function bounds(plan: Plan, vertices = plan.x.length): [number, number, number, number] {
  let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
  for (let v = 0; v < vertices; v++) {
    x0 = Math.min(x0, plan.x[v]!);
    x1 = Math.max(x1, plan.x[v]!);
    y0 = Math.min(y0, plan.y[v]!);
    y1 = Math.max(y1, plan.y[v]!);
  }
  return vertices ? [x0, y0, x1, y1] : [0, 0, 1, 1];
}

/** The feeder by distance: metres from the transformer to the right, branches one above the other; large streets around a centre. */
function feederPlan(index: Index, aspect: number): Plan {
  const plan = skeleton(index, "feeder");
  const start = plan.from[plan.cables + index.coordinator]!;
  const links = neighbours(plan);
  const limbs = new Map<number, Limb>();
  const seen = new Uint8Array(plan.x.length);
  const grow = (vertex: number): Limb => {
    const root: Limb = { vertex, metres: 0, children: [] };
    const queue = [root];
    seen[vertex] = 1;
    for (let i = 0; i < queue.length; i++) {
      const limb = queue[i]!;
      limbs.set(limb.vertex, limb);
      for (const [other, edge] of links[limb.vertex]!) {
        if (seen[other]) continue;
        seen[other] = 1;
        const child = { vertex: other, metres: limb.metres + plan.length[edge]!, children: [] };
        limb.children.push(child);
        queue.push(child);
      }
    }
    return root;
  };
  const root = grow(start);
  for (let v = 0; v < plan.x.length; v++) if (!seen[v]) root.children.push(grow(v));
  plan.furthest = place(plan, root, (limb) => limb.data.metres, index.street.nodes.length, aspect);
  if (index.street.nodes.length <= RADIAL) corner(plan);
  return plan;
}

/** Lead each edge up or down first, then along: a corner becomes a vertex. */
function corner(plan: Plan): void {
  const x = [...plan.x], y = [...plan.y];
  const from = [...plan.from], to = [...plan.to], length = [...plan.length], cable = [...plan.cable];
  for (let e = 0; e < plan.from.length; e++) {
    const a = from[e]!, b = to[e]!;
    if (a === b || Math.abs(y[a]! - y[b]!) < 1e-6 || Math.abs(x[a]! - x[b]!) < 1e-6) continue;
    const [near, far] = x[a]! <= x[b]! ? [a, b] : [b, a];
    const at = x.push(x[near]!) - 1;
    y.push(y[far]!);
    const metres = length[e]!;
    from[e] = near;
    to[e] = at;
    length[e] = metres / 2;
    from.push(at);
    to.push(far);
    length.push(metres / 2);
    cable.push(cable[e]!);
  }
  plan.x = Float64Array.from(x);
  plan.y = Float64Array.from(y);
  plan.from = Int32Array.from(from);
  plan.to = Int32Array.from(to);
  plan.length = Float64Array.from(length);
  plan.cable = Int32Array.from(cable);
}

/** Count the meters behind each edge. */
function weigh(plan: Plan, index: Index): void {
  const links = neighbours(plan);
  const up = new Int32Array(plan.x.length).fill(-1), by = new Int32Array(plan.x.length).fill(-1);
  const start = plan.junctions + index.coordinator;
  const order = [start];
  up[start] = start;
  for (let i = 0; i < order.length; i++) {
    for (const [other, edge] of links[order[i]!]!) {
      if (up[other]! >= 0) continue;
      up[other] = order[i]!;
      by[other] = edge;
      order.push(other);
    }
  }
  plan.load = new Float64Array(plan.from.length);
  const behind = new Float64Array(plan.x.length);
  for (let i = order.length - 1; i > 0; i--) {
    const v = order[i]!;
    if (v >= plan.junctions && v < plan.junctions + index.street.nodes.length) behind[v]!++;
    behind[up[v]!]! += behind[v]!;
    plan.load[by[v]!] = behind[v]!;
  }
}

/** The tree of routes: each meter under its next hop towards the coordinator; those without a route stand below. */
function routesPlan(index: Index, state: State, aspect: number): Plan {
  const plan = skeleton(index, "routes");
  const nodes = index.street.nodes.length;
  plan.cables = 0;
  plan.from = new Int32Array(nodes);
  plan.to = new Int32Array(nodes);
  plan.length = new Float64Array(nodes).fill(1);
  plan.cable = new Int32Array(nodes).fill(-1);
  const limbs: Limb[] = index.street.nodes.map((_, at) => ({ vertex: plan.junctions + at, metres: 0, children: [] }));
  const root = limbs[index.coordinator]!;
  for (let at = 0; at < nodes; at++) {
    const vertex = plan.junctions + at;
    plan.from[at] = plan.to[at] = vertex;
    if (at === index.coordinator) continue;
    const { nodes: way, whole } = state.path(at, index.coordinator);
    if (whole) {
      limbs[way[1]!]!.children.push(limbs[at]!);
      plan.from[at] = plan.junctions + way[1]!;
    } else plan.adrift.add(at);
  }
  if (root) plan.furthest = place(plan, root, (limb) => limb.depth, Infinity, aspect);
  const alone = plan.adrift.size === nodes - 1;
  if (alone) plan.spacing = 60;
  const columns = Math.max(4, Math.ceil(Math.sqrt(plan.adrift.size * 2)));
  const [x0, , x1, y1] = alone ? [-30 * columns, 0, 30 * columns, 30] : bounds2(plan, limbs, plan.adrift);
  if (alone && root) plan.x[root.vertex] = plan.y[root.vertex] = 0;
  const step = Math.max((x1 - x0) / columns, plan.spacing * 0.8);
  [...plan.adrift].forEach((at, i) => {
    plan.x[plan.junctions + at] = x0 + ((i % columns) + 0.5) * step;
    plan.y[plan.junctions + at] = y1 + plan.spacing * 1.5 + Math.floor(i / columns) * Math.min(step, plan.spacing * 1.2);
  });
  // junctions have no place here: they stay out of the bounds
  for (let v = 0; v < plan.junctions; v++) {
    plan.x[v] = plan.x[root!.vertex]!;
    plan.y[v] = plan.y[root!.vertex]!;
  }
  return plan;
}

function bounds2(plan: Plan, limbs: Limb[], without: Set<number>): [number, number, number, number] {
  let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
  limbs.forEach((limb, at) => {
    if (without.has(at)) return;
    x0 = Math.min(x0, plan.x[limb.vertex]!);
    x1 = Math.max(x1, plan.x[limb.vertex]!);
    y0 = Math.min(y0, plan.y[limb.vertex]!);
    y1 = Math.max(y1, plan.y[limb.vertex]!);
  });
  return [x0, y0, x1, y1];
}

/** More leaves than this do not fit one above the other. */
const RADIAL = 130;
/** Radius of a round tree in drawn units, and how much wider than high it is. */
export const RING = 800;
export const stretch = (aspect: number): number => Math.min(1.6, Math.max(0.8, aspect));
/** Width of a tree in drawn units. */
export const FEEDER = 1600;

function place(plan: Plan, root: Limb, reach: (limb: HierarchyNode<Limb>) => number, count: number, aspect: number): number {
  const height = FEEDER / Math.min(2.4, Math.max(0.6, aspect));
  const radial = count > RADIAL;
  const rings = count === Infinity;
  const laid = tree<Limb>().separation((a, b) => (a.parent === b.parent ? 1 : 1.5) / (rings ? a.depth : 1))(hierarchy(root, (limb) => limb.children));
  let furthest = 0;
  laid.each((limb) => (furthest = Math.max(furthest, reach(limb))));
  const all = laid.descendants();
  const leaves = Math.max(1, all.filter((limb) => !limb.children).length);
  for (const limb of all) {
    const along = furthest ? reach(limb) / furthest : 0;
    const { vertex } = limb.data;
    if (radial) {
      const angle = limb.x * 2 * Math.PI - Math.PI / 2;
      // by distance a crowd stands far out: the root spreads it
      const reach = RING * (rings ? along : Math.pow(along, 0.8));
      plan.x[vertex] = reach * Math.cos(angle) * stretch(aspect);
      plan.y[vertex] = reach * Math.sin(angle);
    } else {
      plan.x[vertex] = FEEDER * along;
      plan.y[vertex] = height * (limb.x - 0.5);
    }
  }
  plan.spacing = rings ? Math.min(90, 5600 / leaves) : radial ? 5600 / leaves : Math.max(12, Math.min(120, height / leaves));
  return furthest;
}

/** Of each vertex: the vertices next to it, and by which edge. */
export function neighbours(plan: Plan): [vertex: number, edge: number][][] {
  const links: [number, number][][] = Array.from({ length: plan.x.length }, () => []);
  for (let e = 0; e < plan.from.length; e++) {
    const a = plan.from[e]!, b = plan.to[e]!;
    if (a === b) continue;
    links[a]!.push([b, e]);
    links[b]!.push([a, e]);
  }
  return links;
}
