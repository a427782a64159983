import { describe, expect, test } from "vitest";
import { detailOf, readLine } from "../../src/events";
import { record } from "../support/street";

describe("a line of the stream", () => {
  test("a frame keeps what is drawn and leaves its layers where they came from", () => {
    const line = '{"t":1.5,"e":"frame","id":7,"src":3,"dst":0,"kind":"GET","d":0.057,"mod":"DQPSK","n":74,"got":[0],"att":[31.5],"lost":null,"orig":3,"final":0,"layers":[["MAC",[["source","0003"]]]],"bytes":"01ff"}';
    const frame = readLine(line, false);
    expect(frame).toMatchObject({ e: "frame", t: 1.5, src: 3, dst: 0, kind: 10, air: 0.057, got: [0], att: [31.5], lost: null, detail: null });
    expect(detailOf(JSON.parse(line))).toEqual({ bytes: "01ff", layers: [["MAC", [["source", "0003"]]]] });
    expect(readLine(line, true)).toMatchObject({ detail: { bytes: "01ff" } });
  });

  test("null and -1 are broadcast, an unknown kind is data, an unknown loss is a loss", () => {
    for (const dst of ["null", "-1"]) expect(readLine(`{"t":1,"e":"frame","src":0,"dst":${dst},"kind":"NEW","lost":"flood"}`, false)).toMatchObject({ dst: -1, kind: 15, lost: "other" });
  });

  test("what is no event is told from what says nothing here", () => {
    for (const line of ["", "{", "[]", "1", "null", '"e"', "{}", '{"e":1}', "\u0000"]) expect(readLine(line, false)).toBeNull();
    for (const line of ['{"e":"later","t":1}', '{"e":"route","t":1,"node":3,"to":null}', '{"e":"join","t":1,"node":1,"state":"flying"}', '{"e":"frame","t":1}']) expect(readLine(line, false)).toBeUndefined();
  });

  test("every damage of a recording's lines is survived", () => {
    const lines = record({ meters: 5 }).split("\n").filter((_, at) => at % 7 === 0 || at < 3);
    let random = 12345;
    const next = (n: number) => (random = (random * 1103515245 + 12345) & 0x7fffffff) % n;
    for (const line of lines) {
      for (let i = 0; i < 40; i++) {
        const at = next(Math.max(1, line.length));
        const damaged = [line.slice(0, at), line.slice(0, at) + "ü" + line.slice(at + 1), line.slice(0, at) + "null" + line.slice(at + next(9)), line.replace(/\d+/g, (n) => (next(5) ? n : "-1e999"))][next(4)]!;
        const message = readLine(damaged, i % 2 === 0);
        if (message && message.e === "frame") {
          expect(Number.isFinite(message.t + message.air)).toBe(true);
          expect(message.got.every(Number.isFinite) && message.att.every(Number.isFinite)).toBe(true);
        }
      }
    }
  });

  test("a street keeps only cables between junctions that are there", () => {
    const street = readLine('{"e":"street","junctions":[{"id":0,"x":0,"y":0},{"id":"1","x":1,"y":1},{"id":2,"x":1,"y":1}],"cables":[{"id":0,"from":0,"to":1},{"id":1,"from":0,"to":2,"length":-3}],"nodes":[{"id":0,"role":"coordinator"},{"id":-1},7]}', false);
    expect(street).toMatchObject({ cables: [{ id: 1, length: 0.001 }], nodes: [{ id: 0, role: "coordinator", name: "node 0", junction: null }] });
  });
});
