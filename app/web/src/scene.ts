/** What both layers of the picture share: the camera, the colours of the theme, and what is chosen. */

import type { Plan } from "./plan";

export interface Camera { k: number; x: number; y: number; width: number; height: number; ratio: number }

export interface Colours {
  dark: boolean;
  back: string;
  cable: string;
  trunk: string;
  text: string;
  muted: string;
  faint: string;
  accent: string;
  good: string;
  bad: string;
  warn: string;
  panel: string;
}

export function readColours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const get = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    dark: get("scheme") !== "light",
    back: get("stage"),
    cable: get("cable"),
    trunk: get("trunk"),
    text: get("text"),
    muted: get("muted"),
    faint: get("faint"),
    accent: get("accent"),
    good: get("good"),
    bad: get("bad"),
    warn: get("warn"),
    panel: get("panel"),
  };
}

export const screenX = (camera: Camera, x: number): number => x * camera.k + camera.x;
export const screenY = (camera: Camera, y: number): number => y * camera.k + camera.y;

/** Radius of a node on the screen. */
export function nodeRadius(camera: Camera, plan: Plan): number {
  return Math.min(9, Math.max(2.6, plan.spacing * camera.k * 0.3));
}

export interface Chosen { node: number | null; cable: number | null; junction: number | null; hover: { kind: "node" | "cable" | "junction"; at: number } | null }
