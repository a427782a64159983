import { expect, test } from "vitest";
import { Announcer } from "../../src/announcer";
import { readLine, type Event, type Street } from "../../src/events";
import { Recording } from "../../src/recording";
import { record } from "../support/street";

const street = readLine(record({ meters: 5 }).split("\n")[0]!, true) as Street;
const labels = street.nodes.map((node) => node.name);

function heard(...events: object[]): (string | undefined)[] {
  const recording = new Recording(street, true), announcer = new Announcer();
  return events.map((event) => {
    recording.push(readLine(JSON.stringify(event), false) as Event);
    return announcer.said(recording.happenings.at(-1)!, recording, labels)?.text;
  });
}

const power = (t: number, id: number, state: "on" | "off") => ({ e: "node", t, id, state });

test("meters that go off together are counted, and so are those that come back", () => {
  const name = labels[1];
  expect(heard(power(5, 1, "off"), power(5, 2, "off"), power(5, 3, "off"))).toEqual([`${name} is off`, "2 meters are off", "3 meters are off"]);
  expect(heard(power(5, 1, "off"), power(6, 1, "on"), power(6, 2, "on"))).toEqual([`${name} is off`, `${name} is on`, "2 meters are on"]);
});

test("one thing at a moment, and nothing that came again", () => {
  const cable = street.cables[0]!.id;
  const said = heard(power(5, 1, "off"), { e: "cable", t: 5, id: cable, state: "cut" }, power(4, 2, "off"), power(5, 2, "on"), { e: "cable", t: 6, id: cable, state: "whole" });
  expect(said).toEqual([`${labels[1]} is off`, undefined, undefined, undefined, `Cable ${cable} is whole again`]);
});
