/**
 * Where the events come from. A recording stands in the page (base64 of gzip of the lines) or is opened from a file; otherwise the page
 * listens at `/api/live`, and comes back by itself with growing pauses when the connection breaks.
 */

import { readLine, type Message } from "./events";
import type { Text } from "./recording";

export type Status =
  | { kind: "loading"; share: number | null }
  | { kind: "ready" }
  | { kind: "live" }
  | { kind: "waiting"; seconds: number; reason: string; signIn: boolean }
  | { kind: "broken"; reason: string; partial: boolean };

export interface Sink {
  message(message: Message, at: number): void;
  skipped(): void;
  status(status: Status): void;
}

/** How long the page reads before it lets the browser draw. */
const SLICE_MS = 12;
/** Lines beyond this are no events of ours. */
const MAX_LINE = 4 << 20;

/** A recording's text, kept as bytes: layers are read again from here when a frame is opened. */
export class Blocks implements Text {
  private readonly blocks: Uint8Array[] = [];
  private readonly starts: number[] = [];
  private size = 0;

  add(block: Uint8Array): void {
    this.blocks.push(block);
    this.starts.push(this.size);
    this.size += block.length;
  }

  line(at: number): string | null {
    let block = this.starts.length - 1;
    if (block < 0) return null;
    while (block > 0 && this.starts[block]! > at) block--;
    const decoder = new TextDecoder();
    let line = "";
    let from = at - (this.starts[block] ?? 0);
    for (; block < this.blocks.length; block++, from = 0) {
      const bytes = this.blocks[block]!;
      const end = bytes.indexOf(10, from);
      if (end >= 0) return line + decoder.decode(bytes.subarray(from, end));
      line += decoder.decode(bytes.subarray(from), { stream: true });
    }
    return line || null;
  }
}

/** Read a recording; resolves when it is read or was found broken. */
export async function readRecording(data: Uint8Array, sink: Sink): Promise<Blocks> {
  const blocks = new Blocks();
  let lines = 0, street = false, ended = false;
  const take = (line: string, at: number) => {
    if (!line) return;
    lines++;
    const message = readLine(line, false);
    if (message === null) return sink.skipped();
    if (!message) return;
    if (message.e === "street") street = true;
    if (message.e === "end") ended = true;
    sink.message(message, at);
  };
  let failure: string | null = null;
  try {
    await eachLine(data, blocks, take, (share) => sink.status({ kind: "loading", share }));
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  if (!street) {
    const reason = failure ? `It does not unpack (${failure}).` : lines ? "None of its lines tells of a street." : "It is empty.";
    sink.status({ kind: "broken", reason: `This recording cannot be read. ${reason} Record it again with “make demo”.`, partial: false });
  } else if (failure || !ended) {
    sink.status({ kind: "broken", reason: "This recording ends early: what follows was lost. What is there can be watched.", partial: true });
  } else sink.status({ kind: "ready" });
  return blocks;
}

async function eachLine(data: Uint8Array, blocks: Blocks, take: (line: string, at: number) => void, share: (share: number) => void): Promise<void> {
  const packed = data[0] === 0x1f && data[1] === 0x8b;
  let read = 0;
  const parts = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (read >= data.length) return controller.close();
      controller.enqueue(data.slice(read, read + 65536));
      read += 65536;
    },
  }, { highWaterMark: 0 });
  const reader = (packed ? parts.pipeThrough(new DecompressionStream("gzip")) : parts).getReader();
  const decoder = new TextDecoder();
  let rest = "", at = 0, slice = performance.now();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    blocks.add(value);
    rest += decoder.decode(value, { stream: true });
    let from = 0;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n", from)) {
      const line = rest.slice(from, end);
      take(line, at);
      at += utf8Length(line) + 1;
      from = end + 1;
      if (performance.now() - slice > SLICE_MS) {
        share(Math.min(read / data.length, 1));
        await new Promise((resolve) => setTimeout(resolve));
        slice = performance.now();
      }
    }
    rest = rest.slice(from);
    if (rest.length > MAX_LINE) throw new Error("a line without an end");
  }
  take(rest, at);
}

function utf8Length(line: string): number {
  let length = line.length;
  for (let i = 0; i < line.length; i++) {
    const code = line.charCodeAt(i);
    if (code > 0x7f) length += code > 0x7ff && (code < 0xd800 || code > 0xdfff) ? 2 : 1;
  }
  return length;
}

/** The recording inside the page, if there is one. */
export function embedded(): Uint8Array | null {
  const text = document.getElementById("recording")?.textContent?.trim();
  if (!text) return null;
  try {
    const packed = atob(text);
    const data = new Uint8Array(packed.length);
    for (let i = 0; i < data.length; i++) data[i] = packed.charCodeAt(i);
    return data;
  } catch {
    return new Uint8Array();
  }
}

/** Listen to the live street; `close` ends it. */
export class Live {
  private socket: WebSocket | null = null;
  private timer = 0;
  private tries = 0;
  private closed = false;

  constructor(private readonly sink: Sink) {
    this.open();
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    this.socket?.close();
  }

  /** Do not wait for the pause to end. */
  retry(): void {
    clearInterval(this.timer);
    this.tries = 0;
    this.open();
  }

  private open(): void {
    const url = new URL("api/live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.socket?.close();
    const socket = (this.socket = new WebSocket(url));
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") return;
      this.tries = 0;
      for (const line of data.split("\n")) {
        if (!line) continue;
        const message = readLine(line, true);
        if (message) this.sink.message(message, -1);
        else if (message === null) this.sink.skipped();
      }
    };
    socket.onopen = () => this.sink.status({ kind: "live" });
    socket.onclose = () => {
      if (!this.closed && this.socket === socket) void this.wait();
    };
  }

  private async wait(): Promise<void> {
    let signIn = false;
    try {
      const { status } = await fetch("api/live", { cache: "no-store" });
      signIn = status === 401 || status === 403;
    } catch {
      // nobody there: the pause says so
    }
    let seconds = Math.min(30, 2 ** this.tries++);
    const reason = signIn ? "You are signed out." : "The street does not answer.";
    clearInterval(this.timer);
    this.sink.status({ kind: "waiting", seconds, reason, signIn });
    this.timer = window.setInterval(() => {
      seconds--;
      if (seconds > 0) return this.sink.status({ kind: "waiting", seconds, reason, signIn });
      clearInterval(this.timer);
      this.open();
    }, 1000);
  }
}

/** Tell the live street to do something; null when it did, otherwise why not. */
export async function command(what: Record<string, unknown>): Promise<string | null> {
  try {
    const response = await fetch("api/command", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(what) });
    if (response.ok) return null;
    const said = (await response.text()).slice(0, 200);
    let reason = said;
    try {
      reason = String((JSON.parse(said) as { error?: unknown }).error ?? said);
    } catch {
      // plain text
    }
    if (response.status === 401) return "You are signed out: sign in again.";
    return reason || `The street refused (${response.status}).`;
  } catch {
    return "The street does not answer.";
  }
}
