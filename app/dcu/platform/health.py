"""The health check: whether this software does its work on this device, and if not, why. It decides over a trial.

Five checks, in the order in which they explain each other: *persist* holds what this device is; the *collector* answers
its control socket and each of its subsystems makes progress; the *store* is intact; the *links* carry: of the meters
that it tried, one answers; the hardware *watchdog* is armed. What is asked of the collector comes in by a function, so
that this floor knows no socket.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dcu.errors import DcuError, DecodeError

WATCHDOGS = Path("/sys/class/watchdog")
SETTLED = 30.0  # seconds that the collector must have run: one that is started again and again is not healthy
_LONGEST = 200  # characters of somebody else's words

T = TypeVar("T")
Ask = Callable[[str], Any]  # method of the control socket → its result; raises DcuError


@dataclass(frozen=True, slots=True)
class Check:
    """reason: what is wrong, or what was seen where nothing is."""

    name: str
    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """What the check saw."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)

    def of(self, name: str) -> Check:
        return next(check for check in self.checks if check.name == name)

    @property
    def why(self) -> str:
        """As a rollback reason, for instance `health:store`; "" where all is well."""
        return next((f"health:{check.name}" for check in self.checks if not check.ok), "")

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(f"{check.name}: {check.reason}" for check in self.checks if not check.ok)


class _Subsystem(msgspec.Struct, frozen=True):
    name: str
    alive: bool
    quiet: float = 0.0


class _Status(msgspec.Struct, frozen=True):
    uptime: float
    meters: dict[str, int] = {}
    jobs: dict[str, int] = {}
    subsystems: tuple[_Subsystem, ...] = ()


class _Finding(msgspec.Struct, frozen=True):
    file: str
    text: str
    serious: bool


class _Report(msgspec.Struct, frozen=True):
    ok: bool
    findings: tuple[_Finding, ...] = ()


def examine(ask: Ask, *, persist: str = "", watchdogs: Path = WATCHDOGS, settled: float = SETTLED) -> Health:
    """Make all five checks. persist: why it is lost, "" where it is not.

    Nothing is raised: what cannot be asked is a check that failed.
    """
    status = _asked(ask, "status", _Status)
    report = _asked(ask, "store.check", _Report)
    kept = _failed("persist", persist) if persist else Check("persist", True, "whole")
    return Health((kept, _collector(status, settled), _store(report), _links(status), _watchdog(watchdogs)))


def _asked(ask: Ask, method: str, kind: type[T]) -> T | DcuError:
    try:
        return msgspec.convert(ask(method), kind, strict=False)
    except DcuError as error:
        return error
    except (msgspec.ValidationError, RecursionError) as error:
        return DecodeError(f"{method}: the collector answered nonsense: {error}")


def _collector(status: _Status | DcuError, settled: float) -> Check:
    if isinstance(status, DcuError):
        return _failed("collector", str(status))
    stuck = [f"{part.name} (quiet for {part.quiet:.0f} s)" for part in status.subsystems if not part.alive]
    if stuck:
        return _failed("collector", f"no progress: {', '.join(stuck)}")
    if status.uptime < settled:
        return _failed("collector", f"runs for {status.uptime:.0f} s only: {settled:.0f} s are asked for")
    names = ", ".join(part.name for part in status.subsystems)
    return Check("collector", True, f"progress: {names}" if names else "answers")


def _store(report: _Report | DcuError) -> Check:
    if isinstance(report, DcuError):
        return _failed("store", str(report))
    serious = next((finding for finding in report.findings if finding.serious), None)
    if report.ok and not serious:
        return Check("store", True, "whole")
    return _failed("store", f"{serious.file}: {serious.text}" if serious else "damaged")


def _links(status: _Status | DcuError) -> Check:
    """A street without power must not undo an update that nobody tried on it: only attempts that all failed count.

    A job that is done is no attempt: after a restart within the hour every reading is there, and no meter is asked.
    """
    if isinstance(status, DcuError):
        return _failed("links", "not known: the collector does not answer")
    known, reached = sum(status.meters.values()), status.meters.get("ok", 0)
    failed = status.meters.get("unreachable", 0) + status.meters.get("refused", 0)
    if reached or not known or not (failed or status.jobs.get("running", 0)):
        return Check("links", True, f"{reached} of {known} meters reached")
    return _failed("links", f"none of {known} meters answers")


def _watchdog(watchdogs: Path) -> Check:
    """Linux says `active` of a watchdog that somebody has opened and feeds."""
    try:
        states = {entry.name: (entry / "state").read_text().strip() for entry in sorted(watchdogs.iterdir())}
    except OSError as error:
        return _failed("watchdog", f"{watchdogs}: {error.strerror}: no hardware watchdog")
    armed = [name for name, state in states.items() if state == "active"]
    if armed:
        return Check("watchdog", True, f"{armed[0]} is armed")
    return _failed("watchdog", "no hardware watchdog" if not states else f"{', '.join(states)}: not armed")


def _failed(name: str, reason: str) -> Check:
    line = " ".join(reason.split())
    return Check(name, False, line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…")


def as_json(health: Health) -> Mapping[str, object]:
    """For `--json`."""
    checks = [{"name": check.name, "ok": check.ok, "reason": check.reason} for check in health.checks]
    return {"ok": health.ok, "why": health.why, "checks": checks}
