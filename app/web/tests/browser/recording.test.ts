/** The page with a recording inside, opened from disk. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Page } from "playwright-core";
import { Browser, loaded, missing, peek, until } from "../support/browser";
import { embedded } from "../support/server";
import { record } from "../support/street";

const place = mkdtempSync(join(tmpdir(), "page-recordings-"));
const file = (name: string, html: string) => {
  writeFileSync(join(place, name), html);
  return pathToFileURL(join(place, name)).href;
};
const browser = new Browser();
const night = record({ meters: 48 });

afterAll(async () => {
  await browser.close();
  rmSync(place, { recursive: true, force: true });
});

describe.skipIf(missing)("a recording of 48 meters", () => {
  let page: Page;
  beforeAll(async () => {
    page = await browser.open(file("night.html", embedded(night)));
    await loaded(page);
  });
  const now = () => peek(page, (app) => app.parts!.player.t, null);

  test("plays by itself, pauses and goes on", async () => {
    const began = await now();
    await until(page, (app, t) => app.parts!.player.t > t + 0.5, began);
    await page.keyboard.press("Space");
    const stood = await now();
    await page.waitForTimeout(300);
    expect(await now()).toBe(stood);
    await page.getByRole("button", { name: "Play", exact: true }).click();
    await until(page, (app, t) => app.parts!.player.t > t, stood);
    await page.getByRole("button", { name: "Pause", exact: true }).click();
  });

  test("is scrubbed by pointer and keys, forth and back, and tells the time", async () => {
    const box = (await page.locator("#scrub").boundingBox())!;
    const [begin, end] = await peek(page, (app) => [app.parts!.recording.begin, app.parts!.recording.end] as const, null);
    await page.mouse.click(box.x + box.width * 0.8, box.y + box.height / 2);
    expect(((await now()) - begin) / (end - begin)).toBeCloseTo(0.8, 1);
    await page.mouse.move(box.x + box.width * 0.8, box.y + 20);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.3, box.y + 20, { steps: 4 });
    await page.mouse.up();
    expect(((await now()) - begin) / (end - begin)).toBeCloseTo(0.3, 1);
    const joined = await page.locator("#stats dd").first().textContent();
    await page.keyboard.press("End");
    await expect.poll(() => now()).toBe(end);
    await page.locator("#scrub").focus();
    await page.keyboard.press("ArrowLeft");
    await expect.poll(() => now()).toBeCloseTo(end - 5, 3);
    await page.keyboard.press("Home");
    await expect.poll(() => now()).toBe(begin);
    expect(joined).toMatch(/\d+ \/ 48/);
    await expect.poll(() => page.locator("#stats dd").first().textContent()).toBe("0 / 48");
    await expect.poll(() => page.locator("#scrub").getAttribute("aria-valuetext")).toMatch(/^23:00:0\d, 0.0 ms of 1 min/);
  });

  test("figures and the button follow where time jumps while it stands, and where it ends by itself", async () => {
    const shown = () => page.locator("#stats dd").first().textContent();
    const [begin, end] = await peek(page, (app) => [app.parts!.recording.begin, app.parts!.recording.end] as const, null);
    await page.keyboard.press("Home");
    await expect.poll(shown).toBe("0 / 48");
    await page.keyboard.press("End");
    await expect.poll(shown).toBe("48 / 48");
    const whole = await page.locator("#progress-text").textContent();
    await peek(page, (app, t) => {
      app.seek(t);
      if (!app.parts!.player.playing) void app.toggle();
    }, end - 0.4);
    await until(page, (app) => !app.parts!.player.playing, null); // the button may not have said yet that it plays
    await page.getByRole("button", { name: "Play", exact: true }).waitFor(); // it stopped, and says so
    await expect.poll(() => page.locator("#progress-text").textContent()).toBe(whole);
    await peek(page, (app, t) => app.seek(t), begin);
  });

  test("steps from frame to frame and decodes each, down to the attribute and its value", async () => {
    await peek(page, (app) => app.seek(app.parts!.recording.frames.find((frame) => frame.kind === 13)!.t - 0.001), null);
    await page.keyboard.press(".");
    await page.locator("#frame-page h3", { hasText: "RESPONSE" }).waitFor();
    const first = await peek(page, (app) => app.parts!.stage.frame!.id, null);
    const decoded = await page.locator("#frame-page").textContent();
    expect(decoded).toContain("7,1-0:99.1.0*255,2");
    expect(decoded).toContain("4711231");
    await page.locator("summary", { hasText: "Bytes" }).click();
    await expect.poll(() => page.locator("pre").textContent()).toMatch(/^0000 {2}([0-9a-f]{2} ?){16}/);
    await page.keyboard.press(".");
    await page.locator("#frame-page h3", { hasText: "ACK" }).waitFor();
    await page.keyboard.press(",");
    await expect.poll(() => peek(page, (app) => app.parts!.stage.frame!.id, null)).toBe(first);
  });

  test("a click in the list opens that frame; a kind that is hidden is in neither list nor picture", async () => {
    const opened = () => peek(page, (app) => app.parts!.stage.frame!.id, null);
    const before = await opened();
    const rows = page.locator(".frame-row:not([hidden]):not(.selected)");
    await rows.nth(3).click();
    await expect.poll(opened).not.toBe(before);
    // row and page are drawn with the next picture
    await expect.poll(async () => (await page.locator("#frame-page h3").first().textContent())!.includes((await page.locator(".frame-row.selected b").first().textContent())!)).toBe(true);
    const all = await page.locator("#frame-count").textContent();
    await page.locator("#kinds button", { hasText: "Link" }).click();
    await expect.poll(() => page.locator("#frame-count").textContent()).not.toBe(all);
    await expect.poll(() => page.locator(".frame-row:not([hidden]) b", { hasText: "ACK" }).count()).toBe(0);
    await page.locator("#kinds button", { hasText: "Link" }).click();
  });

  test("a packet on a cable is clicked while time stands", async () => {
    const at = await peek(page, (app) => {
      const { recording, player, stage } = app.parts!;
      const frame = recording.frames.find((f) => f.kind === 13 && f.got.length === 1)!;
      player.playing = false;
      player.seek(frame.t + frame.air * 0.5);
      stage.frame = null;
      stage.fit();
      return frame.id;
    }, null);
    const box = (await page.locator("#moving").boundingBox())!;
    const head = () => peek(page, (app, id) => (app.parts!.stage as unknown as { motion: { drawn: { frame: { id: number }; x: number; y: number }[] } }).motion.drawn.find((d) => d.frame.id === id), at);
    // the picture may still be turning to its place: clicked where the packet is drawn now
    await expect.poll(async () => {
      const { x, y } = (await head()) ?? { x: 0, y: 0 };
      await page.mouse.click(box.x + x, box.y + y);
      return peek(page, (app) => app.parts!.stage.frame?.id ?? null, null);
    }).toBe(at);
  });

  test("a meter is found by name: its way, how it joined, its profile", async () => {
    await page.keyboard.press("End");
    await page.keyboard.press("/");
    await page.keyboard.type("0031");
    await page.keyboard.press("Enter");
    await page.locator("#meter-page h3", { hasText: "GDC48000031" }).waitFor();
    await expect.poll(() => page.locator("#meter-page").textContent()).toContain("00:05:5a:ff:ff:e1:00:1f");
    await expect.poll(() => page.locator(".way-chips .chip").last().textContent()).toBe("Concentrator");
    await expect.poll(() => page.locator(".ladder").textContent()).toContain("joined as 001F");
    await expect.poll(() => page.locator(".profile rect").count()).toBe(23);
    await page.locator(".profile").focus();
    await page.keyboard.press("ArrowRight");
    await expect.poll(() => page.locator(".profile-value").textContent()).toMatch(/UTC: \d+ Wh$/);
    await page.getByLabel("Find a meter").fill("");
    await page.locator("#moving").focus();
    const before = await peek(page, (app) => app.parts!.stage.chosen.node, null);
    await page.keyboard.press("ArrowLeft");
    await expect.poll(() => peek(page, (app) => app.parts!.stage.chosen.node, null)).not.toBe(before);
    await page.locator("#meter-list").focus();
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Escape");
    await expect.poll(() => peek(page, (app) => app.parts!.stage.chosen.node, null)).toBeNull();
  });

  test("what happened cannot be changed, and the page says why", async () => {
    for (const tool of ["Cut a cable", "Add noise", "Kill a node"]) {
      const button = page.getByRole("button", { name: tool });
      await expect.poll(() => button.getAttribute("aria-disabled")).toBe("true");
      await expect.poll(() => button.getAttribute("title")).toContain("This is a recording");
    }
    await page.keyboard.press("x");
    await expect.poll(() => page.locator("#toast").textContent()).toContain("This is a recording");
    const [x, y] = await peek(page, (app) => app.parts!.stage.cableAt(4)!, null);
    const box = (await page.locator("#moving").boundingBox())!;
    await page.mouse.click(box.x + x, box.y + y);
    await expect.poll(() => page.locator("#card").textContent()).toContain("what happened has happened");
    await page.keyboard.press("Escape");
    await expect.poll(() => page.locator("#card").isVisible()).toBe(false);
  });

  test("events lead to their time, the layouts are there, the help lists the keys", async () => {
    await page.getByRole("tab", { name: "Events" }).click();
    await peek(page, (app) => app.seek(Infinity), null);
    await page.locator(".event-row", { hasText: "is cut" }).or(page.locator(".event-row").first()).first().waitFor();
    for (const [key, layout] of [["1", "map"], ["3", "routes"], ["2", "feeder"]] as const) {
      await page.keyboard.press(key);
      await expect.poll(() => page.locator(`[data-layout=${layout}]`).getAttribute("aria-checked")).toBe("true");
    }
    await page.keyboard.press("?");
    await expect.poll(() => page.locator("#help").isVisible()).toBe(true);
    await expect.poll(() => page.locator("#help dt").count()).toBeGreaterThan(20);
    await page.keyboard.press("Escape");
    await expect.poll(() => page.locator("#help").isVisible()).toBe(false);
  });

  test("dark and light follow the system until somebody chooses", async () => {
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await ground();
    await page.emulateMedia({ colorScheme: "light" });
    const light = await ground();
    expect(light).not.toBe(dark);
    await page.keyboard.press("t");
    await expect.poll(() => ground()).toBe(dark);
    await page.keyboard.press("t");
    await expect.poll(() => ground()).toBe(light);
  });

  test("everything that is clicked has a name, and each id is there once", async () => {
    const nameless = await page.evaluate(() => [...document.querySelectorAll("button, input, select, [tabindex='0'], [role=slider]")].filter((e) => (e as HTMLElement).offsetParent && !(e.textContent?.trim() || e.getAttribute("aria-label") || e.getAttribute("aria-labelledby"))).map((e) => e.outerHTML.slice(0, 80)));
    expect(nameless).toEqual([]);
    expect(await page.evaluate(() => [...document.querySelectorAll("[id]")].map((e) => e.id).filter((id, at, all) => all.indexOf(id) !== at))).toEqual([]);
    const reached: string[] = [];
    await page.locator(".skip").focus();
    for (let i = 0; i < 14; i++) {
      await page.keyboard.press("Tab");
      reached.push(await page.evaluate(() => document.activeElement?.id || document.activeElement?.textContent?.trim().slice(0, 12) || ""));
    }
    expect(reached[0]).toBe("Map");
    expect(new Set(reached).size).toBe(reached.length);
  });

  test("asked nobody for anything", () => {
    expect(browser.asked.filter((url) => !url.startsWith("file:") && !url.startsWith("data:"))).toEqual([]);
    expect(browser.errors).toEqual([]);
  });
});

describe.skipIf(missing)("what cannot be read is said", () => {
  const packed = gzipSync(night);
  test.each([
    ["no recording of ours", embedded("hello\nworld\n"), "None of its lines tells of a street"],
    ["damaged", embedded(night).replace(/(octet-stream">.{40})/, "$1AAAAAAAA"), "cannot be read"],
    ["not even base64", embedded(night).replace(/octet-stream">/, 'octet-stream">!!'), "It is empty"],
    ["a street without meters", embedded('{"e":"street","nodes":[]}\n'), "An empty street"],
    ["a street on which nothing happened", embedded('{"e":"street","nodes":[{"id":0,"role":"coordinator"},{"id":1}]}\n{"t":1,"e":"end"}\n'), ""],
    ["cut short", embedded(packed.subarray(0, packed.length / 2), false), "ends early"],
  ])("%s", async (name, html, said) => {
    const page = await browser.open(file("broken.html", html));
    if (said) await page.getByText(said).first().waitFor();
    if (name === "cut short") expect(await peek(page, (app) => app.parts!.recording.frames.length, null)).toBeGreaterThan(100);
    await page.close();
  });
});

describe.skipIf(missing)("a thousand meters", () => {
  test("are drawn in time, whatever the layout and the speed", async () => {
    const page = await browser.open(file("large.html", embedded(record({ meters: 1000, join: false, layers: false, sessions: 60 }))));
    await loaded(page);
    for (const layout of ["feeder", "map", "routes"] as const) {
      await peek(page, (app, to) => {
        app.setLayout(to);
        app.setSpeed(25);
        app.seek(app.parts!.recording.begin + 5);
        if (!app.parts!.player.playing) void app.toggle();
      }, layout);
      await page.waitForTimeout(900);
      const [cost, unit, pieces] = await peek(page, (app) => {
        const { stage, player, recording } = app.parts!;
        const draw = (n: number) => {
          const began = performance.now();
          for (let i = 0; i < n; i++) {
            player.t += 0.4;
            stage.draw(recording.stateAt(player.t), performance.now());
          }
          return (performance.now() - began) / n;
        };
        draw(4);
        // the same machine's time for 400,000 roots, under the same load: 3 ms where nothing else runs
        const work = () => {
          const began = performance.now();
          let sum = 0;
          for (let i = 0; i < 400_000; i++) sum += Math.hypot(i, sum % 7);
          return sum ? performance.now() - began : 0;
        };
        const before = work(), costs = draw(16);
        return [costs, (before + work()) / 2, (stage as unknown as { motion: { strokes: number[][] } }).motion.strokes.reduce((all, list) => all + list.length / 4, 0)] as const;
      }, layout);
      console.log(`1,000 meters, ${layout}: ${cost.toFixed(1)} ms a picture of ${pieces} pieces, ${(cost / unit).toFixed(2)} of the unit of ${unit.toFixed(1)} ms`);
      expect(cost / unit).toBeLessThan(0.5);
    }
    await page.getByRole("tab", { name: "Meters" }).click();
    await expect.poll(() => page.locator("#meter-count").textContent()).toBe("1 000 meters");
    expect(await page.locator(".meter-row").count()).toBeLessThan(60);
    await page.close();
  }, 180_000);

  test("reduced motion: nothing travels, layouts change at once", async () => {
    const page = await browser.open(file("calm.html", embedded(record({ meters: 12 }))), { reducedMotion: "reduce" });
    await loaded(page);
    await page.keyboard.press("1");
    await expect.poll(() => peek(page, (app) => (app.parts!.stage as unknown as { turn: unknown }).turn, null)).toBeNull();
    await page.keyboard.press(".");
    await expect.poll(() => peek(page, (app) => app.parts!.player.moving, null)).toBe(false);
    await page.setViewportSize({ width: 390, height: 800 });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(390);
    // a meter that is touched opens where it can be seen
    const top = () => page.evaluate(() => document.getElementById("side")!.getBoundingClientRect().top);
    expect(await top()).toBeGreaterThan(800);
    const box = (await page.locator("#moving").boundingBox())!, [x, y] = await peek(page, (app) => app.parts!.stage.nodeAt(3), null);
    await page.mouse.click(box.x + x, box.y + y);
    await expect.poll(top).toBeLessThan(100);
    await page.close();
  });
});
