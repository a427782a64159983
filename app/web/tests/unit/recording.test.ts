import { describe, expect, test } from "vitest";
import { readLine, type Event, type Street } from "../../src/events";
import { Player } from "../../src/player";
import { Recording, upperBoundBy } from "../../src/recording";
import { State } from "../../src/state";
import { record } from "../support/street";

function load(text: string, live = false): Recording {
  const [first, ...rest] = text.trim().split("\n").map((line) => readLine(line, true));
  const recording = new Recording(first as Street, live);
  for (const event of rest) if (event) recording.push(event as Event);
  return recording;
}

/** What matters of a state, comparable. */
const facts = (state: State) => ({
  join: [...state.join], short: [...state.short], off: [...state.off], rows: [...state.rows], cut: [...state.cut], frames: state.frames, failed: state.failed,
  air: [...state.air].map((air) => air.toFixed(9)), routes: [...state.routes].sort((a, b) => a[0] - b[0]), collected: state.collected, lost: state.lost, heard: [...state.heard],
});

describe("a recording", () => {
  const recording = load(record({ meters: 160 }));

  test("has more events than two keyframes apart", () => expect(recording.events.length).toBeGreaterThan(8192));

  test("gives the same state at any time, from whichever side one comes", () => {
    const times = [0.61, 0.02, 0.99, 0.3, 0.31, 0.305, 1, 0, 0.7].map((share) => recording.begin + share * (recording.end - recording.begin));
    for (const t of times) {
      const fresh = new State(recording.index);
      for (const event of recording.events) if (event.t <= t) fresh.apply(event);
      expect(facts(recording.stateAt(t))).toEqual(facts(fresh));
    }
  });

  test("a seek applies no more than one keyframe's events", () => {
    let applied = 0;
    const original = State.prototype.apply;
    State.prototype.apply = function (event) {
      applied++;
      original.call(this, event);
    };
    try {
      for (const share of [0.9, 0.1, 0.55]) {
        applied = 0;
        recording.stateAt(recording.begin + share * (recording.end - recording.begin));
        expect(applied).toBeLessThanOrEqual(4096);
      }
    } finally {
      State.prototype.apply = original;
    }
  });

  test("frames stand in order of time, also those that were told late", () => {
    const late = load('{"e":"street","nodes":[{"id":0,"role":"coordinator"},{"id":9}]}\n{"t":2,"e":"frame","src":9}\n{"t":1.9,"e":"frame","src":0,"dst":9}\n{"t":3,"e":"frame","src":9}');
    expect(late.frames.map((frame) => frame.t)).toEqual([1.9, 2, 3]);
    expect(late.frames[0]).toMatchObject({ src: 0, dst: 1 });
    expect(late.stateAt(2.5).frames).toBe(2);
  });

  test("events of nodes that are not there are counted, not drawn", () => {
    const odd = load('{"e":"street","nodes":[{"id":0}]}\n{"t":1,"e":"frame","src":4}\n{"t":1,"e":"cable","id":3,"state":"cut"}\n{"t":1,"e":"route","node":0,"to":5,"next":0}');
    expect([odd.events.length, odd.skipped]).toEqual([0, 3]);
  });

  test("routes lead to the concentrator, a lost one ends the way", () => {
    const state = recording.stateAt(recording.end);
    for (let node = 1; node < state.join.length; node++) {
      const { nodes, whole } = state.path(node, 0);
      if (whole) expect([nodes[0], nodes.at(-1)]).toEqual([node, 0]);
      expect(new Set(nodes).size).toBe(nodes.length);
    }
    const copy = state.copy();
    const far = [...copy.join.keys()].find((node) => copy.path(node, 0).nodes.length > 2)!;
    copy.apply({ e: "route", t: state.t, node: copy.path(far, 0).nodes[1]!, to: 0, next: null, cost: 0, hops: 0 });
    expect(copy.path(far, 0)).toMatchObject({ whole: false });
    expect(state.path(far, 0)).toMatchObject({ whole: true });
  });

  test("a loop of routes ends", () => {
    const looped = load('{"e":"street","nodes":[{"id":0,"role":"coordinator"},{"id":1},{"id":2}]}\n{"t":1,"e":"route","node":1,"to":0,"next":2}\n{"t":1,"e":"route","node":2,"to":0,"next":1}');
    expect(looped.stateAt(1).path(1, 0)).toEqual({ nodes: [1, 2], whole: false });
  });

  test("a live recording lets its oldest frames go and still knows the present", () => {
    const live = load('{"e":"street","nodes":[{"id":0,"role":"coordinator"},{"id":1}]}', true);
    live.push({ e: "join", t: 0, node: 1, state: "joined", short: 5 });
    for (let i = 0; i < 260_000; i++) live.push({ e: "frame", t: i / 10, id: i, src: 1, dst: 0, kind: 10, air: 0.05, mod: "ROBO", size: 9, got: [0], att: [3], lost: null, orig: null, final: null, detail: null });
    expect(live.frames.length).toBeLessThan(241_000);
    expect(live.begin).toBeGreaterThan(0);
    expect(live.stateAt(live.end)).toMatchObject({ frames: 260_000 });
    expect(live.stateAt(live.begin + 3).join[1]).toBe(6);
  }, 60_000);
});

test("the upper bound counts what is at most the key", () => {
  for (const [wanted, count] of [[0, 0], [1, 2], [1.5, 2], [3, 3], [9, 3]] as const) expect(upperBoundBy([1, 1, 3], wanted, (n) => n)).toBe(count);
});

describe("the clock", () => {
  const recording = load(record({ meters: 6 }));

  test("plays at its speed, and stops at the end", () => {
    const player = new Player(recording);
    recording.complete = true;
    player.seek(1);
    player.speed = 2;
    player.tick(0.5, 0);
    expect(player.t).toBeCloseTo(2);
    player.tick(1e6, 0);
    expect([player.t, player.playing]).toEqual([recording.end, false]);
    player.toggle();
    expect([player.t, player.playing]).toEqual([recording.begin, true]);
  });

  test("a step runs through one frame and stands still", () => {
    const player = new Player(recording);
    player.show(1, 0.1, false);
    player.tick(0.1, 0);
    expect(player.t).toBeGreaterThan(1);
    expect(player.t).toBeLessThan(1.1);
    player.tick(9, 0);
    expect([player.t, player.moving]).toEqual([1 + 0.1 * 0.999, false]);
  });

  test("before a live street it stays a moment behind, and comes back after a look into the past", () => {
    const live = load(record({ meters: 6 }), true);
    const player = new Player(live);
    for (let wall = 0; wall < 5; wall += 0.05) {
      player.heard(wall, wall);
      player.tick(0.05, wall);
    }
    expect(player.t).toBeGreaterThan(4);
    expect(player.t).toBeLessThan(5);
    player.seek(1);
    expect(player.following).toBe(false);
    player.follow();
    player.heard(6, 6);
    player.tick(0.05, 6);
    expect(player.t).toBeGreaterThan(4.9);
  });

  test("a live street that lags, or runs slower than it says, is followed all the same", () => {
    for (const [pace, lag] of [[100, 40], [97, 0], [30, 0]] as const) {
      const player = new Player(load(record({ meters: 6 }), true));
      player.speed = 100;
      player.heard(0, 0);
      let last = 0, stood = 0;
      for (let wall = 0.05; wall < 30; wall += 0.05) {
        player.heard(Math.max(0, pace * wall - lag), wall);
        player.tick(0.05, wall);
        stood = player.t > last ? 0 : stood + 0.05;
        last = player.t;
        expect(stood).toBeLessThan(3);
      }
      const there = pace * 30 - lag;
      expect(player.t).toBeGreaterThan(there - 100);
      expect(player.t).toBeLessThan(there + 100);
    }
  });

  test("what stood because the street did goes on with it, however far the picture trails; what stood in the past does not", () => {
    const live = load(record({ meters: 6 }), true);
    const player = new Player(live);
    player.speed = 100;
    player.t = live.end - 40;
    player.toggle();
    player.hold();
    player.toggle();
    expect([player.playing, player.following, player.held]).toEqual([true, true, false]);
    player.speed = 1;
    player.hold();
    player.seek(live.begin);
    expect(player.held).toBe(false);
    player.toggle();
    expect([player.playing, player.following]).toEqual([true, false]);
  });
});
