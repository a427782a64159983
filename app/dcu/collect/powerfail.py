"""What to do when the mains fail, as a state machine: events and times in, what to do out. Nothing here waits.

    powered ─failed→ committing ─→ sending ─→ noting ─→ holding ─→ off
       ↑                                                            │
       └────────────── the mains are back, at any time ─────────────┘

No step can hold up the next: each has its time, and `late` moves on when that has passed. What must happen (the
packet, the frozen store, switching off) does not depend on anything that may hang (a disk, a network). Until shortly
before the device forces the end it only holds, frozen, because most outages are short.
"""

from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    POWERED = "powered"
    COMMITTING = "committing"
    SENDING = "sending"
    NOTING = "noting"
    HOLDING = "holding"
    OFF = "off"


class Do(StrEnum):
    """What is to be done. COMMIT, SEND, NOTE are answered by `committed`, `sent`, `noted`; the rest is done at once."""

    HALT = "begin no exchange"
    COMMIT = "commit what is buffered, until `until`"
    FREEZE = "write nothing any more"
    SEND = "tell the head-end"
    NOTE = "keep a line in the audit log"
    DONE = "tell the driver that we have finished"
    OFF = "switch off"
    THAW = "write again"
    RESUME = "go on with the exchanges"
    TELL = "raise an alarm: there was an outage"


@dataclass(frozen=True, slots=True)
class Terms:
    """How the time until the forced end is shared out."""

    commit: float = 0.5  # share of the time until switching off that the store may take
    send: float = 2.0  # seconds for the packets to leave
    note: float = 0.5  # seconds that must be left for the audit log to be written to
    off_before: float = 2.0  # seconds between switching off and the forced end; never more than half of all


class PowerFail:
    """The machine. Times are the caller's, in seconds; `until` is when `late` is due, None: never."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self.stage = Stage.POWERED
        self.frozen = False
        self.outage = 0  # number of the present one, or of the last: what answers an earlier one is not heard
        self.until: float | None = None
        self.off_at = 0.0

    def failed(self, now: float, deadline: float) -> tuple[Do, ...]:
        """The mains failed; at `deadline` the end comes whatever we do."""
        if self.stage is not Stage.POWERED:
            return ()
        left = max(0.0, deadline - now)
        self.outage += 1
        self.off_at = now + max(left - self._terms.off_before, left / 2)
        self._enter(Stage.COMMITTING, now + self._terms.commit * (self.off_at - now))
        return Do.HALT, Do.COMMIT

    def committed(self, outage: int, now: float, *, whole: bool) -> tuple[Do, ...]:
        """whole: nothing waits in RAM any more."""
        return self._send(now, whole=whole) if self._answers(outage, Stage.COMMITTING) else ()

    def sent(self, outage: int, now: float) -> tuple[Do, ...]:
        if not self._answers(outage, Stage.SENDING):
            return ()
        if self.frozen or self.off_at - now < self._terms.note:
            return self._hold()
        self._enter(Stage.NOTING, self.off_at)
        return (Do.NOTE,)

    def noted(self, outage: int, now: float) -> tuple[Do, ...]:
        return self._hold() if self._answers(outage, Stage.NOTING) else ()

    def late(self, now: float) -> tuple[Do, ...]:
        """Time has passed: move on from a step that took too long, and switch off at the end."""
        if self.until is None or now < self.until:
            return ()
        if self.stage is Stage.COMMITTING:
            return self._send(now, whole=False)
        if self.stage is Stage.HOLDING:
            self._enter(Stage.OFF, None)
            return (Do.OFF,)
        return self._hold()

    def returned(self) -> tuple[Do, ...]:
        """The mains are back. Where we hear it although switching off has begun, that was in vain: go on."""
        if self.stage is Stage.POWERED:
            return ()
        thaw = (Do.THAW,) if self.frozen else ()
        self.frozen = False
        self._enter(Stage.POWERED, None)
        return *thaw, Do.RESUME, Do.TELL

    def _answers(self, outage: int, stage: Stage) -> bool:
        return outage == self.outage and self.stage is stage

    def _enter(self, stage: Stage, until: float | None) -> None:
        self.stage, self.until = stage, until

    def _send(self, now: float, *, whole: bool) -> tuple[Do, ...]:
        self._enter(Stage.SENDING, min(now + self._terms.send, self.off_at))
        return (Do.SEND,) if whole else (*self._freeze(), Do.SEND)

    def _hold(self) -> tuple[Do, ...]:
        self._enter(Stage.HOLDING, self.off_at)
        return *self._freeze(), Do.DONE

    def _freeze(self) -> tuple[Do, ...]:
        frozen, self.frozen = self.frozen, True
        return () if frozen else (Do.FREEZE,)
