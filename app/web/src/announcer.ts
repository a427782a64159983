/** Faults of a running street are said aloud as they happen: one at a moment, and of meters that go off or on together, how many. */

import { tell } from "./happenings";
import type { Happening, Recording } from "./recording";

export class Announcer {
  private at = 0;
  private state = "";
  private meters = 0;

  /** What to say of the newest `event`, or null: another was said at its moment, or it is an older one that came again. */
  said(event: Happening, recording: Recording, labels: string[]): ReturnType<typeof tell> | null {
    if (event.t < this.at) return null;
    const state = event.e === "node" ? event.state : "";
    const together = event.t === this.at && state !== "" && state === this.state;
    if (event.t === this.at && !together) return null;
    this.at = event.t;
    this.state = state;
    this.meters = together ? this.meters + 1 : 1;
    const { text, tone } = tell(event, recording, labels);
    return { text: this.meters === 1 ? text : `${this.meters} meters are ${state}`, tone };
  }
}
