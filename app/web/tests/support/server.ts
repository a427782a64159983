/** A small live server for the tests: the page over HTTP, events over a WebSocket, commands by POST. Loopback only. */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import type { AddressInfo } from "node:net";
import { TestStreet, type Line, type StreetOptions } from "./street";

export const PAGE = fileURLToPath(new URL("../../../dcu/web/page/index.html", import.meta.url));

export interface LiveOptions extends StreetOptions { lines?: Line[]; factor?: number; can?: string[]; why?: string; password?: string; withhold?: boolean }

export class LiveServer {
  readonly commands: Line[] = [];
  street: TestStreet;
  private lines: Generator<Line>;
  private readonly past: string[] = [];
  private readonly layers = new Map<number, Line>();
  private readonly web = createServer((request, response) => this.answer(request, response));
  private readonly sockets: WebSocketServer;
  private next: Line | null = null;
  private timer: NodeJS.Timeout | null = null;
  private factor: number;
  private paused = false;
  private now = 0;
  private deny: boolean;

  constructor(private readonly options: LiveOptions) {
    this.street = new TestStreet(options);
    this.lines = options.lines ? (options.lines.values() as Generator<Line>) : this.street.night();
    this.factor = options.factor ?? 1;
    this.deny = options.password !== undefined;
    this.sockets = new WebSocketServer({ noServer: true });
    this.web.on("upgrade", (request, socket, head) => {
      if (request.url !== "/api/live" || this.deny) return socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n");
      this.sockets.handleUpgrade(request, socket, head, (client) => {
        if (options.can) client.send(JSON.stringify({ e: "hello", can: options.can, why: options.why ?? "" }));
        client.send(this.past.join("\n"));
      });
    });
  }

  async start(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.web.listen(port, "127.0.0.1", resolve));
    let last = Date.now();
    this.timer = setInterval(() => {
      const now = Date.now();
      if (!this.paused) this.now += ((now - last) / 1000) * this.factor;
      last = now;
      this.run();
    }, 20);
    return `http://127.0.0.1:${(this.web.address() as AddressInfo).port}/`;
  }

  async stop(): Promise<void> {
    if (this.timer) clearInterval(this.timer);
    for (const client of this.sockets.clients) client.terminate();
    this.web.closeAllConnections();
    await new Promise((resolve) => this.web.close(resolve));
  }

  /** Break every connection, as a network does. */
  drop(): void {
    for (const client of this.sockets.clients) client.terminate();
  }

  /** Let the street's time go to `t` at once. */
  jump(t: number): void {
    this.now = t;
    this.run();
  }

  /** Let the street's time run so many times as fast as ours; 0: it stands. */
  pace(factor: number): void {
    this.factor = factor;
  }

  /** The session ends. */
  signOut(): void {
    this.deny = true;
    this.drop();
  }

  emit(line: Line): void {
    if (line["e"] === "frame") {
      this.layers.set(line["id"] as number, line);
      if (this.options.withhold) line = Object.fromEntries(Object.entries(line).filter(([key]) => key !== "layers" && key !== "bytes"));
    }
    const text = JSON.stringify(line);
    this.past.push(text);
    for (const client of this.sockets.clients) client.send(text);
  }

  private run(): void {
    for (let n = 0; n < 20_000; n++) {
      if (!this.next) {
        const step = this.lines.next();
        if (step.done) return;
        this.next = step.value;
      }
      if (((this.next["t"] as number | undefined) ?? 0) > this.now) return;
      this.emit(this.next);
      this.next = null;
    }
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const { url, method } = request;
    if (method === "GET" && url === "/") {
      response.setHeader("content-type", "text/html; charset=utf-8");
      response.end(readFileSync(PAGE));
    } else if (method === "GET" && url === "/api/live") {
      response.statusCode = this.deny ? 401 : 426;
      response.end();
    } else if (method === "GET" && url?.startsWith("/api/frames/")) {
      response.end(JSON.stringify(this.layers.get(Number(url.slice(12))) ?? {}));
    } else if (method === "GET" && url === "/api/session") {
      response.end(JSON.stringify({ user: this.deny || !this.options.password ? null : "anna", login: this.deny }));
    } else if (method === "POST") {
      let body = "";
      request.on("data", (part) => (body += part));
      request.on("end", () => {
        const what = JSON.parse(body) as Line;
        if (url === "/api/login") {
          this.deny = what["password"] !== this.options.password;
          response.statusCode = this.deny ? 401 : 200;
          return response.end(JSON.stringify(this.deny ? { error: "the name or the password is wrong" } : { user: what["name"], login: false }));
        }
        if (this.options.can && !this.options.can.includes(what["do"] as string)) {
          response.statusCode = 403;
          return response.end(JSON.stringify({ error: "not for you" }));
        }
        this.commands.push(what);
        this.obey(what);
        return response.end("{}");
      });
    } else {
      response.statusCode = 404;
      response.end();
    }
  }

  private obey(what: Line): void {
    const { street } = this;
    const t = street.t;
    switch (what["do"]) {
      case "cut":
        return this.emit(street.break(what["cable"] as number));
      case "mend":
        return this.emit(street.mend(what["cable"] as number));
      case "noise": {
        const noise = { db: what["db"] as number, until: t + (what["seconds"] as number) };
        street.noise.set(what["junction"] as number, noise);
        return this.emit({ t, e: "noise", junction: what["junction"], ...noise });
      }
      case "off":
      case "on":
        if (what["do"] === "off") street.off.add(what["node"] as number);
        else street.off.delete(what["node"] as number);
        return this.emit({ t, e: "node", id: what["node"], state: what["do"] });
      case "blackout":
      case "restore":
        for (let id = 1; id <= (this.options.meters ?? 0); id++) {
          if (what["do"] === "blackout") street.off.add(id);
          else street.off.delete(id);
          this.emit({ t, e: "node", id, state: what["do"] === "blackout" ? "off" : "on" });
        }
        break;
      case "speed":
        this.factor = what["factor"] as number;
        break;
      case "pause":
        this.paused = true;
        break;
      case "resume":
        this.paused = false;
        break;
      case "step":
        if (this.next) this.now = (this.next["t"] as number) + 1e-6;
        this.run();
    }
  }
}

/** The page with a recording in it, as `dcu.web.page.embed` makes it. */
export function embedded(ndjson: string | Buffer, packed = true): string {
  const data = packed ? gzipSync(ndjson) : Buffer.from(ndjson);
  return readFileSync(PAGE, "utf8").replace(/(<script id="recording"[^>]*>)/, (tag) => tag + data.toString("base64"));
}
