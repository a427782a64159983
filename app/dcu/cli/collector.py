"""What commands share that speak to a running collector through its control socket."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from dcu.control.messages import DEFAULT_SOCKET
from dcu.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])


def socket_option(function: F) -> F:
    """`--socket` as the parameter `socket`."""
    return click.option(
        "--socket",
        type=click.Path(path_type=Path),
        default=DEFAULT_SOCKET,
        envvar="DCU_SOCKET",
        show_default=True,
        help="The collector's control socket (also $DCU_SOCKET).",
    )(function)


def ask(socket: Path, method: str, **params: Any) -> Any:
    """One call to the collector; what is None is left out. Raises what the collector raised, or LinkError."""
    from dcu.control import client

    return client.ask(socket, method, **{key: value for key, value in params.items() if value is not None})


def moment(text: str | None, default: datetime | None = None) -> datetime | None:
    """Read `2026-11-19`, `2026-11-19T06:00` (UTC) or with an offset. Raises ConfigError."""
    if text is None:
        return default
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{text!r} is no time: write 2026-11-19, 2026-11-19T06:00 (UTC) or …T06:00+02:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def at(seconds: object) -> str | None:
    """UTC seconds as people read them."""
    return None if seconds is None else datetime.fromtimestamp(int(str(seconds)), UTC).strftime("%Y-%m-%d %H:%M:%S")
