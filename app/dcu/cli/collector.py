"""What commands share that speak to a running collector through its control socket."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from dcu.control.messages import DEFAULT_SOCKET
from dcu.errors import ConfigError
from dcu.model import Obis

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path, readable=False)  # what is wrong with it says whoever reads it
FIRST_YEAR, LAST_YEAR = 1970, 2200
PAGE = 5_000  # rows that a call brings at most


def socket_option(function: F) -> F:
    """`--socket` as the parameter `socket`."""
    return click.option(
        "--socket",
        type=FILE,
        default=DEFAULT_SOCKET,
        envvar="DCU_SOCKET",
        show_default=True,
        metavar="FILE",
        help="The collector's control socket (also $DCU_SOCKET).",
    )(function)


def ask(socket: Path, method: str, **params: Any) -> Any:
    """One call to the collector; what is None is left out. Raises what the collector raised, or LinkError."""
    from dcu.control import client

    return client.ask(socket, method, **{key: value for key, value in params.items() if value is not None})


def pages(
    socket: Path,
    meter: str,
    profile: Obis | None,
    start: int,
    end: int,
    *,
    fetch: bool,
    timeout: float | None = None,
) -> dict[str, Any]:
    """What the collector has of a profile, all its pages as one answer. fetch: read what is missing first."""
    answer: dict[str, Any] | None = None
    while True:
        page = ask(
            socket,
            "profile",
            meter=meter,
            profile=str(profile) if profile else None,
            limit=PAGE,
            fetch=(fetch and answer is None) or None,
            timeout=timeout,
            **{"from": start, "to": end},  # `from` is a keyword
        )
        if answer is None:
            answer = page
        else:
            answer["rows"] += page["rows"]
        if not page["more"] or not page["rows"]:
            return {**answer, "more": False}
        start = page["rows"][-1][0] + 1


def moment(text: str) -> datetime:
    """Read `2026-11-19`, `2026-11-19T06:00` (UTC) or with an offset. Raises ConfigError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time: write 2026-11-19, 2026-11-19T06:00 (UTC) or …T06:00+02:00") from None
    if not FIRST_YEAR < at.year < LAST_YEAR:
        raise ConfigError(f"{text!r}: a meter's rows lie between {FIRST_YEAR} and {LAST_YEAR}")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def span(start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """The moments of --from and --to. Raises ConfigError, UsageError."""
    first, last = moment(start) if start else None, moment(end) if end else None
    if first and last and first > last:
        raise click.UsageError(f"--from {start} is after --to {end}")
    return first, last


def at(seconds: int) -> datetime | None:
    """The moment of a time in an answer; None for 0, which says never."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def written(moment: datetime | None) -> str | None:
    """A UTC time as people read it in a column that says UTC."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
