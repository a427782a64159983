"""U-Boot's environment saved by the real fw_setenv to a recorded SD card, and the judge of what a cut leaves of it."""

import random
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dcu.errors import DecodeError
from dcu.platform import bootenv
from ota.errors import OtaError
from ota.powercut.checks import environment
from ota.powercut.log import SECTOR, Mark, Recording
from ota.powercut.recorder import Recorder
from ota.powercut.replay import Sectors, State
from ota.powercut.rigs import mounted

CARD = "card"
COPIES = ((0x100000, 0x4000), (0x110000, 0x4000))  # fw_env.config's
IN_PLACE = COPIES[:1]
CANARY = "environment saved in place"
_SIZE = 2 << 20
_SCRIPTS = {f"script_{number}": f"run step_{number}; " * 12 for number in range(12)}  # U-Boot saves its scripts, too


def record(home: Path, count: int, seed: int, copies: Sequence[tuple[int, int]] = COPIES) -> None:
    """Save the environment `count` times on a fresh card; record it in `home`. With one copy it is saved in place."""
    draw = random.Random(seed)  # noqa: S311 - to be repeatable
    home.mkdir(parents=True, exist_ok=True)
    card = home / "card.img"
    content = bytearray(_SIZE)
    for offset, size in copies:
        content[offset : offset + size] = environment.pack(
            {**_SCRIPTS, **_values(draw)}, size, 1 if len(copies) > 1 else None
        )
    card.write_bytes(content)
    saves = [_values(draw) for _ in range(count)]
    with Recorder(home, {CARD: card}, (CARD,)) as recorder, mounted.file(recorder, CARD, home) as path:
        recorder.mark("environment", copies=copies)
        config = home / "fw_env.config"
        config.write_text("".join(f"{path} {offset:#x} {size:#x}\n" for offset, size in copies))
        for values in saves:
            recorder.mark("saving", values=values)
            script = "".join(f"{name}={value}\n" for name, value in values.items())
            command = ["fw_setenv", "-c", str(config), "-s", "/dev/stdin"]
            done = subprocess.run(command, input=script, capture_output=True, text=True)  # noqa: S603
            if done.returncode or done.stderr:
                raise OtaError(f"fw_setenv: {done.stderr.strip() or done.returncode}")
            recorder.mark("saved", values=values)
    card.unlink()


def _values(draw: random.Random) -> dict[str, str]:
    """What an update, a trial and a rollback save."""
    reason = draw.choice(("", "bootlimit", "signature", "health:store", "health:" + "x" * 40))
    numbers = {"upgrade_available": 1, "bootcount": 3, "ustate": 7, "boot_failures": 4}
    return {
        "slot": draw.choice("ab"),
        "rollback_reason": reason,
        **{name: str(draw.randint(0, most)) for name, most in numbers.items()},
    }


class EnvironmentJudge:
    """What is read is what was saved last, or, while a save is under way, what it saves: nothing else, ever."""

    def __init__(self, recording: Recording) -> None:
        self._sectors = Sectors(recording.home)
        self._card = recording.disk(CARD)
        marks = [(n, r) for n, r in enumerate(recording.records) if isinstance(r, Mark) and n >= recording.begin]
        self._copies = next(r.facts["copies"] for _, r in marks if r.what == "environment")
        self._saves = [(n, r.what, r.facts["values"]) for n, r in marks if r.what in ("saving", "saved")]
        self.examined = 0

    def judge(self, state: State) -> list[str]:
        self.examined += 1
        card = state.disks[self._card]
        raw = [self._sectors.join(card[at // SECTOR : (at + size) // SECTOR]) for at, size in self._copies]
        found = environment.read(raw, redundant=len(raw) > 1)
        if found.values is None:
            return ["environment: neither copy is whole: U-Boot takes its defaults"]
        try:
            bootenv.decode(found.values)
        except DecodeError as error:
            return [f"environment: {error}"]
        saved: Mapping[str, str] = {}
        saving: Mapping[str, str] | None = None
        for place, what, values in self._saves:
            if place >= state.position:
                break
            saved, saving = (values, None) if what == "saved" else (saved, values)
        if _has(found.values, saved) or (saving is not None and _has(found.values, saving)):
            return []
        return [f"environment: {found.values} is neither what was saved, {saved}, nor what is being saved, {saving}"]


def _has(values: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(values.get(name, "") == value for name, value in wanted.items())
