/**
 * What each kind of frame looks like: nine groups, each with a colour for dark and for light, a shape and a pattern, so that none is
 * told by colour alone. The colours were spread apart for the three dichromacies at once; tests hold their distances.
 */

import { KINDS, type Kind } from "./events";

export type Shape = "ring" | "diamond" | "cross" | "hexagon" | "square" | "arrow" | "disc" | "star" | "dot";

export interface Group {
  id: string;
  title: string;
  kinds: Kind[];
  what: string;
  dark: string;
  light: string;
  shape: Shape;
}

export const GROUPS: readonly Group[] = [
  { id: "rreq", title: "Route request", kinds: ["RREQ", "PREQ"], what: "LOADng asks the street for a way", dark: "#f18300", light: "#c17d11", shape: "ring" },
  { id: "rrep", title: "Route reply", kinds: ["RREP", "PREP"], what: "the way comes back, hop by hop", dark: "#5dadff", light: "#1275d6", shape: "diamond" },
  { id: "rerr", title: "Route error", kinds: ["RERR"], what: "a link on the way is broken", dark: "#e0283c", light: "#ab2c00", shape: "cross" },
  { id: "join", title: "Joining", kinds: ["LBP", "BEACON"], what: "bootstrapping: EAP-PSK, keys, short address", dark: "#f298ca", light: "#843e87", shape: "hexagon" },
  { id: "session", title: "Association", kinds: ["AARQ", "AARE", "RLRQ"], what: "DLMS association opened and released", dark: "#eed96c", light: "#8c8e47", shape: "square" },
  { id: "request", title: "Request", kinds: ["GET", "SET", "ACTION"], what: "the concentrator asks a meter", dark: "#776eff", light: "#2c3ccd", shape: "arrow" },
  { id: "response", title: "Response", kinds: ["RESPONSE"], what: "the meter answers", dark: "#09f5a8", light: "#00a070", shape: "disc" },
  { id: "push", title: "Push", kinds: ["PUSH"], what: "a meter speaks up by itself: alarms", dark: "#ffffff", light: "#1d2433", shape: "star" },
  { id: "other", title: "Link", kinds: ["ACK", "TMR", "DATA"], what: "acknowledgements, tone maps, and what is not told apart", dark: "#717a78", light: "#788f98", shape: "dot" },
];

/** The group of each kind, by the kind's number. */
export const GROUP_OF: readonly number[] = KINDS.map((kind) => GROUPS.findIndex((group) => group.kinds.includes(kind)));

/** Attenuation at which a packet is drawn at its faintest. */
export const FAINT_DB = 75;

/** Brightness 1 … 0.22 for an attenuation in dB. */
export function brightness(db: number): number {
  return Math.max(0.22, 1 - 0.78 * Math.min(Math.max(db, 0) / FAINT_DB, 1));
}

/** Path of a shape of radius r around (x, y), pointing along (ux, uy). Rings and crosses are for stroke, the rest for fill. */
export function tracePath(context: CanvasRenderingContext2D | Path2D, shape: Shape, x: number, y: number, r: number, ux = 1, uy = 0): void {
  const at = (along: number, across: number): [number, number] => [x + ux * along - uy * across, y + uy * along + ux * across];
  const polygon = (points: [number, number][]) => {
    points.forEach(([a, b], i) => (i ? context.lineTo(...at(a, b)) : context.moveTo(...at(a, b))));
    context.closePath();
  };
  switch (shape) {
    case "ring":
    case "disc":
    case "dot": {
      const radius = shape === "dot" ? r * 0.6 : r;
      context.moveTo(x + radius, y);
      context.arc(x, y, radius, 0, 2 * Math.PI);
      return;
    }
    case "diamond":
      return polygon([[1.35 * r, 0], [0, 0.95 * r], [-1.35 * r, 0], [0, -0.95 * r]]);
    case "square":
      return polygon([[0.9 * r, 0.9 * r], [-0.9 * r, 0.9 * r], [-0.9 * r, -0.9 * r], [0.9 * r, -0.9 * r]]);
    case "arrow":
      return polygon([[1.5 * r, 0], [-0.9 * r, 1.05 * r], [-0.4 * r, 0], [-0.9 * r, -1.05 * r]]);
    case "hexagon":
      return polygon(Array.from({ length: 6 }, (_, i) => [1.1 * r * Math.cos((i * Math.PI) / 3), 1.1 * r * Math.sin((i * Math.PI) / 3)]));
    case "star":
      return polygon(Array.from({ length: 10 }, (_, i) => {
        const radius = i % 2 ? 0.6 * r : 1.5 * r;
        return [radius * Math.cos((i * Math.PI) / 5), radius * Math.sin((i * Math.PI) / 5)];
      }));
    case "cross":
      context.moveTo(x - r, y - r);
      context.lineTo(x + r, y + r);
      context.moveTo(x + r, y - r);
      context.lineTo(x - r, y + r);
  }
}

export const isStroked = (shape: Shape): boolean => shape === "ring" || shape === "cross";
