/** The page before a live street: it is broken by clicking, and heals. */

import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { Page } from "playwright-core";
import { Browser, missing, peek, until } from "../support/browser";
import { LiveServer, type LiveOptions } from "../support/server";
import { TestStreet } from "../support/street";

const browser = new Browser();
let server: LiveServer | null = null;
let page: Page | null = null;

async function live(options: LiveOptions): Promise<Page> {
  server = new LiveServer(options);
  page = await browser.open(await server.start());
  return page;
}

afterEach(async () => {
  await page?.close();
  await server?.stop();
});
afterAll(() => browser.close());

/** When the last of so many meters has joined. */
function joinedAt(meters: number): number {
  let at = 0;
  for (const line of new TestStreet({ meters, cutAt: null, routed: true }).night()) if (line["e"] === "join") at = line["t"] as number;
  return at + 0.01;
}

const there = (p: Page) => until(p, (app) => app.parts!.recording.frames.length > 20, null);
async function clickAt(p: Page, [x, y]: readonly [number, number]): Promise<void> {
  const box = (await p.locator("#moving").boundingBox())!;
  await p.mouse.click(box.x + x, box.y + y);
}

describe.skipIf(missing)("a live street", () => {
  test("a cable is cut by a click; meters behind it lose their route, and heal around it", async () => {
    const p = await live({ meters: 24, factor: 0, cutAt: null, routed: true });
    server!.jump(joinedAt(24));
    await there(p);
    await until(p, (app) => app.parts!.recording.latest.census().joined === 24, null);
    const cable = server!.street.heaviestCable();
    await p.getByRole("button", { name: "Cut a cable" }).click();
    await clickAt(p, (await peek(p, (app, id) => app.parts!.stage.cableAt(app.parts!.recording.index.cable.get(id)!)!, cable))!);
    await expect.poll(() => server!.commands).toContainEqual({ do: "cut", cable });
    await expect.poll(() => p.locator("#toast").textContent()).toContain(`Cable ${cable} is cut`);
    await expect.poll(() => peek(p, (app) => app.parts!.recording.latest.cut.includes(1), null)).toBe(true);
    server!.pace(4);
    // later: a frame is lost at the cut, a route is lost, and the same meter has a new one
    const healed = async () => peek(p, (app) => {
      const { recording } = app.parts!;
      const lost = recording.happenings.filter((e) => e.e === "route" && e.next === null);
      return lost.some((l) => l.e === "route" && recording.happenings.some((e) => e.e === "route" && e.t > l.t && e.next !== null && (e.node === l.node || e.node === l.to)));
    }, null);
    await expect.poll(healed, { timeout: 40_000, interval: 200 }).toBe(true);
    expect(await peek(p, (app) => app.parts!.recording.frames.some((f) => f.lost === "cut"), null)).toBe(true);
    await p.getByRole("tab", { name: "Events" }).click();
    await p.locator(".event-row", { hasText: "lost its route" }).first().waitFor();
    // the same click mends it
    await clickAt(p, (await peek(p, (app, id) => app.parts!.stage.cableAt(app.parts!.recording.index.cable.get(id)!)!, cable))!);
    await expect.poll(() => server!.commands).toContainEqual({ do: "mend", cable });
  });

  test("noise and a dead meter, by clicking; the card does the same", async () => {
    const p = await live({ meters: 12, factor: 2, cutAt: null, join: false });
    await there(p);
    await p.keyboard.press("k");
    await clickAt(p, await peek(p, (app) => app.parts!.stage.nodeAt(5), null));
    await expect.poll(() => server!.commands).toContainEqual({ do: "off", node: 5 });
    await expect.poll(() => peek(p, (app) => app.parts!.recording.latest.off[5], null)).toBe(1);
    await p.keyboard.press("n");
    await clickAt(p, await peek(p, (app) => app.parts!.stage.nodeAt(3), null));
    await expect.poll(() => server!.commands.some((c) => c["do"] === "noise" && c["db"] === 30 && c["seconds"] === 60)).toBe(true);
    await p.keyboard.press("Escape");
    await clickAt(p, (await peek(p, (app) => app.parts!.stage.cableAt(2)!, null))!);
    await p.locator("#card-cut").click();
    await expect.poll(() => server!.commands.some((c) => c["do"] === "cut")).toBe(true);
  });

  test("the street loses its power and gets it back; a meter is rebooted", async () => {
    const can = ["cut", "mend", "noise", "off", "on", "reboot", "blackout", "restore"];
    const p = await live({ meters: 12, factor: 2, cutAt: null, join: false, can });
    await there(p);
    await p.getByRole("button", { name: "Power off the street" }).click();
    await expect.poll(() => server!.commands).toContainEqual({ do: "blackout" });
    await expect.poll(() => p.locator("#toast").textContent()).toBe("12 meters are off");
    await p.getByRole("button", { name: "Power on the street" }).click();
    await expect.poll(() => server!.commands).toContainEqual({ do: "restore" });
    await p.getByRole("button", { name: "Power off the street" }).waitFor();
    await clickAt(p, await peek(p, (app) => app.parts!.stage.nodeAt(5), null));
    await p.locator("#reboot").click();
    await expect.poll(() => server!.commands).toContainEqual({ do: "reboot", node: 5 });
  });

  test("pause, step and speed go to the street; the past is replayed and left again", async () => {
    const p = await live({ meters: 12, factor: 1, cutAt: null });
    await there(p);
    await p.locator("#speed").selectOption("5");
    await expect.poll(() => server!.commands).toContainEqual({ do: "speed", factor: 5 });
    await p.locator("#play").click();
    await expect.poll(() => server!.commands).toContainEqual({ do: "pause" });
    await p.waitForTimeout(200);
    const frames = await peek(p, (app) => app.parts!.recording.frames.length, null);
    await peek(p, (app) => app.seek(app.parts!.recording.end), null);
    for (let i = 0; i < 30 && !server!.commands.some((c) => c["do"] === "step"); i++) await p.keyboard.press(".");
    await expect.poll(() => server!.commands).toContainEqual({ do: "step" });
    await expect.poll(() => peek(p, (app) => app.parts!.recording.events.length, null)).toBeGreaterThan(frames);
    await p.locator("#play").click();
    await expect.poll(() => server!.commands).toContainEqual({ do: "resume" });
    // a past that is long enough to go back into: less than half a second of the street's pace counts as now
    await until(p, (app) => app.parts!.recording.end - app.parts!.recording.begin > 6, null);
    await p.keyboard.press("Home");
    await expect.poll(() => peek(p, (app) => app.parts!.player.following, null)).toBe(false);
    // what stands in the past stands for this viewer alone: the street's clock does not set it going
    await p.locator("#play").click();
    await peek(p, (app) => (app as unknown as { take(message: object, at: number, live: boolean): void }).take({ e: "clock", t: app.parts!.recording.end, factor: 5, paused: false }, -1, true), null);
    expect(await peek(p, (app) => [app.parts!.player.playing, app.parts!.player.following], null)).toEqual([false, false]);
    await p.locator("#edge").click();
    await expect.poll(() => peek(p, (app) => app.parts!.player.following, null)).toBe(true);
  });

  test("a broken connection comes back by itself, and nothing is lost of what was seen", async () => {
    const p = await live({ meters: 12, factor: 4, cutAt: null });
    await there(p);
    const before = await peek(p, (app) => app.parts!.recording.frames.length, null);
    const port = Number(new URL(p.url()).port);
    await server!.stop();
    await p.locator("#status", { hasText: "does not answer" }).waitFor();
    await expect.poll(() => p.locator("#status").textContent()).toMatch(/Next try in \d+ s/);
    server = new LiveServer({ meters: 12, factor: 4, cutAt: null });
    await server.start(port);
    await p.locator("#status .link").click({ timeout: 3000 }).catch(() => {}); // it may have come back by itself
    await p.locator("#status", { hasText: "Live" }).waitFor();
    expect(await peek(p, (app) => app.parts!.recording.frames.length, null)).toBeGreaterThanOrEqual(before);
  });

  test("layers that did not come along are asked for", async () => {
    const p = await live({ meters: 8, factor: 4, cutAt: null, join: false, withhold: true });
    await until(p, (app) => app.parts!.recording.frames.some((f) => f.kind === 13), null);
    await peek(p, (app) => app.pickFrame(app.parts!.recording.frames.find((f) => f.kind === 13)!, false), null);
    await p.locator(".layer", { hasText: "COSEM value" }).waitFor();
  });

  test("read-only: the street's own reason is given", async () => {
    const p = await live({ meters: 8, factor: 2, cutAt: null, can: [], why: "only an operator gives commands" });
    await there(p);
    await p.keyboard.press("x");
    await expect.poll(() => p.locator("#toast").textContent()).toBe("only an operator gives commands");
    await p.keyboard.press("Space");
    expect(await peek(p, (app) => app.parts!.player.playing, null)).toBe(false);
    expect(server!.commands).toEqual([]);
  });

  test("behind a login: a name first, a wrong password is said, a session that ended asks again", async () => {
    const p = await live({ meters: 8, factor: 2, cutAt: null, password: "right" });
    await p.getByLabel("Name").fill("anna");
    await p.getByLabel("Password").fill("wrong");
    await p.keyboard.press("Enter");
    await p.getByText("the name or the password is wrong").waitFor();
    await p.getByLabel("Password").fill("right");
    await p.keyboard.press("Enter");
    await there(p);
    await expect.poll(() => p.locator("#sign-out").isVisible()).toBe(true);
    server!.signOut();
    await p.getByLabel("Password").waitFor();
  });

  test("a device sends neither places nor frames: meters are laid out by their routes, and may be polled", async () => {
    const nodes = Array.from({ length: 13 }, (_, id) => ({ id, role: id ? "meter" : "coordinator", name: id ? `1ABC${4700 + id}` : "Kiosk 7", phase: "", eui: "" }));
    const p = await live({
      meters: 1, factor: 1, can: ["poll"],
      lines: [
        { t: 0, e: "street", version: 1, start: 1_764_370_000, title: "Kiosk 7", junctions: [], cables: [], nodes },
        { t: 0, e: "collector", node: 0, state: "there" },
        ...nodes.slice(1).map(({ id }) => ({ t: 0, e: "join", node: id, state: id === 12 ? "declined" : "joined", short: id })),
        ...nodes.slice(1, 9).map(({ id }) => ({ t: 0.1, e: "route", node: id, to: 0, next: id < 5 ? 0 : id - 4, cost: id * 9, hops: id < 5 ? 1 : 2 })),
        { t: 0.2, e: "progress", node: 0, collected: 130, expected: 288, complete: 4 },
        { t: 0.2, e: "reading", node: 3, rows: 24, of: 24 },
        { t: 0.3, e: "profile", node: 3, unit: "Wh", rows: Array.from({ length: 25 }, (_, i) => [1_764_280_000 + i * 3600, 1000.5 + i * 210]) },
        { t: 0.4, e: "alarm", node: 3, kind: "cover", message: "cover opened" },
      ],
    });
    await p.getByText("130 of 288 readings").waitFor();
    await expect.poll(() => peek(p, (app) => [app.parts!.stage.layout, app.parts!.stage.plan.adrift.size] as const, null)).toEqual(["routes", 4]);
    await expect.poll(() => p.locator("#tools").isVisible()).toBe(false);
    await p.keyboard.press("/");
    await p.keyboard.type("4703");
    await p.keyboard.press("Enter");
    await p.locator(".profile").waitFor();
    await p.locator("#poll").click();
    await expect.poll(() => server!.commands).toContainEqual({ do: "poll", node: 3 });
    await p.getByRole("tab", { name: "Events" }).click();
    await p.locator(".event-row", { hasText: "cover opened" }).waitFor();
    server!.emit({ t: 2, e: "collector", node: 0, state: "away" });
    await p.getByText("The collector is away").waitFor();
  });

  test("the pages had no error", () => expect(browser.errors).toEqual([]));
});
