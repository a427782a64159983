/** A few helpers in place of a framework, and how values are written for people. */

type Props = Record<string, string | number | boolean | ((event: never) => void) | null | undefined>;
type Child = Node | string | number | null | undefined | false;

/** An element with attributes, `on…` listeners and children. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  return dress(document.createElement(tag), props, children);
}

export function svg(tag: string, props: Props = {}, ...children: Child[]): SVGElement {
  return dress(document.createElementNS("http://www.w3.org/2000/svg", tag), props, children);
}

function dress<E extends Element>(element: E, props: Props, children: Child[]): E {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2).toLowerCase(), value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined && child !== false) element.append(typeof child === "number" ? String(child) : child);
  return element;
}

export function byId<E extends HTMLElement = HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as E;
}

/** Set an element's text only when it differs: screen readers and layout are spared. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Whether people asked for a picture that does not move. */
export const calm: { readonly matches: boolean } = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)") ?? { matches: false };
/** The picture is above the lists, as the style has it for a phone. */
export const narrow: { readonly matches: boolean } = globalThis.matchMedia?.("(max-width: 860px)") ?? { matches: false };

const two = (n: number) => String(Math.floor(n)).padStart(2, "0");

/** Time of day of the street, UTC where its start is known, otherwise since its start. */
export function clock(start: number | null, t: number, digits = 0): string {
  const all = Math.max(0, (start ?? 0) + t);
  const fraction = digits ? `.${String(Math.floor((all % 1) * 10 ** digits)).padStart(digits, "0")}` : "";
  return `${two((all / 3600) % 24)}:${two((all / 60) % 60)}:${two(all % 60)}${fraction}`;
}

export function duration(seconds: number): string {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.1 ? 1 : 0)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${two(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${two((seconds / 60) % 60)} min`;
}

export const count = (n: number): string => n.toLocaleString("en").replaceAll(",", " ");
export const percent = (share: number, digits = 0): string => `${(100 * share).toFixed(digits)} %`;
export const hex4 = (short: number): string => short.toString(16).toUpperCase().padStart(4, "0");
export const factor = (speed: number): string => `${speed < 1 ? String(speed).replace(/^0/, "") : speed}×`.replace(/^\./, "0.");
