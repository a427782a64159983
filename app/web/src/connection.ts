/** Where the data comes from, in the corner of the page; and, in the middle of the picture, why there is none. */

import { toast } from "./act";
import { byId, h } from "./dom";
import { askName } from "./session";
import type { Status } from "./source";

/** Say in the middle of the picture why there is none. */
export function notice(title: string, text: string): void {
  byId("notice").replaceChildren(h("h2", {}, title), h("p", {}, text));
  byId("notice").hidden = false;
}

/** Show a status. shown: whether a street is; retry: ask the server again, now. */
export function showStatus(status: Status, shown: boolean, retry: () => void): void {
  const box = byId("status");
  box.className = `status ${status.kind}`;
  box.replaceChildren();
  if (status.kind === "loading") box.append(`Reading the recording… ${status.share === null ? "" : `${Math.round(100 * status.share)} %`}`);
  else if (status.kind === "ready") box.append("Recording");
  else if (status.kind === "live") box.append("Live");
  else if (status.kind === "broken") {
    box.append(status.partial ? "Recording, incomplete" : "Broken recording");
    if (status.partial) toast(status.reason, "warn");
    else notice("This recording is broken", status.reason);
  } else if (status.signIn) {
    box.append(status.reason);
    askName(retry);
  } else {
    box.append(`${status.reason} Next try in ${status.seconds} s `, h("button", { type: "button", class: "link", onClick: retry }, "Try now"));
    if (!shown) notice("No street answers", "Is the gateway (or “make live”) running? The page keeps trying. You can also drop a recording (.ndjson or .ndjson.gz) here.");
  }
}
