/** Debian's Chromium for the tests, one for all; pages that may reach nothing but our own server. */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium, type BrowserContext, type Page } from "playwright-core";
import type { App } from "../../src/app";

export const CHROMIUM = process.env["CHROMIUM"] ?? "/usr/bin/chromium";
export const missing = !existsSync(CHROMIUM);
if (missing) console.warn(`no Chromium at ${CHROMIUM} (make test-deps installs it): what is clicked is not tested`);
const ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

export interface Look { colorScheme?: "dark" | "light"; reducedMotion?: "reduce" | "no-preference"; viewport?: { width: number; height: number } }

export class Browser {
  private readonly profile = mkdtempSync(join(tmpdir(), "page-browser-"));
  private context: BrowserContext | null = null;
  /** What pages complained of, and whom they asked. */
  readonly errors: string[] = [];
  readonly asked: string[] = [];

  async open(url: string, look: Look = {}): Promise<Page> {
    this.context ??= await chromium.launchPersistentContext(this.profile, { executablePath: CHROMIUM, headless: true, args: ARGUMENTS, viewport: { width: 1440, height: 900 } });
    const page = await this.context.newPage();
    page.setDefaultTimeout(30_000);
    page.on("pageerror", (error) => this.errors.push(error.message));
    page.on("console", (message) => message.type() === "error" && !/ERR_CONNECTION_REFUSED|status of 4\d\d|WebSocket connection|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE/.test(message.text()) && this.errors.push(message.text()));
    page.on("request", (request) => this.asked.push(request.url()));
    await page.emulateMedia({ colorScheme: look.colorScheme ?? "dark", reducedMotion: look.reducedMotion ?? "no-preference" });
    if (look.viewport) await page.setViewportSize(look.viewport);
    await page.goto(url);
    return page;
  }

  async close(): Promise<void> {
    await this.context?.close();
    rmSync(this.profile, { recursive: true, force: true });
  }
}

/** A fact of the page, from within: `look` runs there. */
export function peek<T, A>(page: Page, look: (app: App, argument: A) => T, argument: A): Promise<T> {
  return page.evaluate(`(${look.toString()})(window.page, ${JSON.stringify(argument)})`) as Promise<T>;
}

/** Wait until `look` gives something true. (Playwright's own way needs eval, which the page's policy forbids.) */
export async function until<A>(page: Page, look: (app: App, argument: A) => unknown, argument: A, seconds = 40): Promise<void> {
  for (const end = Date.now() + seconds * 1000; ; ) {
    if (await page.evaluate(`Boolean(window.page?.parts && (${look.toString()})(window.page, ${JSON.stringify(argument)}))`)) return;
    if (Date.now() > end) throw new Error(`not in ${seconds} s: ${look.toString()}`);
    await page.waitForTimeout(50);
  }
}

export const loaded = (page: Page): Promise<void> => until(page, (app) => app.parts!.recording.complete, null);
