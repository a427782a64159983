/**
 * The events of a street, one JSON object a line (docs/page.md): what the simulation records and what `/api/live` sends.
 *
 * The reader is total: a line it cannot use gives null and is counted by the caller. Unknown events are no error, so that an older page
 * plays a newer recording. A frame's heavy parts (its bytes and decoded layers) stay where they came from until somebody asks.
 */

export const KINDS = [
  "RREQ", "RREP", "RERR", "PREQ", "PREP", "LBP", "BEACON", "AARQ", "AARE", "RLRQ",
  "GET", "SET", "ACTION", "RESPONSE", "PUSH", "DATA", "ACK", "TMR",
] as const;
export type Kind = (typeof KINDS)[number];
export const KIND_NUMBER: ReadonlyMap<string, number> = new Map(KINDS.map((kind, index) => [kind, index]));

export const LADDER = ["scan", "joining", "challenge1", "challenge2", "accepted", "joined"] as const;
export const JOIN_STATES = ["unknown", ...LADDER, "declined", "left", "kicked"] as const;
export type JoinState = (typeof JOIN_STATES)[number];

export type Lost = "collision" | "noise" | "cut" | "other";
export type Layer = [title: string, fields: [name: string, value: unknown][]];

export interface Junction { id: number; x: number; y: number }
export interface Cable { id: number; from: number; to: number; length: number }
export interface StreetNode {
  id: number;
  junction: number | null;
  phase: string;
  role: "coordinator" | "meter" | "intruder";
  name: string;
  eui: string;
}
export interface Street {
  e: "street";
  version: number;
  start: number | null;
  title: string;
  junctions: Junction[];
  cables: Cable[];
  nodes: StreetNode[];
}
/** What a live server lets this viewer do; without it a live street may be commanded in every way. */
export interface Hello { e: "hello"; can: string[]; why: string }
/** A live viewer was too slow and missed events; what there is follows anew. */
export interface LostEvents { e: "lost"; events: number }
/** On a device: whether the collector, which knows everything, runs. */
export interface Collector { e: "collector"; away: boolean }
/** Where the live street's clock stands; sent when it changes, and now and then. */
export interface ClockEvent { e: "clock"; t: number; factor: number; paused: boolean }

/** The decoded part of a frame: in the event itself (live) or in its line of the recording. */
export interface Detail { bytes: string | null; layers: Layer[] | null }
export interface Frame {
  e: "frame";
  t: number;
  id: number;
  src: number;
  /** -1: broadcast */
  dst: number;
  kind: number;
  air: number;
  mod: string;
  size: number;
  got: number[];
  att: number[];
  lost: Lost | null;
  orig: number | null;
  final: number | null;
  detail: Detail | number | null;
}
export interface JoinEvent { e: "join"; t: number; node: number; state: JoinState; short: number | null }
export interface RouteEvent { e: "route"; t: number; node: number; to: number; next: number | null; cost: number; hops: number }
export interface CableEvent { e: "cable"; t: number; id: number; state: "cut" | "whole" }
export interface NoiseEvent { e: "noise"; t: number; junction: number; db: number; until: number }
export interface NodeEvent { e: "node"; t: number; id: number; state: "on" | "off" }
export interface ReadingEvent { e: "reading"; t: number; node: number; rows: number; of: number }
export interface ProfileEvent { e: "profile"; t: number; node: number; unit: string; name: string; rows: [number, number][] }
export interface ProgressEvent {
  e: "progress";
  t: number;
  collected: number;
  expected: number;
  air: Record<string, number>;
  floor: number | null;
  share: number | null;
}
export interface AlarmEvent { e: "alarm"; t: number; node: number; text: string }
export interface EndEvent { e: "end"; t: number }

export type Event =
  | Frame | JoinEvent | RouteEvent | CableEvent | NoiseEvent | NodeEvent | ReadingEvent | ProfileEvent | ProgressEvent | AlarmEvent | EndEvent;
export type Message = Street | Hello | LostEvents | Collector | ClockEvent | Event;

type Json = Record<string, unknown>;

/** Bounds on a street, so that a hostile file cannot take the tab down. */
const MAX_PLACES = 50_000;

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const isIndex = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
const text = (value: unknown, otherwise = ""): string => (typeof value === "string" ? value : otherwise);
const number = (value: unknown, otherwise = 0): number => (isNumber(value) ? value : otherwise);
const index = (value: unknown): number | null => (isIndex(value) ? value : null);
const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const numbers = (value: unknown): number[] => list(value).slice(0, MAX_PLACES).filter(isNumber);

/** Read one line: null for what is no event, undefined for one that says nothing here (an unknown kind, an unknown node). `keep` says whether a frame's bytes and layers stay in the event (live) or are left to `detailOf` (a recording). */
export function readLine(line: string, keep: boolean): Message | null | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  return isObject(value) && typeof value["e"] === "string" ? (readMessage(value, keep) ?? undefined) : null;
}

function readMessage(o: Json, keep: boolean): Message | null {
  if (o["e"] === "street") return readStreet(o);
  if (o["e"] === "hello") return { e: "hello", can: list(o["can"]).filter((word) => typeof word === "string"), why: text(o["why"]) };
  if (o["e"] === "lost") return { e: "lost", events: number(o["events"]) };
  if (o["e"] === "collector") return { e: "collector", away: o["state"] === "away" };
  const t = o["t"];
  if (!isNumber(t)) return null;
  if (o["e"] === "clock") return { e: "clock", t, factor: number(o["factor"], 1), paused: o["paused"] === true };
  return o["e"] === "frame" ? readFrame(o, t, keep) : readEvent(o, t);
}

function readFrame(o: Json, t: number, keep: boolean): Frame | null {
  const src = o["src"];
  if (!isIndex(src)) return null;
  const lost = o["lost"];
  return {
    e: "frame",
    t,
    id: number(o["id"]),
    src,
    dst: index(o["dst"]) ?? -1,
    kind: KIND_NUMBER.get(text(o["kind"])) ?? KIND_NUMBER.get("DATA")!,
    air: Math.min(Math.max(number(o["d"]), 0), 10),
    mod: text(o["mod"], "?"),
    size: number(o["n"]),
    got: numbers(o["got"]),
    att: numbers(o["att"]),
    lost: lost === "collision" || lost === "noise" || lost === "cut" ? lost : lost == null ? null : "other",
    orig: index(o["orig"]),
    final: index(o["final"]),
    detail: keep ? detailOf(o) : null,
  };
}

function readEvent(o: Json, t: number): Event | null {
  const node = o["node"];
  switch (o["e"]) {
    case "join": {
      const state = JOIN_STATES.find((known) => known === o["state"]);
      return isIndex(node) && state ? { e: "join", t, node, state, short: index(o["short"]) } : null;
    }
    case "route": {
      const to = o["to"];
      if (!isIndex(node) || !isIndex(to)) return null;
      return { e: "route", t, node, to, next: index(o["next"]), cost: number(o["cost"]), hops: number(o["hops"]) };
    }
    case "cable":
      return isIndex(o["id"]) ? { e: "cable", t, id: o["id"], state: o["state"] === "cut" ? "cut" : "whole" } : null;
    case "noise":
      return isIndex(o["junction"]) ? { e: "noise", t, junction: o["junction"], db: number(o["db"]), until: number(o["until"]) } : null;
    case "node":
      return isIndex(o["id"]) ? { e: "node", t, id: o["id"], state: o["state"] === "off" ? "off" : "on" } : null;
    case "reading":
      return isIndex(node) ? { e: "reading", t, node, rows: number(o["rows"]), of: number(o["of"], 24) } : null;
    case "profile":
      return isIndex(node) ? { e: "profile", t, node, unit: text(o["unit"]), name: text(o["name"]), rows: readRows(o["rows"]) } : null;
    case "progress":
      return {
        e: "progress",
        t,
        collected: number(o["collected"]),
        expected: number(o["expected"]),
        air: isObject(o["air"]) ? (Object.fromEntries(Object.entries(o["air"]).filter(([, s]) => isNumber(s))) as Record<string, number>) : {},
        floor: isNumber(o["floor"]) ? o["floor"] : null,
        share: isNumber(o["share"]) ? o["share"] : null,
      };
    case "alarm":
      return isIndex(node) ? { e: "alarm", t, node, text: text(o["message"]) || text(o["kind"], "alarm") } : null;
    case "end":
      return { e: "end", t };
    default:
      return null;
  }
}

function readRows(value: unknown): [number, number][] {
  const rows: [number, number][] = [];
  for (const row of list(value)) {
    const [at, what] = list(row);
    if (isNumber(at) && isNumber(what)) rows.push([at, what]);
  }
  return rows;
}

function readStreet(o: Json): Street | null {
  const nodes: StreetNode[] = [];
  for (const value of list(o["nodes"]).slice(0, MAX_PLACES)) {
    if (!isObject(value) || !isIndex(value["id"])) continue;
    nodes.push({
      id: value["id"],
      junction: index(value["junction"]),
      phase: text(value["phase"]),
      role: value["role"] === "coordinator" || value["role"] === "intruder" ? value["role"] : "meter",
      name: text(value["name"], `node ${value["id"]}`),
      eui: text(value["eui"]),
    });
  }
  const junctions = list(o["junctions"]).slice(0, MAX_PLACES).filter(
    (j): j is Json => isObject(j) && isIndex(j["id"]) && isNumber(j["x"]) && isNumber(j["y"]),
  ) as unknown as Junction[];
  const known = new Set(junctions.map((j) => j.id));
  const cables = list(o["cables"]).slice(0, MAX_PLACES).filter(
    (c): c is Json => isObject(c) && isIndex(c["id"]) && known.has(c["from"] as number) && known.has(c["to"] as number),
  ).map((c) => ({ id: c["id"], from: c["from"], to: c["to"], length: Math.max(number(c["length"], 1), 0.001) })) as Cable[];
  return {
    e: "street",
    version: number(o["version"], 1),
    start: isNumber(o["start"]) ? o["start"] : null,
    title: text(o["title"], "A street"),
    junctions,
    cables,
    nodes,
  };
}

/** A field's value in a word or two, whatever it is: what nests, or brings a `toString` of its own, is not asked for a text. */
export function brief(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.every((item) => typeof item !== "object") ? value.join(", ") : "…";
  return typeof value === "object" ? "…" : String(value);
}

/** The bytes and layers of a frame's object; a bare list is the layers. */
export function detailOf(told: unknown): Detail | null {
  const o = Array.isArray(told) ? { layers: told } : told;
  if (!isObject(o)) return null;
  const bytes = text(o["bytes"]).replace(/[^0-9a-f]/gi, "");
  const layers: Layer[] = [];
  for (const layer of list(o["layers"])) {
    const [title, fields] = list(layer);
    if (typeof title !== "string") continue;
    layers.push([title, list(fields).map((field) => [text(list(field)[0], "?"), list(field)[1]] as [string, unknown])]);
  }
  return bytes || layers.length ? { bytes: bytes || null, layers: layers.length ? layers : null } : null;
}
