"""The values that the store hands out: a meter as it is registered, a row of the outbox, a line of the audit log."""

from dataclasses import dataclass
from enum import StrEnum

from dcu.model import Priority


@dataclass(frozen=True, slots=True)
class Settings:
    """How the store trades flash for loss: what waits in RAM is lost in a crash, and read again from the meters."""

    retention_days: int = 30
    commit_every: int = 6 * 3600  # seconds a reading may wait in RAM
    commit_rows: int = 10_000  # and how many may: about 3 MB, and what three seconds commit when the mains fail
    ballast: int = 8 << 20  # bytes kept aside for alarms on a full disk; 0: none
    audit_rows: int = 50_000  # of commands and imports, and a fourth as many of each lesser class; the oldest go
    outbox_bytes: int = 4 << 20  # of each kind: two kinds fit into the ballast

    def __post_init__(self) -> None:
        if self.retention_days < 1 or self.commit_every < 0 or self.commit_rows < 1:
            raise ValueError("a store keeps at least one day, and commits at least one row at a time")
        if self.ballast < 0 or self.audit_rows < 1 or self.outbox_bytes < 1:
            raise ValueError("neither ballast nor audit log nor outbox can be negative")


class MeterState(StrEnum):
    OK = "ok"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class MeterRecord:
    """A registered meter. `id` is what rows carry, never given to another; `since` is when `state` began."""

    id: int
    name: str
    address: str
    profile: str  # name of the meter profile (its family), not of a load profile
    system_title: bytes
    state: MeterState
    reason: str
    since: int


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """What waits for the head-end's acknowledgement. `seq` only ever grows, also over acknowledged items."""

    seq: int
    at: int
    kind: str
    priority: Priority
    meter: str | None
    payload: bytes


@dataclass(frozen=True, slots=True)
class AuditEntry:
    seq: int
    at: int
    actor: str
    action: str
    subject: str
    detail: str
    count: int = 1  # how often within an hour; `last` is when it was the last time
    last: int = 0


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """For a status page: cheap to get, read from RAM and the directory."""

    days: int
    first_day: str | None
    last_day: str | None
    buffered: int
    refused: int  # rows dated in the future or before retention
    discarded: int  # rows given up on a full disk: they show as gaps
    set_aside: int  # damaged day files
    damaged_rows: int  # dropped one by one, to be collected again
    outbox_dropped: int  # unacknowledged items that gave way to newer ones of their kind
    ballast: bool
    free: int  # bytes


@dataclass(frozen=True, slots=True)
class Flushed:
    """What a flush against a deadline did: rows committed, rows that still wait in RAM, seconds it took."""

    rows: int
    left: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` saw. serious: something is wrong; otherwise it is only worth knowing."""

    file: str
    text: str
    serious: bool


@dataclass(frozen=True, slots=True)
class StoreReport:
    """What `check` found, in numbers and sentences. damaged: days (since 1970) whose files have serious findings."""

    directory: str
    in_use: bool
    files: int
    readings: int
    meters: int
    outbox: int
    findings: tuple[Finding, ...]
    damaged: tuple[int, ...] = ()

    @property
    def ok(self) -> bool:
        return not any(finding.serious for finding in self.findings)
