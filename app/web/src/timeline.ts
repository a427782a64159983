/** The bar below: air time of each moment by kind of frame, marks where something broke, and the handle to scrub with. */

import { byId, clock, duration } from "./dom";
import { GROUPS } from "./palette";
import type { Player } from "./player";
import type { Recording } from "./recording";
import { readColours } from "./scene";

export class Timeline {
  onSeek: (t: number) => void = () => {};
  private readonly canvas = byId<HTMLCanvasElement>("timeline");
  private readonly slider = byId("scrub");
  private readonly tip = byId("scrub-tip");
  private colours = readColours();
  private drawn = "";
  private bars: ImageData | null = null;

  private readonly listeners = new AbortController();

  constructor(private readonly recording: Recording, private readonly player: Player) {
    const { signal } = this.listeners;
    let dragging = false;
    const seek = (event: PointerEvent) => this.onSeek(this.timeAt(event));
    this.slider.addEventListener("pointerdown", (event) => {
      dragging = true;
      this.slider.setPointerCapture(event.pointerId);
      seek(event);
    }, { signal });
    this.slider.addEventListener("pointermove", (event) => {
      if (dragging) seek(event);
      this.showTip(event);
    }, { signal });
    for (const end of ["pointerup", "pointercancel"] as const) this.slider.addEventListener(end, () => (dragging = false), { signal });
    this.slider.addEventListener("pointerleave", () => (this.tip.hidden = true), { signal });
    const observer = new ResizeObserver(() => (this.drawn = ""));
    observer.observe(this.canvas);
    signal.addEventListener("abort", () => observer.disconnect());
  }

  close(): void {
    this.listeners.abort();
  }

  recolour(): void {
    this.colours = readColours();
    this.drawn = "";
  }

  private get span(): [number, number] {
    const { begin, end } = this.recording;
    return begin === Infinity ? [0, 1] : [begin, Math.max(end, begin + 1)];
  }

  private timeAt(event: PointerEvent): number {
    const box = this.canvas.getBoundingClientRect();
    const [begin, end] = this.span;
    return begin + (end - begin) * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  }

  private showTip(event: PointerEvent): void {
    const t = this.timeAt(event);
    const box = this.canvas.getBoundingClientRect();
    const [begin, end] = this.span;
    const mark = this.recording.marks.find((m) => Math.abs(((m.t - t) / (end - begin)) * box.width) < 6);
    const what = !mark ? "" : mark.e === "cable" ? (mark.state === "cut" ? " · a cable is cut" : " · a cable is mended") : mark.e === "noise" ? ` · noise, ${mark.db} dB` : mark.e === "node" ? ` · a meter goes ${mark.state}` : " · a device is refused";
    this.tip.textContent = clock(this.recording.street.start, t) + what;
    this.tip.hidden = false;
    this.tip.style.left = `${Math.min(box.width - 60, Math.max(60, event.clientX - box.left))}px`;
  }

  draw(): void {
    const { canvas, recording, player } = this;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width || !height) return;
    const [begin, end] = this.span;
    const key = [width, height, begin, this.colours.back, Math.round(end), recording.live ? 0 : recording.events.length >> 9, recording.complete].join();
    const context = canvas.getContext("2d", { willReadFrequently: true })!;
    if (key !== this.drawn) {
      this.drawn = key;
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      this.drawBars(context, width, height, ratio);
      this.bars = context.getImageData(0, 0, canvas.width, canvas.height);
    } else if (this.bars) context.putImageData(this.bars, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const x = ((player.t - begin) / (end - begin)) * width;
    context.fillStyle = this.colours.text;
    context.fillRect(Math.round(x) - 1, 0, 2, height);
    context.beginPath();
    context.arc(Math.min(width - 5, Math.max(5, x)), 5, 5, 0, 2 * Math.PI);
    context.fill();
    this.slider.setAttribute("aria-valuemin", begin.toFixed(0));
    this.slider.setAttribute("aria-valuemax", end.toFixed(0));
    this.slider.setAttribute("aria-valuenow", player.t.toFixed(0));
    this.slider.setAttribute("aria-valuetext", `${clock(recording.street.start, player.t)}, ${duration(player.t - begin)} of ${duration(end - begin)}`);
  }

  private drawBars(context: CanvasRenderingContext2D, width: number, height: number, ratio: number): void {
    const { recording, colours } = this;
    const [begin, end] = this.span;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const columns = Math.max(1, Math.floor(width / 3));
    const sums = new Float32Array(columns * GROUPS.length);
    const seconds = Math.ceil(end - begin);
    for (let s = 0; s < seconds; s++) {
      // a second may be wider than a column: its air is spread
      const from = Math.floor((s / (end - begin)) * columns), to = Math.max(from + 1, Math.floor(((s + 1) / (end - begin)) * columns));
      for (let g = 0; g < GROUPS.length; g++) {
        const air = (recording.histogram[s * GROUPS.length + g] ?? 0) / (to - from);
        if (air) for (let c = from; c < Math.min(to, columns); c++) sums[c * GROUPS.length + g]! += air;
      }
    }
    let most = 0;
    for (let c = 0; c < columns; c++) {
      let sum = 0;
      for (let g = 0; g < GROUPS.length; g++) sum += sums[c * GROUPS.length + g]!;
      most = Math.max(most, sum);
    }
    const room = height - 12;
    for (let c = 0; most > 0 && c < columns; c++) {
      let y = height;
      for (let g = GROUPS.length - 1; g >= 0; g--) {
        const bar = (sums[c * GROUPS.length + g]! / most) * room;
        if (!bar) continue;
        y -= bar;
        context.fillStyle = colours.dark ? GROUPS[g]!.dark : GROUPS[g]!.light;
        context.globalAlpha = 0.85;
        context.fillRect((c * width) / columns, y, width / columns - 1, Math.max(0.5, bar));
      }
    }
    context.globalAlpha = 1;
    for (const mark of recording.marks) {
      const x = ((mark.t - begin) / (end - begin)) * width;
      const good = (mark.e === "cable" && mark.state === "whole") || (mark.e === "node" && mark.state === "on");
      context.fillStyle = good ? colours.good : mark.e === "noise" ? colours.warn : colours.bad;
      context.fillRect(x - 0.5, 8, 1, height - 8);
      context.beginPath();
      if (good) context.arc(x, 6, 3.5, 0, 2 * Math.PI);
      else {
        context.moveTo(x - 4.5, 2);
        context.lineTo(x + 4.5, 2);
        context.lineTo(x, 10);
      }
      context.fill();
    }
  }
}
