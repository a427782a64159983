"""The passage between Linux and the PAN, for a field engineer's ping: an optional TUN interface.

Narrow on purpose. Out goes what is from the coordinator's own address to a meter that has joined: echo requests, and
UDP from ports that are not the collector's, so that nobody on the device can speak in the middle of an association. In
comes what a meter sends to such a port, echo replies, and errors. Linux's own talk (neighbour discovery, multicast)
stays outside. One packet is under way at a time: the collector's exchanges keep the rest of the modem's window.

Source: RFC 8200; RFC 4443 (2.1: messages, 4: echo).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from dcu.errors import ConfigError, DecodeError, LinkClosed, LinkError
from dcu.fan.g3 import ipv6
from dcu.fan.tun import Tun

AGAIN = 30.0  # seconds before an interface that is not there is looked for again
ECHO_REQUEST, ECHO_REPLY = 128, 129
ERRORS = range(1, 5)  # unreachable, too big, time exceeded, parameter problem

Send = Callable[[int, bytes], Awaitable[None]]  # to a short address, a whole packet; raises LinkError

log = logging.getLogger(__name__)


class Passage:
    """Of one network. attach: see Tun.attach; member: whether a short address is that of a meter that has joined;
    ours: UDP ports that are the collector's."""

    def __init__(
        self,
        attach: Callable[[], Tun],
        pan: int,
        address: bytes,
        ours: Collection[int],
        member: Callable[[int], bool],
        send: Send,
        counts: Counter[str],
    ) -> None:
        self._attach = attach
        self._pan = pan
        self._address = address
        self._ours = ours
        self._member = member
        self._send = send
        self._counts = counts
        self._tun: Tun | None = None
        self._trouble = ""

    async def keep(self) -> None:
        """Carry packets out until cancelled. An interface that is not there is complained of once."""
        while True:
            try:
                with self._attach() as self._tun:
                    self._trouble = ""
                    while True:
                        await self._carry(await self._tun.receive())
            except (ConfigError, LinkClosed) as error:
                if str(error) != self._trouble:
                    log.warning("%s", error)
                self._trouble = str(error)
            finally:
                self._tun = None
            await asyncio.sleep(AGAIN)

    async def _carry(self, packet: bytes) -> None:
        try:
            short = self.destination(packet)
        except DecodeError:
            self._counts["tun-refused"] += 1
            return
        with suppress(LinkError):  # as in any network: who sent it hears nothing
            await self._send(short, packet)
            self._counts["tun-sent"] += 1

    def destination(self, packet: bytes) -> int:
        """The short address that a packet of Linux's may go to. Raises DecodeError: it stays outside."""
        found = ipv6.opened(packet)
        if found.source != self._address:
            raise DecodeError("not from the coordinator's own address", 8)
        short = ipv6.short_address(found.destination, self._pan)
        if found.destination[:8] != ipv6.LINK_LOCAL or not self._member(short):
            raise DecodeError("to nobody who has joined", 24)
        if found.following == ipv6.UDP and ipv6.decode(packet).source_port not in self._ours:
            return short
        if found.following == ipv6.ICMP and found.body[0] == ECHO_REQUEST:
            return short
        raise DecodeError("neither an echo request nor UDP from a port of its own", ipv6.HEADER)

    def arrived(self, packet: bytes) -> bool:
        """Hand Linux what a meter sent; whether it is something for Linux. Never raises."""
        if self._tun is None:
            return False
        try:
            found = ipv6.opened(packet)
            if found.destination != self._address or not self._member(ipv6.short_address(found.source, self._pan)):
                return False
            if found.following == ipv6.UDP:
                wanted = ipv6.decode(packet).destination_port not in self._ours
            else:
                wanted = found.following == ipv6.ICMP and (found.body[0] == ECHO_REPLY or found.body[0] in ERRORS)
        except DecodeError:
            return False
        if wanted:
            self._counts["tun-received" if self._tun.send(packet) else "tun-dropped"] += 1
        return wanted
