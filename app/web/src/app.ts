/** The page at work: takes messages in, runs the clock, and keeps picture, lists and buttons together. */

import { Acts, toast } from "./act";
import { Announcer } from "./announcer";
import { notice, showStatus } from "./connection";
import { byId, calm, clock, factor, h, narrow, say } from "./dom";
import { detailOf, type Detail, type Frame, type Message } from "./events";
import { FrameList, FramePage } from "./frames";
import { HappeningList } from "./happenings";
import { bindKeys, toggleHelp } from "./keys";
import { MeterPage } from "./meter";
import { MeterTable } from "./meters";
import { Night } from "./night";
import { hasMap, type Layout } from "./plan";
import { Player, SPEEDS } from "./player";
import { Recording, type Happening } from "./recording";
import { askName, signedIn } from "./session";
import { shortcuts } from "./shortcuts";
import { Live, embedded, readRecording } from "./source";
import { Stage, labelsOf, type Thing } from "./stage";
import { Tabs } from "./tabs";
import { Theme } from "./theme";
import { Timeline } from "./timeline";
import { showTip } from "./tip";

/** Lists are for reading: they are filled anew this often while time runs. */
const LIST_MS = 180;

/** What exists once a street is known. */
interface Parts {
  recording: Recording;
  player: Player;
  stage: Stage;
  timeline: Timeline;
  frames: FrameList;
  framePage: FramePage;
  meters: MeterTable;
  meterPage: MeterPage;
  happenings: HappeningList;
  labels: string[];
}

export class App {
  parts: Parts | null = null;
  readonly night = new Night();
  readonly tabs = new Tabs();
  readonly theme = new Theme();
  readonly acts = new Acts(() => this.parts?.recording ?? null);
  private live: Live | null = null;
  private last = 0;
  private listed = 0;
  private listedAt = 0;
  private stale = true;
  private readonly announcer = new Announcer();
  private readonly intervals: number[] = [];

  run(): void {
    this.bindButtons();
    bindKeys(shortcuts(this));
    this.acts.onTool = (tool) => this.parts && (this.parts.stage.wanted = tool === "cut" ? "cable" : tool === "off" ? "node" : null);
    this.night.onToggle = (group) => this.toggleKind(group);
    this.tabs.onChange = () => (this.stale = true);
    const recording = embedded();
    if (recording) void this.open(recording);
    else if (location.protocol === "file:") notice("No recording in this page", "“make demo” leaves a page with a recording in it; “make live” serves a running street. You can also drop a recording (.ndjson or .ndjson.gz) here.");
    else void this.listen();
    requestAnimationFrame((now) => this.tick(now));
  }

  /** Play a recording. */
  async open(data: Uint8Array): Promise<void> {
    this.live?.close();
    this.acts.access = { live: false, can: null, why: "" };
    this.acts.refresh();
    this.close();
    const blocks = await readRecording(data, {
      message: (message, at) => this.take(message, at, false),
      skipped: () => this.parts && this.parts.recording.skipped++,
      status: (status) => showStatus(status, this.parts !== null, () => this.live?.retry()),
    });
    if (!this.parts) return;
    const { recording } = this.parts;
    recording.text = blocks;
    recording.complete = true;
    this.stale = true;
    if (recording.street.nodes.length && !recording.events.length) notice("An empty recording", "The street is there, but nothing happened on it.");
    if (recording.skipped) toast(`${recording.skipped} lines of this recording could not be used and were skipped.`, "warn");
  }

  private async listen(): Promise<void> {
    const known = await signedIn();
    if (!known) return askName(() => void this.listen());
    this.acts.access = { live: true, can: null, why: "" };
    this.acts.refresh();
    this.live = new Live({
      message: (message) => this.take(message, -1, true),
      skipped: () => this.parts && this.parts.recording.skipped++,
      status: (status) => showStatus(status, this.parts !== null, () => this.live?.retry()),
    });
  }

  private take(message: Message, at: number, live: boolean): void {
    if (message.e === "hello") {
      this.acts.access = { live: true, can: message.can, why: message.why };
      return this.acts.refresh();
    }
    if (message.e === "lost") return toast(`This browser was too slow: ${message.events} events were not shown.`, "warn");
    if (message.e === "collector") {
      const box = byId("status");
      box.className = `status ${message.away ? "waiting" : "live"}`;
      return say(box, message.away ? "The collector is away: what is shown may be old" : "Live");
    }
    if (message.e === "street") {
      if (this.parts && JSON.stringify(this.parts.recording.street) === JSON.stringify(message)) return;
      if (message.nodes.length === 0) return notice("An empty street", live ? "No meter is known here yet. They appear as soon as they join." : "This recording tells of a street without meters.");
      return this.build(new Recording(message, live));
    }
    if (!this.parts) return;
    const { recording, player } = this.parts;
    if (message.e === "clock") {
      if (!player.following && !player.held) return;
      if (message.factor > 0) this.setSpeed(message.factor, false);
      if (message.paused) player.hold();
      else if (player.held) player.follow();
      return player.heard(message.t, performance.now() / 1000);
    }
    if (message.e === "frame" && at >= 0) message.detail = at;
    const first = recording.begin === Infinity;
    recording.push(message);
    if (first) player.t = recording.begin;
    if (live && ["cable", "noise", "node", "alarm"].includes(message.e)) {
      const said = this.announcer.said(recording.happenings.at(-1)!, recording, this.parts.labels);
      if (said) toast(said.text, said.tone);
    }
    if (live) player.heard(message.t, performance.now() / 1000);
  }

  private build(recording: Recording): void {
    const hidden = this.parts?.stage.hidden ?? new Set<number>();
    this.close();
    byId("notice").hidden = true;
    const player = new Player(recording);
    player.speed = recording.live ? 1 : Number(byId<HTMLSelectElement>("speed").value) || 1;
    const labels = labelsOf(recording);
    const stage = new Stage(recording, player);
    stage.hidden = hidden;
    const timeline = new Timeline(recording, player);
    const frames = new FrameList(recording, labels);
    const ask = recording.live ? askLayers : null;
    const framePage = new FramePage(recording, labels, ask, (node) => this.pickNode(node));
    const meters = new MeterTable(recording, labels);
    const meterPage = new MeterPage(recording, labels);
    const happenings = new HappeningList(recording, labels);
    this.parts = { recording, player, stage, timeline, frames, framePage, meters, meterPage, happenings, labels };
    frames.hidden = hidden;
    stage.onPick = (thing, x, y) => this.pick(thing, x, y);
    stage.onHover = (thing, x, y) => this.hover(thing, x, y);
    timeline.onSeek = (t) => this.seek(t);
    frames.onPick = (frame) => this.pickFrame(frame, true);
    meters.onPick = (node) => this.pickNode(node);
    meterPage.onNode = (node) => this.pickNode(node);
    meterPage.onFrames = (node) => this.onlyFrames(node);
    const { can } = this.acts.access;
    if (recording.live && can?.includes("poll")) {
      meterPage.onPoll = (node) => void this.acts.order({ do: "poll", node: recording.street.nodes[node]!.id }).then((done) => done && toast("It is being read.", "good"));
    }
    if (recording.live && can?.includes("reboot")) meterPage.onReboot = (node) => void this.acts.reboot(node);
    happenings.onPick = (event) => this.pickHappening(event);
    this.acts.onTool(this.acts.tool);
    say(byId("title"), recording.street.title);
    document.title = `${recording.street.title} · Grid DCU`;
    say(byId("now-zone"), recording.street.start === null ? "from the start" : "UTC");
    const mapped = hasMap(recording.index);
    for (const button of this.layoutButtons()) button.disabled = !mapped && button.dataset["layout"] !== "routes";
    byId("tools").hidden = !mapped;
    byId("all-routes").hidden = !mapped;
    this.showLayout();
    this.stale = true;
  }

  private close(): void {
    this.parts?.stage.close();
    this.parts?.timeline.close();
    this.parts = null;
    this.acts.hide();
  }

  private tick(now: number): void {
    requestAnimationFrame((later) => this.tick(later));
    const seconds = Math.min((now - this.last) / 1000, 0.25);
    this.intervals.push(now - this.last);
    if (this.intervals.length > 600) this.intervals.splice(0, 300);
    this.last = now;
    if (!this.parts) return;
    const { player, recording, stage, timeline } = this.parts;
    const moving = player.moving;
    player.tick(seconds, now / 1000);
    const state = recording.stateAt(player.t);
    stage.draw(state, now);
    timeline.draw();
    say(byId("now"), clock(recording.street.start, player.t));
    // also once more after time has stopped, or jumped: the last word counts
    if (this.stale || ((moving || recording.live || player.t !== this.listedAt) && now - this.listed > LIST_MS)) {
      this.listed = now;
      this.listedAt = player.t;
      this.stale = false;
      this.drawLists();
    }
  }

  /** Fill the lists and figures anew. */
  private drawLists(): void {
    const { recording, player, stage, frames, framePage, meters, meterPage, happenings } = this.parts!;
    const state = recording.stateAt(player.t);
    this.night.draw(recording, state, player.t);
    this.acts.showPower(recording.latest);
    frames.selected = stage.frame;
    meters.selected = stage.chosen.node;
    if (this.tabs.current === "frames") {
      frames.draw(recording.framesUntil(player.t), recording.street.start);
      framePage.show(stage.frame, state.short);
    } else if (this.tabs.current === "meters") {
      meters.draw(state);
      meterPage.show(stage.chosen.node, state, player.t);
    } else happenings.draw(player.t);
    const play = byId("play");
    play.classList.toggle("playing", player.playing);
    play.setAttribute("aria-label", player.playing ? "Pause" : "Play");
    byId("edge").hidden = !recording.live;
    byId("edge").classList.toggle("on", player.following);
    const cost = byId("cost");
    if (!cost.hidden) say(cost, this.costs());
  }

  /** Milliseconds between pictures and spent on one: median and the worst of a hundred. */
  costs(): string {
    const at = (values: number[], share: number) => [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? 0;
    const { intervals } = this;
    const costs = this.parts?.stage.costs ?? [];
    return `drawing ${at(costs, 0.5).toFixed(1)} ms, p99 ${at(costs, 0.99).toFixed(1)} ms · picture every ${at(intervals, 0.5).toFixed(1)} ms, p99 ${at(intervals, 0.99).toFixed(1)} ms`;
  }

  /** Fill the lists with the next picture, also while time stands. */
  refresh(): void {
    this.stale = true;
  }

  seek(t: number): void {
    this.parts?.player.seek(t);
    this.stale = true;
  }

  async toggle(): Promise<void> {
    if (!this.parts) return;
    const { player, recording } = this.parts;
    const atEdge = recording.live && (player.following || !player.playing);
    player.toggle();
    this.stale = true;
    const what = player.playing ? "resume" : "pause";
    if (!atEdge || this.acts.refusal(what)) return;
    if (!player.playing) player.hold();
    await this.acts.order({ do: what });
  }

  /** Show the next frame (or the one before) on its own; a paused live street makes one step when its last frame was seen. */
  step(by: 1 | -1): void {
    if (!this.parts) return;
    const { player, recording, stage, frames } = this.parts;
    let at = stage.frame && Math.abs(player.t - stage.frame.t) <= stage.frame.air * 1.01 ? recording.frames.indexOf(stage.frame) : by > 0 ? recording.framesUntil(player.t) - 1 : recording.framesUntil(player.t);
    do at += by;
    while (recording.frames[at] && !frames.passes(recording.frames[at]!));
    const frame = recording.frames[at];
    if (frame) {
      player.show(frame.t, frame.air, calm.matches);
      this.pickFrame(frame, false);
    } else if (by > 0 && recording.live && !this.acts.refusal("step")) void this.acts.order({ do: "step" }).then(() => player.seek(recording.end));
  }

  setSpeed(speed: number, tell = true): void {
    const select = byId<HTMLSelectElement>("speed");
    const near = SPEEDS.reduce((best, known) => (Math.abs(Math.log(known / speed)) < Math.abs(Math.log(best / speed)) ? known : best));
    select.value = String(near);
    if (!this.parts) return;
    this.parts.player.speed = tell ? near : speed;
    if (tell && this.parts.recording.live && this.parts.player.following && !this.acts.refusal("speed")) void this.acts.order({ do: "speed", factor: near });
  }

  faster(by: 1 | -1): void {
    const at = SPEEDS.indexOf(Number(byId<HTMLSelectElement>("speed").value) as (typeof SPEEDS)[number]);
    this.setSpeed(SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, at + by))]!);
  }

  pickNode(node: number | null): void {
    if (!this.parts) return;
    const { stage, meters } = this.parts;
    stage.chosen.node = node;
    stage.chosen.cable = null;
    if (node !== null) {
      stage.reveal(node);
      this.tabs.show("meters");
      meters.selected = node;
      this.stale = true;
      requestAnimationFrame(() => meters.reveal(node));
    }
    this.stale = true;
  }

  pickFrame(frame: Frame, move: boolean): void {
    if (!this.parts) return;
    const { stage, player, frames } = this.parts;
    stage.frame = frame;
    if (move && !player.moving) player.show(frame.t, frame.air, calm.matches);
    this.tabs.show("frames");
    this.stale = true;
    requestAnimationFrame(() => frames.reveal(frame));
  }

  private pickHappening(event: Happening): void {
    this.seek(event.t);
    if (event.e === "join" || event.e === "route") this.parts!.stage.chosen.node = event.node;
    if (event.e === "node") this.parts!.stage.chosen.node = event.id;
    if (event.e === "cable") this.parts!.stage.chosen.cable = event.id;
  }

  private pick(thing: Thing | null, x: number, y: number): void {
    const { stage, recording, player } = this.parts!;
    const state = recording.stateAt(player.t);
    this.acts.hide();
    const { tool } = this.acts;
    if (tool === "cut" && thing?.kind === "cable") return void this.acts.cable(thing.at, state);
    if (tool === "off" && thing?.kind === "node") return void this.acts.power(thing.at, state);
    if (tool === "noise") {
      const junction = stage.junctionNear(x, y);
      if (junction !== null) void this.acts.noise(junction);
      return;
    }
    stage.chosen.cable = null;
    if (!thing) this.clear();
    else if (thing.kind === "node") this.pickNode(thing.at);
    else if (thing.kind === "frame") this.pickFrame(thing.frame, false);
    else if (thing.kind === "cable") {
      stage.chosen.cable = thing.at;
      this.acts.showCable(thing.at, x, y, state);
    }
    // on a phone what was opened lies below the picture
    if (thing && thing.kind !== "cable" && narrow.matches) byId("side").scrollIntoView({ behavior: calm.matches ? "auto" : "smooth" });
  }

  private hover(thing: Thing | null, x: number, y: number): void {
    const { recording, player, labels } = this.parts!;
    showTip(this.acts.tool === "noise" ? null : thing, x, y, recording, labels, recording.stateAt(player.t));
  }

  /** Choose nothing; the last thing opened closes first. */
  clear(): void {
    if (this.acts.hide()) return;
    if (this.acts.tool !== "look") return this.acts.choose("look");
    if (!this.parts) return;
    const { stage, frames } = this.parts;
    stage.chosen.node = stage.chosen.cable = stage.frame = null;
    if (frames.only !== null) this.onlyFrames(null);
    this.stale = true;
  }

  onlyFrames(node: number | null): void {
    const { frames, labels } = this.parts!;
    frames.only = node;
    const button = byId("frames-only");
    button.hidden = node === null;
    if (node !== null) {
      say(button, `only ${labels[node]} ×`);
      this.tabs.show("frames");
    }
    this.stale = true;
  }

  private toggleKind(group: number): void {
    if (!this.parts) return;
    const { hidden } = this.parts.stage;
    if (!hidden.delete(group)) hidden.add(group);
    this.night.setHidden(hidden);
    this.stale = true;
  }

  layoutButtons(): HTMLButtonElement[] {
    return [...byId("layouts").querySelectorAll("button")];
  }

  setLayout(layout: Layout): void {
    if (!this.parts) return;
    this.acts.hide();
    this.parts.stage.setLayout(layout, this.parts.recording.stateAt(this.parts.player.t));
    this.showLayout();
  }

  private showLayout(): void {
    for (const button of this.layoutButtons()) button.setAttribute("aria-checked", String(button.dataset["layout"] === this.parts?.stage.layout));
  }

  toggleRoutes(): void {
    if (!this.parts) return;
    this.parts.stage.routes = !this.parts.stage.routes;
    byId("all-routes").setAttribute("aria-pressed", String(this.parts.stage.routes));
  }

  private recolour(): void {
    this.parts?.stage.recolour();
    this.parts?.timeline.recolour();
    this.parts?.meterPage.refresh();
    this.stale = true;
  }

  private bindButtons(): void {
    this.theme.onChange = () => this.recolour();
    this.theme.start();
    const speed = byId<HTMLSelectElement>("speed");
    speed.append(...SPEEDS.map((known) => h("option", { value: known, selected: known === 1 }, factor(known))));
    speed.onchange = () => this.setSpeed(Number(speed.value));
    const on = (id: string, run: () => void) => (byId(id).onclick = run);
    on("play", () => void this.toggle());
    on("step", () => this.step(1));
    on("back", () => this.step(-1));
    on("edge", () => this.parts?.player.follow());
    on("theme", () => this.theme.toggle());
    on("help-open", toggleHelp);
    on("all-routes", () => this.toggleRoutes());
    on("zoom-in", () => this.parts?.stage.zoom(1.4));
    on("zoom-out", () => this.parts?.stage.zoom(1 / 1.4));
    on("zoom-fit", () => this.parts?.stage.fit());
    on("frames-only", () => this.onlyFrames(null));
    for (const button of this.layoutButtons()) button.onclick = () => this.setLayout(button.dataset["layout"] as Layout);
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      const file = event.dataTransfer?.files[0];
      if (file) void file.arrayBuffer().then((data) => this.open(new Uint8Array(data)));
    });
  }
}

async function askLayers(id: number): Promise<Detail | null> {
  try {
    const response = await fetch(`api/frames/${id}`);
    return response.ok ? detailOf(await response.json()) : null;
  } catch {
    return null;
  }
}

export function start(): void {
  const app = new App();
  (window as unknown as { page: App }).page = app;
  app.run();
}
