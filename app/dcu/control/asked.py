"""What the methods of the control socket take (docs/control.md): unknown names and wrong types are refused."""

from typing import Literal

import msgspec

DEADLINE = 300.0  # seconds, where a caller names none
ROWS = 5_000  # of a profile in one answer


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Nothing(Params, frozen=True):
    pass


class Meters(Params, frozen=True):
    names: tuple[str, ...] | None = None


class Import(Params, frozen=True):
    shipment: str
    transport_key: str


class HeadEnd(Params, frozen=True):
    file: str
    transport_key: str


class Meter(Params, frozen=True):
    meter: str


class Objects(Params, frozen=True):
    meter: str
    refresh: bool = False
    timeout: float = DEADLINE


class Read(Params, frozen=True):
    meter: str
    objects: tuple[str, ...]
    timeout: float = DEADLINE


class Profile(Params, frozen=True, rename={"start": "from", "end": "to"}):
    meter: str
    start: int
    end: int
    profile: str | None = None
    fetch: bool = False
    limit: int = ROWS
    timeout: float = DEADLINE


class Poll(Params, frozen=True):
    meters: tuple[str, ...] | None = None


class Clock(Params, frozen=True):
    meter: str
    sync: bool = False
    timeout: float = DEADLINE


class Command(Params, frozen=True):
    meter: str
    command: Literal["disconnect", "reconnect"]
    timeout: float = DEADLINE


class Opaque(Params, frozen=True):
    meter: str
    apdu: str
    priority: Literal["alarm", "command", "on_demand", "scheduled", "backfill"] = "on_demand"
    timeout: float = DEADLINE


class Jobs(Params, frozen=True):
    all: bool = False


class Cancel(Params, frozen=True):
    job: int


class Audit(Params, frozen=True):
    limit: int = 100
    before: int | None = None
