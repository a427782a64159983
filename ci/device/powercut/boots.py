"""Boots what a power cut left, in QEMU, all the way: U-Boot, kernel, collector, health check."""

import json
import random
import shutil
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from rich.console import Console

from device import uboot
from device.powercut import record
from device.qemu import Device
from ota.powercut import log, plans
from ota.powercut.checks.device import DeviceJudge
from ota.powercut.checks.ledger import Ledger
from ota.powercut.log import SECTOR, Recording
from ota.powercut.replay import Canvas, Replay, Sectors, State, name

RUNNING = 600.0  # seconds on a loaded host
DRAWN = 20  # states for each that is booted


@dataclass(slots=True)
class Boot:
    """expected: the bank that the environment names; slot: the one that ran; wrong: what is."""

    state: str
    expected: str
    slot: str = ""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.wrong


def sample(count: int, seed: int, console: Console) -> list[Boot]:
    """Boot `count` states of the update's recording, drawn by `seed`."""
    recording = log.read(record.update())
    found = []
    for position, choices in _spread(recording, count, seed):
        boot = one(recording, position, choices)
        console.print(f"boot of {boot.state}: bank {boot.slot or '?'}, {boot.seconds:.0f} s, {boot.wrong or 'ok'}")
        found.append(boot)
    return found


def _spread(recording: Recording, count: int, seed: int) -> list[plans.Plan]:
    """So many of more that are drawn: in turn one of each bank, since the time in which bank b is named is short."""
    replay = Replay(recording)
    by_slot = defaultdict[str, list[plans.Plan]](list)
    with tempfile.TemporaryDirectory(prefix="powercut-drawn-") as home:
        judge = DeviceJudge(recording, Path(home), replay.state({}))
        for position, choices in plans.drawn(recording, DRAWN * count, seed):
            replay.seek(position)
            by_slot[_named(judge, replay.state(choices))].append((position, choices))
    draw = random.Random(seed)  # noqa: S311 - to be repeatable
    for drawn in by_slot.values():
        draw.shuffle(drawn)
    turns = [plan for turn in zip_longest(*by_slot.values()) for plan in turn if plan is not None]
    return sorted(turns[:count], key=lambda plan: plan[0])


def _named(judge: DeviceJudge, state: State) -> str:
    return (judge.environment(state).values or {}).get("slot", "?")


def one(recording: Recording, position: int, choices: dict[str, str]) -> Boot:
    """Boot one state. What is wrong is in the outcome, not raised."""
    replay = Replay(recording)
    initial = replay.state({})
    replay.seek(position)
    state = replay.state(choices)
    home = Path(tempfile.mkdtemp(prefix="powercut-boot-"))
    try:
        boot = Boot(name(position, choices), _named(DeviceJudge(recording, home, initial), state))
        _images(recording, state, home)
        began = time.monotonic()
        _boot(boot, home, Ledger(recording).at(position).used)
        boot.seconds = time.monotonic() - began
        return boot
    finally:
        with suppress(OSError):
            shutil.rmtree(home)


def _images(recording: Recording, state: State, home: Path) -> None:
    sectors = Sectors(recording.home)
    for number, (disk, file) in enumerate(zip(recording.disks, ("sd.img", "disk.img"), strict=True)):
        Canvas(home / file, sectors, 0, disk.size // SECTOR).show(state.disks[number])


def _boot(boot: Boot, home: Path, used: dict[str, int]) -> None:
    try:
        with Device(uboot.build(), home, extra=record.UNWATCHED) as dut:
            dut.expect("DCU: booting bank ", 120)
            _collecting(dut)
            boot.slot = dut.shell("sed -n 's/.*dcu.slot=\\([ab]\\).*/\\1/p' /proc/cmdline", 60)
            checked = json.loads(dut.shell("dcu store check --json", 240))
            persist = json.loads(dut.shell("dcu device status --json; true", 240))
    except (AssertionError, ValueError) as error:
        boot.wrong.append(f"{error}"[:600])
        return
    if boot.slot != boot.expected:
        boot.wrong.append(f"bank {boot.slot} runs, {boot.expected} was named")
    if not checked.get("ok", False):
        boot.wrong.append(f"store: {checked}")
    if used and checked.get("meters", 0) < len(used):
        boot.wrong.append(f"{checked.get('meters')} meters are registered, {len(used)} were read")
    if not persist.get("ok", False) and persist.get("phase") not in ("installing", "install failed"):
        boot.wrong.append(f"status: {persist}")


def _collecting(dut: Device) -> None:
    """Wait until the collector is ready. There are no meters here: the health check, which asks for them, is not."""
    dut.booted(record.BOOT)
    end = time.monotonic() + RUNNING
    while dut.shell("systemctl is-active dcu-collector.service", record.BOOT, check=False) != "active":
        if time.monotonic() > end:
            raise AssertionError(dut.shell("systemctl status --no-pager 'dcu-*'", record.BOOT, check=False)[-400:])
        time.sleep(1)


def show(booted: list[Boot], console: Console) -> None:
    if booted:
        failed = [boot for boot in booted if not boot.ok]
        slots = ", ".join(f"{sum(boot.slot == slot for boot in booted)} from bank {slot}" for slot in "ab")
        console.print(f"{len(booted)} full boots: {slots}; {len(failed)} failed")
        for boot in failed:
            console.print(f"    STATE={boot.state}: {boot.wrong}", highlight=False)
