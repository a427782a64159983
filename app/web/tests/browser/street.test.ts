/** The page before the street itself: the simulation with the real collector on top, as `make live` runs it. */

import { spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Page } from "playwright-core";
import { Browser, missing, peek, until } from "../support/browser";

const APP = fileURLToPath(new URL("../../..", import.meta.url));
const PYTHON = process.env["DCU_PYTHON"] ?? `${APP}../.venv/bin/python`;
const without = missing || !existsSync(PYTHON);
if (!existsSync(PYTHON)) console.warn(`no ${PYTHON} (make lint makes it): the page is not tested before the simulation`);
const METERS = 24;

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

/** Until it says where its page is. */
function started(street: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    street.stdout!.on("data", (said: Buffer) => said.includes("http://") && resolve());
    street.on("exit", (code) => reject(new Error(`the street ended: ${code}`)));
  });
}

describe.skipIf(without)("the simulated street", () => {
  const browser = new Browser();
  let street: ChildProcess, page: Page;

  beforeAll(async () => {
    const port = await freePort();
    const options = ["--meters", `${METERS}`, "--port", `${port}`, "--speed", "100"];
    street = spawn(PYTHON, ["-u", "-m", "neighbourhood", "live", ...options], { cwd: APP, env: { ...process.env, PYTHONPATH: APP }, stdio: ["ignore", "pipe", "ignore"] });
    await started(street);
    page = await browser.open(`http://127.0.0.1:${port}/`);
  }, 180_000);

  afterAll(async () => {
    await browser.close();
    const ended = new Promise((resolve) => street.once("exit", resolve));
    street.kill("SIGINT");
    await ended;
  }, 60_000);

  test("joins, is read, and shows each frame down to the attribute and its value", async () => {
    const layers = page.locator(".layer");
    const open = (kind: number, back = 0) => peek(page, (app, [wanted, at]) => app.pickFrame([...app.parts!.recording.frames].reverse().filter((frame) => frame.kind === wanted)[at!]!, false), [kind, back]);
    // at once: the street keeps its last frames only, and floods are over when all have joined
    await until(page, (app) => app.parts!.recording.frames.some((frame) => frame.kind === 0), null, 120);
    await open(0);
    await layers.filter({ hasText: "LOADng RREQ" }).waitFor();
    await until(page, (app, meters) => app.parts!.recording.latest.census().joined === meters, METERS, 120);
    await until(page, (app) => app.parts!.recording.frames.some((frame) => frame.kind === 13 && frame.lost === null), null, 120);
    // not each frame holds a packet's head: an answer comes in segments
    for (let back = 0; back < 40 && !(await layers.filter({ hasText: "DLMS wrapper" }).count()); back++) {
      await open(13, back);
      await page.waitForTimeout(500);
    }
    for (const layer of ["PHY", "MAC", "6LoWPAN", "IPv6", "UDP", "DLMS wrapper"]) await layers.filter({ hasText: layer }).first().waitFor();
    await page.getByText(/^get-response/).first().waitFor();
  }, 300_000);

  test("a cable is cut by a click: routes over it break and heal, and meters behind it are read again", async () => {
    await until(page, (app, meters) => app.parts!.recording.latest.census().complete >= meters, METERS, 180);
    const cable = await peek(page, (app) => {
      const { plan } = app.parts!.stage, homes = app.parts!.recording.latest.join.length - 1;
      const inner = [...plan.cable.keys()].filter((e) => plan.cable[e]! >= 0 && plan.load[e]! >= 0.12 * homes && plan.load[e]! <= 0.45 * homes);
      return plan.cable[inner.sort((a, b) => plan.load[b]! - plan.load[a]!)[0]!]!;
    }, null);
    await page.getByRole("button", { name: "Cut a cable" }).click();
    const box = (await page.locator("#moving").boundingBox())!;
    const [x, y] = (await peek(page, (app, id) => app.parts!.stage.cableAt(id), cable))!;
    await page.mouse.click(box.x + x, box.y + y);
    await until(page, (app, id) => app.parts!.recording.latest.cut[id] === 1, cable);
    const at = await peek(page, (app) => app.parts!.recording.latest.t, null);
    // the next rounds find out: frames are lost at the cut, a route is lost, and its meter is reached again
    await until(page, (app, since) => app.parts!.recording.frames.some((frame) => frame.t > since && frame.lost === "cut"), at, 180);
    await until(page, (app, since) => {
      const { recording } = app.parts!, routes = recording.happenings.filter((e) => e.e === "route" && e.t > since) as { t: number; node: number; to: number; next: number | null }[];
      return routes.some((lost) => lost.next === null && routes.some((found) => found.t > lost.t && found.next !== null && found.node === lost.node && found.to === lost.to));
    }, at, 180);
    await until(page, (app, since) => app.parts!.recording.frames.some((frame) => frame.t > since + 5 && frame.kind === 13 && frame.dst === 0 && frame.lost === null), at, 180);
    await until(page, (app, then) => app.parts!.player.t > then, await peek(page, (app) => app.parts!.recording.latest.t, null));
    await page.locator("#play").click(); // it stands still: what goes on would move the list under our eyes
    await page.getByRole("tab", { name: "Events" }).click();
    await until(page, () => {
      const list = document.getElementById("event-list")!, end = list.scrollTop + list.clientHeight >= list.scrollHeight;
      if ([...list.querySelectorAll(".event-row")].some((row) => row.textContent!.includes("Healed"))) return true;
      list.scrollTop = end ? 0 : list.scrollTop + list.clientHeight;
      return false;
    }, null);
    await page.locator("#play").click();
  }, 600_000);

  test("a meter is killed and noise is made by clicking; it stands still and goes on", async () => {
    await page.keyboard.press("k");
    const box = (await page.locator("#moving").boundingBox())!;
    const node = async (id: number) => {
      const [x, y] = await peek(page, (app, at) => app.parts!.stage.nodeAt(at), id);
      await page.mouse.click(box.x + x, box.y + y);
    };
    await node(METERS);
    await until(page, (app, id) => app.parts!.recording.latest.off[id] === 1, METERS);
    await page.keyboard.press("n");
    await node(1);
    await until(page, (app) => app.parts!.recording.latest.noise.size > 0, null);
    await page.keyboard.press("Escape");
    await page.locator("#play").click();
    await expect.poll(() => peek(page, (app) => app.parts!.player.playing, null), { timeout: 20_000 }).toBe(false);
    const frames = () => peek(page, (app) => app.parts!.recording.frames.length, null);
    // what was on its way to the page still comes; at a hundred times a running street brings more in every second
    const stands = async () => {
      const before = await frames();
      await page.waitForTimeout(1000);
      return (await frames()) - before;
    };
    await expect.poll(stands, { timeout: 20_000 }).toBe(0);
    const stood = await frames();
    await page.locator("#play").click();
    await until(page, (app, before) => app.parts!.recording.frames.length > before, stood, 60);
    expect(browser.errors).toEqual([]);
  }, 180_000);
});
