/** The keyboard: one table, which is also what the help shows. */

import { byId, h } from "./dom";

export interface Shortcut { keys: string[]; shown: string; what: string; run(event: KeyboardEvent): void }

export function bindKeys(groups: Record<string, Shortcut[]>): void {
  const table = new Map<string, Shortcut>();
  for (const shortcut of Object.values(groups).flat()) for (const key of shortcut.keys) table.set(key, shortcut);
  document.addEventListener("keydown", (event) => {
    const target = event.target as HTMLElement;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target.matches("input, select, textarea") && event.key !== "Escape") return;
    // a focused button keeps its own Space and Enter, a list its own arrows
    if ((event.key === " " || event.key === "Enter") && target.closest("button, summary, a")) return;
    const name = `${event.shiftKey && event.key.length > 1 ? "Shift+" : ""}${event.key.length === 1 ? event.key.toLowerCase() : event.key}`;
    const shortcut = table.get(name);
    if (!shortcut) return;
    if (byId<HTMLDialogElement>("help").open && !["?", "Escape"].includes(event.key)) return;
    event.preventDefault();
    shortcut.run(event);
  });
  byId("help-keys").replaceChildren(...Object.entries(groups).map(([title, shortcuts]) => h("section", {}, h("h3", {}, title), h("dl", {}, ...shortcuts.flatMap(({ shown, what }) => [h("dt", {}, ...shown.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, what)])))));
}

export function toggleHelp(): void {
  const help = byId<HTMLDialogElement>("help");
  if (help.open) help.close();
  else help.showModal();
}
