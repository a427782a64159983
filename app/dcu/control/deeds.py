"""The methods of the control socket that bring something into a meter: images, tokens (contract: docs/control.md)."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from dcu.collect.fleet import Fleet
from dcu.collect.imaging import Imaging, plain
from dcu.collect.jobs import token
from dcu.collect.jobs.image import Order
from dcu.collect.scheduler import Job, Scheduler
from dcu.collect.services import Services
from dcu.control.asked import Params
from dcu.errors import ConfigError
from dcu.model import Priority

Handler = Callable[[Any, str], Awaitable[Any]]


class _Offer(Params, frozen=True):
    sha256: str
    size: int
    offset: int = 0
    data: str = ""


class _Send(Params, frozen=True):
    meters: tuple[str, ...]
    sha256: str
    size: int
    identifier: str
    expected: str | None = None
    signature: str = ""
    activate: bool = False
    at: int = 0


class _Named(Params, frozen=True):
    meters: tuple[str, ...] | None = None


class _Activate(Params, frozen=True):
    meters: tuple[str, ...]
    at: int = 0


class _Cancel(Params, frozen=True):
    meters: tuple[str, ...]


class _Token(Params, frozen=True):
    meter: str
    token: str
    timeout: float = 300.0


class Deeds:
    """Answers calls; `methods`: by name, what they take and who answers."""

    def __init__(self, services: Services, fleet: Fleet, scheduler: Scheduler, imaging: Imaging) -> None:
        self._services = services
        self._scheduler = scheduler
        self._fleet = fleet
        self._imaging = imaging
        self.methods: dict[str, tuple[type[Any], Handler]] = {
            "image.offer": (_Offer, self._offer),
            "image.send": (_Send, self._send),
            "image.status": (_Named, self._status),
            "image.activate": (_Activate, self._activate),
            "image.cancel": (_Cancel, self._cancel),
            "token": (_Token, self._token),
        }

    async def _offer(self, params: _Offer, actor: str) -> dict[str, Any]:
        data = _hex("data", params.data)
        return {"have": await self._imaging.offer(params.sha256, params.size, params.offset, data)}

    async def _send(self, params: _Send, actor: str) -> list[dict[str, Any]]:
        identifier = _hex("identifier", params.identifier)
        order = Order(
            sha256=params.sha256,
            size=params.size,
            identifier=identifier,
            expected=identifier if params.expected is None else _hex("expected", params.expected),
            signature=_hex("signature", params.signature),
            activate=params.activate,
            at=params.at,
        )
        return plain(await self._imaging.send(params.meters, order, actor))

    async def _status(self, params: _Named, actor: str) -> list[dict[str, Any]]:
        return plain(self._imaging.views(params.meters))

    async def _activate(self, params: _Activate, actor: str) -> list[dict[str, Any]]:
        return plain(await self._imaging.activate(params.meters, params.at, actor))

    async def _cancel(self, params: _Cancel, actor: str) -> list[dict[str, Any]]:
        return plain(await self._imaging.cancel(params.meters, actor))

    async def _token(self, params: _Token, actor: str) -> dict[str, Any]:
        meter, digits = self._fleet.get(params.meter), token.checked(params.token)

        async def work(job: Job) -> token.TokenReport:
            return await token.enter_token(self._services, job, digits, actor)

        return asdict(await self._scheduler.run("token", meter, Priority.COMMAND, work, deadline=params.timeout))


def _hex(key: str, text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ConfigError(f"{key}: hexadecimal digits") from None
