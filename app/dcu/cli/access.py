"""How a command reaches a meter: through the running collector, or over a link of its own; the same face for both.

Where the collector has the meter it is asked: nobody else talks on its line or spends its invocation counters. An
address given with --tcp or --udp that belongs to a meter of a running collector goes through the collector, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from dcu.cli.collector import ask, socket_option
from dcu.cli.output import note
from dcu.errors import ConfigError, DcuError
from dcu.model import AttributeRef, Column, Obis

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Answer:
    """One attribute: raw is its encoded value; or `error` says why there is none."""

    asked: str
    attribute: AttributeRef | None = None
    raw: bytes = b""
    scaler: int = 0
    unit: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows of a profile: from `start` to `end`, or the `last` so many; all None: the whole buffer."""

    start: datetime | None = None
    end: datetime | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """A profile's rows: the clock (UTC, or None) and the status stand where the capture objects put them."""

    profile: Obis
    columns: tuple[Column, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class ClockAnswer:
    """meter_time in UTC; offset: seconds by which the meter is ahead; after: the offset read back."""

    meter_time: datetime
    offset: float
    adjusted: bool = False
    after: float | None = None


@dataclass(frozen=True, slots=True)
class RelayAnswer:
    output: bool
    state: str
    confirmed: bool


class Access(Protocol):
    """What commands do with one meter. All raise what `dcu.errors` draws."""

    def object_list(self) -> bytes: ...

    def read(self, names: Sequence[str]) -> list[Answer]: ...

    def profile(self, profile: Obis, window: Window) -> Rows: ...

    def clock(self, sync: bool) -> ClockAnswer: ...

    def relay(self, command: str) -> RelayAnswer: ...


def access_options(function: F) -> F:
    """The options by which every command names a meter; they arrive as keyword arguments for `open_access`."""
    from dcu.cli.direct import target_options

    function = click.option("--meter", help="A meter of the running collector, by its name.")(socket_option(function))
    return target_options(function)


def open_access(*, meter: str | None, socket: Path, family: str | None = None, **options: Any) -> Access:
    """Raises ConfigError."""
    located = options["tcp_at"] or options["udp_at"]
    if meter:
        if located:
            raise ConfigError("a meter is named (--meter) or located (--tcp, --udp), not both")
        return Collected(socket, meter)
    if located and (name := _owned(socket, ("udp://" if options["udp_at"] else "tcp://") + located)):
        note(f"{located} is {name} of the running collector: asking the collector")
        return Collected(socket, name)
    from dcu.cli.direct import target
    from dcu.cli.linked import Linked, time_rule

    linked = Linked(target(**options), time_rule(family))
    click.get_current_context().call_on_close(linked.close)
    return linked


def _owned(socket: Path, address: str) -> str | None:
    """The running collector's name for the meter at `address`; None where there is none."""
    if not socket.is_socket():
        return None
    try:
        return next((row["name"] for row in ask(socket, "meters") if row["address"] == address), None)
    except DcuError:
        return None  # a stale socket, or not for us


class Collected:
    """Through the collector's control socket."""

    def __init__(self, socket: Path, meter: str) -> None:
        self._socket = socket
        self._meter = meter

    def object_list(self) -> bytes:
        return bytes.fromhex(self._ask("objects")["raw"])

    def read(self, names: Sequence[str]) -> list[Answer]:
        return [
            Answer(name, error=found["error"])
            if "error" in found
            else Answer(
                name,
                AttributeRef.parse(found["attribute"]),
                bytes.fromhex(found["raw"]),
                found.get("scaler", 0),
                found.get("unit", ""),
            )
            for name, found in zip(names, self._ask("read", objects=list(names)), strict=True)
        ]

    def profile(self, profile: Obis, window: Window) -> Rows:
        if window.start is None:
            raise ConfigError("through the collector say --from (and --to); `dcu profile` shows what was collected")
        end = window.end or datetime.now(UTC)
        answer = self._ask(
            "profile",
            profile=str(profile),
            fetch=True,
            limit=100_000,
            **{"from": int(window.start.timestamp()), "to": int(end.timestamp()) + 1},
        )
        clock = Column(AttributeRef(8, Obis.parse("0-0:1.0.0*255"), 2))
        status = Column(AttributeRef(1, Obis.parse("0-0:96.10.1*255"), 2))
        columns = (
            Column(AttributeRef.parse(column["attribute"]), column["scaler"], column["unit"])
            for column in answer["columns"]
        )
        rows = [(datetime.fromtimestamp(row[0], UTC), *row[1:]) for row in answer["rows"]]
        return Rows(profile, (clock, status, *columns), rows)

    def clock(self, sync: bool) -> ClockAnswer:
        found = self._ask("clock", sync=sync or None)
        at = datetime.fromtimestamp(found["meter_time"], UTC)
        return ClockAnswer(at, found["offset"], found["adjusted"], found.get("after"))

    def relay(self, command: str) -> RelayAnswer:
        found = self._ask("command", command=command)
        return RelayAnswer(found["output"], found["state"], found["confirmed"])

    def _ask(self, method: str, **params: Any) -> Any:
        return ask(self._socket, method, meter=self._meter, **params)
