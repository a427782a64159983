"""What options of the `neighbourhood` command may be: each kind is understood, or says what is allowed."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click


class Checked(click.ParamType[Any]):
    """An option whose text a function understands, or says in a ValueError what is allowed."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no moment: write it as in 2025-11-20T12:00:00Z") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{text!r} is no time zone: write it as in Europe/Vienna or UTC") from None
    return text


def address(text: str) -> str:
    import ipaddress

    if not ipaddress.ip_address(text).is_loopback:
        raise ValueError(f"{text} is no loopback address: meters of a simulation stay on 127.0.0.0/8")
    return text


def fault(text: str) -> Any:
    from neighbourhood.faults import Fault

    return Fault.parse(text)


def listener(text: str) -> Any:
    from neighbourhood.push import Listener

    return Listener.parse(text)
