/**
 * The clock of the page. In a recording it runs at the chosen speed between begin and end; before a live street it follows what arrives,
 * a moment behind, and can be dragged back into what was seen and return.
 */

import type { Recording } from "./recording";

export const SPEEDS = [0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 25, 50, 100, 250, 1000] as const;

/** Wall seconds by which the picture trails a live street, so that frames have arrived when they are drawn. */
const BEHIND = 0.4;
/** The part of being early that is believed of each word. */
const DOUBT = 0.1;
/** Wall seconds that a single step takes to watch. */
const STEP = 0.7;

export class Player {
  t = 0;
  playing = true;
  speed = 1;
  /** Live: at the edge of what has arrived. */
  following: boolean;
  /** Live: it stands because the street does, and goes on with it. What stands in the past does so for this viewer alone. */
  held = false;
  /** A step under way: play until here, at this rate. */
  private step: { until: number; rate: number } | null = null;
  private edge = { t: 0, wall: 0, known: false };

  constructor(readonly recording: Recording) {
    this.following = recording.live;
  }

  /** Simulated seconds a wall second, as it runs now. */
  get rate(): number {
    return this.step?.rate ?? this.speed;
  }

  get moving(): boolean {
    return this.step !== null || (this.playing && (this.following || this.t < this.recording.end));
  }

  /**
   * A live event or the street's clock said that it is `t` there. What is later than expected is believed at once; what is earlier may only
   * have been long on its way, so it moves the edge by a part: a street that cannot keep its pace is followed, and none is lost sight of.
   */
  heard(t: number, wall: number): void {
    const expected = this.edge.t + (this.playing ? this.speed * (wall - this.edge.wall) : 0), early = expected - t;
    const believed = this.edge.known && early > 0.05 && early < 5 * Math.max(1, this.speed) ? expected - early * DOUBT : t;
    this.edge = { t: believed, wall, known: true };
  }

  tick(seconds: number, wall: number): void {
    const { recording } = this;
    if (this.step) {
      this.t = Math.min(this.step.until, this.t + seconds * this.step.rate);
      if (this.t >= this.step.until) this.step = null;
      return;
    }
    if (!this.playing) return;
    if (!this.following) {
      this.t += seconds * this.speed;
      if (this.t < recording.end) return;
      this.t = recording.end;
      if (recording.live) this.following = true;
      else if (recording.complete) this.playing = false;
      return;
    }
    if (!this.edge.known) return;
    // beyond the last word the clock runs on for a second at most: a street that is silent may have stopped
    const now = Math.min(this.edge.t + this.speed * Math.min(wall - this.edge.wall, 1.5), this.edge.t + 1.5 * this.speed);
    const target = now - BEHIND * this.speed;
    const off = target - this.t;
    if (Math.abs(off) > 4 * Math.max(1, this.speed)) this.t = target;
    else if (off > 0) this.t += Math.min(off, seconds * this.speed * (1 + Math.min(2, off / Math.max(0.2, this.speed))));
  }

  seek(t: number): void {
    const { begin, end, live } = this.recording;
    this.step = null;
    this.t = Math.min(Math.max(t, begin === Infinity ? 0 : begin), end);
    const now = live && this.t >= end - 0.5 * Math.max(1, this.speed);
    this.following = now && this.playing;
    this.held &&= now;
  }

  /** Go back to what happens now; in a recording to its end, which starts nothing. */
  follow(): void {
    this.step = null;
    this.held = false;
    this.following = this.recording.live;
    if (this.following) this.playing = true;
    else this.t = this.recording.end;
  }

  /** Play or pause; at the end of a recording, from the start. */
  toggle(): void {
    this.step = null;
    if (!this.playing && !this.recording.live && this.t >= this.recording.end) this.t = this.recording.begin;
    this.playing = !this.playing;
    if (!this.playing) this.following = false;
    else if (this.recording.live && (this.held || this.t >= this.recording.end - 1)) this.follow(); // it trails a fast street by far
  }

  /** The street stands, or is told to: so does the picture. */
  hold(): void {
    this.playing = false;
    this.held = true;
  }

  /** Show one frame from its first to its last symbol, and stand still. */
  show(t: number, air: number, still: boolean): void {
    this.playing = false;
    this.following = false;
    const until = t + air * 0.999;
    this.t = still ? until : t;
    this.step = still ? null : { until, rate: Math.max(air, 0.001) / STEP };
  }
}
