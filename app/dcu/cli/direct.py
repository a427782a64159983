"""A link of the command's own to one meter, where no collector has it: options, counter floor, association, services.

The invocation counter starts above what was stored here and above what the meter says through its public client; a
meter that refuses the counter all the same is asked once more. Requests that only read are repeated on a channel that
may lose them; an action never is.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from dcu.cli.counters import CounterFile, own_title
from dcu.collect.dialogue import converse
from dcu.cosem import axdr
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, Association, Authentication
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange
from dcu.cosem.selection import Selection
from dcu.credentials import MeterKeys, Secret
from dcu.errors import AuthenticationFailed, ConfigError, DcuError, LinkTimeout, MeterError
from dcu.keys import keysfile
from dcu.link import tcp, udp
from dcu.link.channel import DatagramChannel, StreamChannel
from dcu.model import AttributeRef, MethodRef, Obis
from dcu.streams import Channel

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

PUBLIC_SAP = 16  # Green Book: the public client
OBJECT_LIST = AttributeRef(15, Obis.parse("0-0:40.0.0*255"), 2)
ATTEMPTS = 3  # on a channel that loses


@dataclass(frozen=True, slots=True)
class Target:
    """Where a meter is and how to speak to it, as the options say."""

    host: str
    port: int
    lossy: bool
    association: Association
    timeout: float

    @property
    def where(self) -> str:
        return ("udp://" if self.lossy else "tcp://") + tcp.address(self.host, self.port)


def target_options(function: F) -> F:
    """The options that every command to one meter shares, as the parameters that `target()` takes."""
    for option in (
        click.option("--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, help="Seconds."),
        click.option(
            "--keys", "keys_path", type=click.Path(path_type=Path), help="TOML: system_title, guek, gak, password."
        ),
        click.option("--dedicated", is_flag=True, help="Use a dedicated key for this association."),
        click.option(
            "--auth", type=click.Choice(["none", "low", "gmac"]), default="none", show_default=True, help="How."
        ),
        click.option("--server", type=click.IntRange(1, 0xFFFF), default=1, show_default=True, help="Server SAP."),
        click.option("--client", type=click.IntRange(1, 0xFFFF), default=PUBLIC_SAP, show_default=True, help="SAP."),
        click.option("--udp", "udp_at", metavar="HOST:PORT", help="Wrapper over UDP."),
        click.option("--tcp", "tcp_at", metavar="HOST:PORT", help="Wrapper over TCP."),
    ):
        function = option(function)
    return function


def target(
    *,
    tcp_at: str | None,
    udp_at: str | None,
    client: int,
    server: int,
    auth: str,
    dedicated: bool,
    keys_path: Path | None,
    timeout: float,
) -> Target:
    """What the options of `target_options` say. Raises ConfigError."""
    if (tcp_at is None) == (udp_at is None):
        raise ConfigError("say where the meter is: --tcp HOST:PORT or --udp HOST:PORT")
    at = tcp_at or udp_at or ""
    host, _, port = at.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 0x10000:
        raise ConfigError(f"{at!r} is no address: write HOST:PORT, for instance 192.0.2.7:4059 or [2001:db8::7]:4059")
    return Target(
        host.strip("[]"),
        int(port),
        udp_at is not None,
        _association(client, server, auth, dedicated, keys_path),
        timeout,
    )


def _association(client: int, server: int, auth: str, dedicated: bool, keys_path: Path | None) -> Association:
    if auth == "none":
        return Association(client, server)
    if keys_path is None:
        raise ConfigError(f"--auth {auth} needs --keys FILE: secrets are never given on the command line")
    keys = keysfile.load(keys_path)
    for warning in keys.warnings:
        click.secho(warning, err=True, fg="yellow")
    if auth == "low":
        only_password = MeterKeys(keys.system_title or b"", Secret(b""), Secret(b""), keys.low_password())
        return Association(client, server, Authentication.LOW, only_password)
    try:
        return Association(
            client,
            server,
            Authentication.GMAC,
            keys.meter_keys(),
            keys.client_title or own_title(),
            AUTHENTICATED_ENCRYPTED,
            dedicated,
        )
    except ValueError as error:
        raise ConfigError(f"{keys_path}: {error}") from None


class Direct:
    """An open association. `sent` and `received` count bytes on the wire."""

    def __init__(self, session: ClientSession, channel: Channel, timeout: float) -> None:
        self.session = session
        self.channel = channel
        self._timeout = timeout

    async def get(self, attribute: AttributeRef, selection: Selection | None = None) -> bytes:
        """The encoded value."""
        return await self._repeated(lambda: self.session.get(attribute, selection))

    async def value(self, attribute: AttributeRef) -> axdr.Data:
        return axdr.decode(await self.get(attribute))

    async def maybe(self, attribute: AttributeRef) -> axdr.Data | None:
        """The value, or None where the meter does not give it."""
        try:
            return await self.value(attribute)
        except MeterError:
            return None

    async def set(self, attribute: AttributeRef, value: axdr.Data) -> None:
        await self._converse(self.session.set(attribute, axdr.encode(value)))

    async def action(self, method: MethodRef, parameter: axdr.Data | None = None) -> bytes | None:
        """Never repeated: the caller reads the effect back."""
        return await self._converse(self.session.action(method, axdr.encode(parameter) if parameter else None))

    async def associate(self) -> None:
        await self._repeated(self.session.associate)

    async def release(self) -> None:
        await self._converse(self.session.release())

    async def _converse(self, exchange: Exchange[T]) -> T:
        return await converse(exchange, self.channel, timeout=self._timeout)

    async def _repeated(self, exchange: Callable[[], Exchange[T]]) -> T:
        attempts = ATTEMPTS if self.channel.lossy else 1
        while True:
            attempts -= 1
            try:
                return await self._converse(exchange())
            except LinkTimeout:
                if not attempts:
                    raise


@asynccontextmanager
async def connect(where: Target) -> AsyncIterator[Direct]:
    """Associate, and release at the end."""
    if not where.association.secured:
        async with _opened(where, where.association, _no_counter) as direct:
            yield direct
        return
    keys = where.association.keys
    assert keys is not None
    async with AsyncExitStack() as stack:
        counter = stack.enter_context(CounterFile(where.association.client_title, keys.system_title))
        if not counter.known:
            counter.raise_to(await meter_counter(where) + 1)
        try:
            direct = await stack.enter_async_context(_opened(where, where.association, counter.next))
        except (MeterError, AuthenticationFailed):
            floor = await _quietly(meter_counter(where))
            if floor is None or not counter.behind(floor + 1):
                raise
            counter.raise_to(floor + 1)  # somebody else spent counters of this key since we last did
            direct = await stack.enter_async_context(_opened(where, where.association, counter.next))
        yield direct


async def meter_counter(where: Target) -> int:
    """The highest invocation counter that the meter has seen, read through its public client. Raises ConfigError."""
    association = Association(PUBLIC_SAP, where.association.server_sap)
    candidates = {0, 1, where.association.client_sap & 0xFF}
    found = []
    async with _opened(where, association, _no_counter) as direct:
        for channel in sorted(candidates):
            value = await direct.maybe(AttributeRef(1, Obis(bytes((0, 0, 43, 1, channel, 255))), 2))
            if value is not None and isinstance(value.value, int):
                found.append(value.value)
    if not found:
        raise MeterError(
            f"{where.where}: the public client (SAP {PUBLIC_SAP}) gives no invocation counter (0-0:43.1.x*255); "
            "without its floor nothing may be ciphered"
        )
    return max(found)


@asynccontextmanager
async def _opened(where: Target, association: Association, counter: Callable[[], int]) -> AsyncIterator[Direct]:
    channel = await _channel(where, association)
    try:
        direct = Direct(ClientSession(association, counter=counter, lossy=where.lossy), channel, where.timeout)
        await direct.associate()
        yield direct
        await _quietly(direct.release())
    finally:
        await channel.close()


async def _channel(where: Target, association: Association) -> Channel:
    client, server = association.client_sap, association.server_sap
    if where.lossy:
        return DatagramChannel(await udp.connect(where.host, where.port, timeout=where.timeout), client, server)
    return StreamChannel(await tcp.connect(where.host, where.port, timeout=where.timeout), client, server)


def _no_counter() -> int:
    raise AssertionError("an association without ciphering spends no counter")


async def _quietly(step: Awaitable[T]) -> T | None:
    try:
        return await step
    except DcuError:
        return None
