/**
 * What people do to the street: tools over the picture, a card for the cable or node that was clicked, and the answer of the street. A
 * recording cannot be changed: its buttons are disabled and say why.
 */

import { byId, h, say } from "./dom";
import type { Recording } from "./recording";
import { command } from "./source";
import type { State } from "./state";

export type Tool = "look" | "cut" | "noise" | "off";
export const TOOLS: readonly { id: Tool; title: string; key: string; needs: string | null; hint: string }[] = [
  { id: "look", title: "Look", key: "v", needs: null, hint: "Click a meter, a cable or a packet" },
  { id: "cut", title: "Cut a cable", key: "x", needs: "cut", hint: "Click a cable to cut it, a cut one to mend it" },
  { id: "noise", title: "Add noise", key: "n", needs: "noise", hint: "Click a place: 30 dB of noise for a minute" },
  { id: "off", title: "Kill a node", key: "k", needs: "off", hint: "Click a meter to switch it off, again to switch it on" },
];
const NOISE_DB = 30;
const NOISE_SECONDS = 60;

export interface Access { live: boolean; can: string[] | null; why: string }

export class Acts {
  tool: Tool = "look";
  onTool: (tool: Tool) => void = () => {};
  access: Access = { live: false, can: null, why: "" };
  private readonly card = byId("card");
  private readonly buttons = new Map<Tool, HTMLButtonElement>();
  private readonly mains = h("button", { type: "button", id: "mains", onClick: () => void this.streetPower() }, icon("off"), h("span", {}));
  private dark = false;

  constructor(private readonly recording: () => Recording | null) {
    const tools = TOOLS.map((tool) => {
      const button = h("button", { type: "button", "data-tool": tool.id, onClick: () => this.choose(tool.id) }, icon(tool.id), h("span", {}, tool.title), h("kbd", {}, tool.key.toUpperCase()));
      this.buttons.set(tool.id, button);
      return button;
    });
    byId("tools").replaceChildren(...tools, this.mains);
    this.refresh();
  }

  /** Why `what` cannot be done here, or null. */
  refusal(what: string): string | null {
    const { live, can, why } = this.access;
    if (!live) return "This is a recording: what happened has happened. “make live” runs a street that you can break.";
    if (can && !can.includes(what)) return why || "This street is read-only for you.";
    return null;
  }

  refresh(): void {
    for (const tool of TOOLS) {
      const button = this.buttons.get(tool.id)!;
      const no = tool.needs && this.refusal(tool.needs);
      button.setAttribute("aria-disabled", String(Boolean(no)));
      button.setAttribute("aria-pressed", String(tool.id === this.tool));
      button.title = no || tool.hint;
    }
    const no = this.refusal(this.dark ? "restore" : "blackout");
    this.mains.setAttribute("aria-disabled", String(Boolean(no)));
    const what = this.dark ? "Power on" : "Power off";
    say(this.mains.lastElementChild!, what);
    this.mains.setAttribute("aria-label", `${what} the street`);
    this.mains.title = no || (this.dark ? "Give all meters their power back" : "Take all meters their power; the concentrator has its own");
    byId("stage").dataset["tool"] = this.tool;
  }

  choose(id: Tool): void {
    const tool = TOOLS.find((t) => t.id === id)!;
    const no = tool.needs && this.refusal(tool.needs);
    if (no) return toast(no, "warn");
    this.tool = this.tool === id ? "look" : id;
    this.onTool(this.tool);
    this.refresh();
    if (this.tool !== "look") toast(tool.hint, "");
  }

  /** Whether the whole street is without power: what its button does depends on it. */
  showPower(state: State): void {
    const { meters, off } = state.census();
    const dark = meters > 0 && off === meters;
    if (dark === this.dark) return;
    this.dark = dark;
    this.refresh();
  }

  /** Take the street its power, or give it back. */
  async streetPower(): Promise<void> {
    await this.order({ do: this.dark ? "restore" : "blackout" });
  }

  async reboot(node: number): Promise<void> {
    const id = this.street()?.nodes[node]?.id;
    if (id !== undefined && (await this.order({ do: "reboot", node: id }))) toast("It starts anew.", "good");
  }

  async cable(cable: number, state: State): Promise<void> {
    const id = this.street()?.cables[cable]?.id;
    if (id === undefined) return;
    await this.order(state.cut[cable] ? { do: "mend", cable: id } : { do: "cut", cable: id });
  }

  async noise(junction: number): Promise<void> {
    const id = this.street()?.junctions[junction]?.id;
    if (id !== undefined) await this.order({ do: "noise", junction: id, db: NOISE_DB, seconds: NOISE_SECONDS });
  }

  async power(node: number, state: State): Promise<void> {
    const id = this.street()?.nodes[node]?.id;
    if (id !== undefined) await this.order({ do: state.off[node] ? "on" : "off", node: id });
  }

  /** Send a command; says so when the street refused. */
  async order(what: Record<string, unknown>): Promise<boolean> {
    const no = this.refusal(String(what["do"])) ?? (await command(what));
    if (no) toast(no, "bad");
    return !no;
  }

  private street() {
    return this.recording()?.street;
  }

  /** The card beside a clicked cable or junction. */
  showCable(cable: number, x: number, y: number, state: State): void {
    const street = this.street();
    const told = street?.cables[cable];
    if (!street || !told) return;
    const cut = state.cut[cable] === 1;
    const no = this.refusal(cut ? "mend" : "cut");
    const noNoise = this.refusal("noise");
    const junction = state.index.junction.get(told.to)!;
    this.place(x, y,
      h("h3", {}, `Cable ${told.id}`, h("small", { class: `state ${cut ? "bad" : "good"}` }, cut ? "cut" : "whole")),
      h("p", {}, `${told.length.toFixed(0)} m, from junction ${told.from} to ${told.to}`),
      h("div", { class: "actions" },
        h("button", { type: "button", id: "card-cut", class: cut ? "" : "danger", "aria-disabled": String(Boolean(no)), onClick: () => (no ? toast(no, "warn") : void this.cable(cable, state).then(() => this.hide())) }, cut ? "Mend it" : "Cut it"),
        h("button", { type: "button", "aria-disabled": String(Boolean(noNoise)), onClick: () => (noNoise ? toast(noNoise, "warn") : void this.noise(junction).then(() => this.hide())) }, `Noise at ${told.to}`)),
      no ? h("p", { class: "why" }, no) : null);
  }

  private place(x: number, y: number, ...children: (Node | null)[]): void {
    const stage = byId("stage");
    this.card.replaceChildren(h("button", { type: "button", class: "close", "aria-label": "Close", onClick: () => this.hide() }, "×"), ...children.filter((child) => child !== null));
    this.card.hidden = false;
    const { offsetWidth: width, offsetHeight: height } = this.card;
    this.card.style.left = `${Math.max(8, Math.min(x + 14, stage.clientWidth - width - 8))}px`;
    this.card.style.top = `${Math.max(8, Math.min(y + 14, stage.clientHeight - height - 8))}px`;
  }

  hide(): boolean {
    const was = !this.card.hidden;
    this.card.hidden = true;
    return was;
  }
}

let fading = 0;

/** Say something for a few seconds; screen readers hear it, too. */
export function toast(text: string, tone: "" | "good" | "bad" | "warn"): void {
  const box = byId("toast");
  say(box, text);
  box.className = `toast ${tone} shown`;
  clearTimeout(fading);
  fading = window.setTimeout(() => box.classList.remove("shown"), 2500 + 45 * text.length);
}

const ICONS: Record<Tool, string> = {
  look: "M4 2l9 6.2-4.2.8 2.4 4.4-1.9 1-2.3-4.5L4 12.6z",
  cut: "M2 8h3.5M10.5 8H14M6 4.5l4 7M10 4.5l-4 7",
  noise: "M1 8h2l1.5-5 2 10 2-8 2 6 1.5-3H15",
  off: "M8 2v6M4.5 4.2a5.2 5.2 0 1 0 7 0",
};

function icon(id: Tool): Node {
  const template = document.createElement("template");
  template.innerHTML = `<svg viewBox="0 0 16 16" aria-hidden="true" class="icon"><path d="${ICONS[id]}"/></svg>`;
  return template.content;
}
