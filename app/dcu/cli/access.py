"""How a command reaches a meter: through the running collector, or over a link of its own; the same face for both.

Where the collector has the meter it is asked: nobody else talks on its line or spends its invocation counters. An
address given with --tcp or --udp that belongs to a meter of a running collector goes through the collector, too.
"""

import contextlib
import ipaddress
import os
import socket as resolver
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import click
from click.core import ParameterSource

from dcu.cli.carriers import PLACES, located
from dcu.cli.collector import ask
from dcu.cli.options import DIRECT, family_named, target
from dcu.cli.output import note
from dcu.collect.reach import endpoint
from dcu.cosem.datetimes import TimeZoneRule
from dcu.errors import DcuError
from dcu.model import AttributeRef, Column, MethodRef, Obis

BROADCASTING = ("write", "action")


@dataclass(frozen=True, slots=True)
class Answer:
    """One attribute: raw is its encoded value; or `error` says why there is none."""

    attribute: AttributeRef
    raw: bytes = b""
    scaler: int = 0
    unit: str = ""
    error: DcuError | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows of a profile: from `start` to `end`, or the `last` so many; all None: the whole buffer."""

    start: datetime | None = None
    end: datetime | None = None
    last: int | None = None

    @property
    def whole(self) -> bool:
        return self.start is None and self.last is None


@dataclass(frozen=True, slots=True)
class Rows:
    """A profile's rows: the clock (UTC, or None) and the status stand where the capture objects put them.

    zoned: whether the clock's deviation, or a family, says what UTC is; where not, the clock was taken for UTC.
    """

    profile: Obis
    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]]
    zoned: bool = True


@dataclass(frozen=True, slots=True)
class ClockAnswer:
    """meter_time in UTC; offset: seconds by which the meter is ahead; after: the offset read back; zoned: see Rows."""

    meter_time: datetime
    offset: float
    adjusted: bool = False
    after: float | None = None
    zoned: bool = True


@dataclass(frozen=True, slots=True)
class RelayAnswer:
    output: bool
    state: str
    confirmed: bool


@dataclass(frozen=True, slots=True)
class TokenAnswer:
    """accepted: None where the meter does not say; code: its own number, -1 for none."""

    accepted: bool | None
    code: int
    meaning: str
    confirmed: bool


class Access(Protocol):
    """What commands do with one meter. All raise what `dcu.errors` draws."""

    @property
    def rule(self) -> TimeZoneRule | None:
        """The meter's clock; None where nobody tells."""
        ...

    def object_list(self) -> bytes: ...

    def read(self, attributes: Sequence[AttributeRef]) -> list[Answer]:
        """One answer each; what befell one attribute alone stands in its answer."""
        ...

    def profile(self, profile: Obis, window: Window) -> Rows: ...

    def clock(self, sync: bool) -> ClockAnswer: ...

    def relay(self, command: str) -> RelayAnswer: ...

    def token(self, digits: str) -> TokenAnswer:
        """Enter a token, once."""
        ...

    def write(self, attribute: AttributeRef, raw: bytes, *, unconfirmed: bool = False) -> bytes | None:
        """Write an encoded value, once; return what the meter holds then, None where it does not let us read it."""
        ...

    def call(self, method: MethodRef, raw: bytes | None, *, unconfirmed: bool = False) -> bytes | None:
        """Call a method, once; return what it returned, encoded: None where no answer was asked for."""
        ...


def open_access(*, meter: str | None, socket: Path, **options: Any) -> Access:
    """What the options of `meter_options` lead to. Raises UsageError, ConfigError."""
    from dcu.cli.collected import Collected

    context = click.get_current_context()
    if sum(where is not None for where in (meter, *(options[place] for place in PLACES))) != 1:
        raise click.UsageError("say which meter: one of --tcp HOST:PORT, --udp HOST:PORT, --serial DEV, --meter NAME")
    given = [name for name in DIRECT if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if options["broadcast"] and context.command.name not in BROADCASTING:
        raise click.UsageError("--broadcast is for `dcu write` and `dcu action`: nobody answers it")
    family_named(options["family"])  # what is wrong with it is said before anybody is asked
    if meter is not None:
        if given:
            names = ", ".join(param.opts[0] for param in context.command.params if param.name in given)
            raise click.UsageError(f"{names}: a meter of the collector (--meter) is spoken to as the collector does it")
        return Collected(socket, meter, options["family"], options["timeout"])
    written = options["tcp_at"] or options["udp_at"] or ""
    if written and (name := _owned(socket, *located(written), options["physical"])):
        unused = ", its own way: client, authentication and keys are the collector's" if given else ""
        note(f"{written} is {name} of the running collector, which is asked{unused}")
        return Collected(socket, name, options["family"], options["timeout"])
    from dcu.cli.linked import Linked

    linked = Linked(target(**options))
    context.call_on_close(linked.close)
    return linked


def _owned(socket: Path, host: str, port: int, physical: int | None) -> str | None:
    """The running collector's name for the meter there; None where there is none."""
    if not socket.is_socket():
        return None
    if not os.access(socket, os.W_OK):
        note(f"a collector runs here, but {socket} is not for you: if the meter is one of its own, both talk to it now")
        return None
    try:
        meters = ask(socket, "meters")
    except DcuError:
        return None  # the socket of a collector that died
    return next((str(row["name"]) for row in meters if _same(row["address"], host, port, physical)), None)


def _same(registered: str, host: str, port: int, physical: int | None) -> bool:
    """Whether a meter's address is this host and port, however the host is written, and whatever carries it."""
    place, _, theirs = registered.partition("://")[2].partition("/")
    found = endpoint(place)
    if found is None or found[1] != port or theirs != str(physical or ""):
        return False
    return found[0] == host or not _addresses(found[0]).isdisjoint(_addresses(host))


@cache
def _addresses(host: str) -> frozenset[str]:
    with contextlib.suppress(ValueError):
        return frozenset((str(ipaddress.ip_address(host)),))
    try:
        return frozenset(str(entry[4][0]) for entry in resolver.getaddrinfo(host, None))
    except OSError:
        return frozenset()
