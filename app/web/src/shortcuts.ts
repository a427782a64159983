/** What each key does. */

import { TOOLS } from "./act";
import type { App } from "./app";
import { byId } from "./dom";
import { toggleHelp, type Shortcut } from "./keys";
import type { Layout } from "./plan";

export function shortcuts(app: App): Record<string, Shortcut[]> {
  const by = (seconds: number) => () => {
    const player = app.parts?.player;
    if (player) app.seek(player.t + seconds * Math.max(1, player.speed));
  };
  const arrows: Record<string, [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  /** Arrows belong to what has the focus: the picture's meters, a list's rows, or time. */
  const arrow = (event: KeyboardEvent) => {
    const focus = document.activeElement?.id;
    const { parts } = app;
    if (!parts) return;
    const [dx, dy] = arrows[event.key]!;
    if (focus === "moving") {
      const node = parts.stage.neighbour(parts.stage.chosen.node, dx, dy);
      app.pickNode(node);
    } else if (focus === "meter-list" && dy) {
      const next = parts.meters.next(dy);
      if (next !== null) app.pickNode(next);
    } else if (focus === "frame-list" && dy) app.step(dy > 0 ? -1 : 1);
    else if (dx) by(5 * dx)();
  };
  const layouts: [string, Layout, string][] = [["1", "map", "the map"], ["2", "feeder", "the feeder by distance"], ["3", "routes", "the tree of routes"]];
  return {
    Time: [
      { keys: [" "], shown: "Space", what: "play, pause", run: () => void app.toggle() },
      { keys: ["."], shown: ".", what: "one frame on", run: () => app.step(1) },
      { keys: [","], shown: ",", what: "one frame back", run: () => app.step(-1) },
      { keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], shown: "← →", what: "5 seconds back, on (in the picture or a list: the next meter, the next row)", run: arrow },
      { keys: ["Shift+ArrowLeft"], shown: "Shift ←", what: "a minute back", run: by(-60) },
      { keys: ["Shift+ArrowRight"], shown: "Shift →", what: "a minute on", run: by(60) },
      { keys: ["Home"], shown: "Home", what: "the beginning", run: () => app.seek(-Infinity) },
      { keys: ["End", "l"], shown: "End L", what: "the end; live: now", run: () => app.parts?.player.follow() },
      { keys: ["["], shown: "[", what: "slower", run: () => app.faster(-1) },
      { keys: ["]"], shown: "]", what: "faster", run: () => app.faster(1) },
    ],
    Picture: [
      { keys: ["+", "="], shown: "+", what: "zoom in", run: () => app.parts?.stage.zoom(1.3) },
      { keys: ["-", "_"], shown: "−", what: "zoom out", run: () => app.parts?.stage.zoom(1 / 1.3) },
      { keys: ["0"], shown: "0", what: "show everything", run: () => app.parts?.stage.fit() },
      ...layouts.map(([key, layout, what]) => ({ keys: [key], shown: key, what, run: () => app.setLayout(layout) })),
      { keys: ["r"], shown: "R", what: "all routes", run: () => app.toggleRoutes() },
      { keys: ["t"], shown: "T", what: "dark, light", run: () => app.theme.toggle() },
      { keys: ["f"], shown: "F", what: "time that drawing takes", run: () => {
        byId("cost").hidden = !byId("cost").hidden;
        app.refresh();
      } },
    ],
    Street: [
      ...TOOLS.map((tool) => ({ keys: [tool.key], shown: tool.key.toUpperCase(), what: `${tool.title[0]!.toLowerCase()}${tool.title.slice(1)}`, run: () => app.acts.choose(tool.id) })),
      { keys: ["/"], shown: "/", what: "find a meter", run: () => {
        app.tabs.show("meters");
        byId("search").focus();
      } },
      { keys: ["j"], shown: "J", what: "next meter", run: () => app.pickNode(app.parts?.meters.next(1) ?? null) },
      { keys: ["i"], shown: "I", what: "meter before", run: () => app.pickNode(app.parts?.meters.next(-1) ?? null) },
      { keys: ["Escape"], shown: "Esc", what: "close, choose nothing", run: () => (byId<HTMLDialogElement>("help").open ? toggleHelp() : app.clear()) },
      { keys: ["?"], shown: "?", what: "this help", run: toggleHelp },
    ],
  };
}
