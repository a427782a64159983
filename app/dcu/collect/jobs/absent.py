"""Rows that a meter does not have: asked for once more, and then left alone for some hours.

That a meter does not return a row says nothing where it has returned no newer one: it may not have captured it yet,
because its clock is behind, or ours ahead. And nothing is believed for ever: what is known is dropped after some hours,
and when our clock was stepped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dcu.collect.jobs.profile import Range
from dcu.model import Obis

REMEMBERED = 64  # ranges of a profile; the oldest beyond it are asked for again
FORGOTTEN_AFTER = 6 * 3600.0  # seconds: two polls of six then ask for what is lost for good


@dataclass(slots=True)
class _Vain:
    """since: the first note."""

    since: float
    once: list[Range] = field(default_factory=list)
    again: list[Range] = field(default_factory=list)


class Absent:
    """Ranges that a meter was asked for in vain, once and again, by meter and profile. `now`: monotonic seconds."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, Obis], _Vain] = {}
        self._newest: dict[Obis, dict[str, int]] = {}

    def returned(self, meter: str, profile: Obis, newest: int) -> None:
        """The meter has a row up to the moment `newest`: what is older and missing, it does not have."""
        known = self._newest.setdefault(profile, {})
        known[meter] = max(known.get(meter, 0), newest)

    def note(self, meter: str, profile: Obis, missing: Iterable[Range], now: float) -> bool:
        """The meter did not return these; return whether that is so not for the first time."""
        newest = self._newest.get(profile, {}).get(meter, 0)
        gaps = [(start, min(end, newest)) for start, end in missing if start < newest]
        if not gaps:
            return False
        vain = self._of.setdefault((meter, profile), _Vain(now))
        repeated = [part for gap in gaps for part in _common(gap, vain.once)]
        vain.again = merged([*vain.again, *repeated])[-REMEMBERED:]
        vain.once = merged([*vain.once, *gaps])[-REMEMBERED:]
        return bool(repeated)

    def without(self, meter: str, profile: Obis, gaps: Iterable[Range], now: float) -> list[Range]:
        """The gaps that are still worth asking for."""
        vain = self._of.get((meter, profile))
        if vain is None:
            return list(gaps)
        if now - vain.since >= FORGOTTEN_AFTER:
            del self._of[meter, profile]
            self._newest[profile].pop(meter, None)
            return list(gaps)
        return [rest for gap in gaps for rest in _minus(gap, vain.again)]

    def forget(self) -> None:
        self._of.clear()
        self._newest.clear()


def merged(ranges: Iterable[Range], near: int = 0) -> list[Range]:
    """In order; those joined that touch, or lie at most `near` apart."""
    joined: list[Range] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1] + near:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _common(gap: Range, others: Iterable[Range]) -> list[Range]:
    parts = ((max(gap[0], low), min(gap[1], high)) for low, high in others)
    return [part for part in parts if part[1] > part[0]]


def _minus(gap: Range, taken: Iterable[Range]) -> list[Range]:
    rest = [gap]
    for low, high in taken:
        rest = [
            part
            for start, end in rest
            for part in ((start, min(end, low)), (max(start, high), end))
            if part[1] > part[0]
        ]
    return rest
