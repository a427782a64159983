/** What the pointer is over, in a line beside it. */

import { byId, say } from "./dom";
import { stateOf } from "./meters";
import type { Recording } from "./recording";
import type { Thing } from "./stage";
import type { State } from "./state";

/** Show it at x, y of the picture; null: hide it. */
export function showTip(thing: Thing | null, x: number, y: number, recording: Recording, labels: string[], state: State): void {
  const tip = byId("tip");
  tip.hidden = !thing;
  if (!thing) return;
  say(tip, described(thing, recording, labels, state));
  tip.style.transform = `translate(${Math.round(x + 14)}px, ${Math.round(y - 30)}px)`;
}

function described(thing: Thing, recording: Recording, labels: string[], state: State): string {
  if (thing.kind === "cable") {
    const cable = recording.street.cables[thing.at]!;
    return `Cable ${cable.id} · ${cable.length.toFixed(0)} m`;
  }
  if (thing.kind === "frame") {
    const { src, dst, size } = thing.frame;
    return `${labels[src]} → ${dst < 0 ? "all" : labels[dst]} · ${size} bytes`;
  }
  const node = recording.street.nodes[thing.at]!;
  const { coordinator } = recording.index;
  const route = state.route(thing.at, coordinator);
  const parts = [
    node.name,
    node.phase && `phase ${node.phase}`,
    thing.at === coordinator ? "" : stateOf(state, thing.at).text,
    route && `${route.hops} hop${route.hops === 1 ? "" : "s"}, cost ${route.cost}`,
  ];
  return parts.filter(Boolean).join(" · ");
}
