"""A Channel over HDLC: whole APDUs to and from one meter at the far end of a byte stream.

There is no task behind it: the link advances while somebody sends or receives, and it is a meter's nature to say
nothing in between. One exchange at a time, as everywhere above. On a line that it shares with others the channel has
the floor from a request to the end of its answer.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from dcu.errors import LinkClosed, LinkError
from dcu.link.hdlc_client import ClientLink, Setup, State
from dcu.link.line import Alone, Floor
from dcu.streams import ByteStream

FAREWELL = 1.0  # seconds for DISC and its answer


class HdlcChannel:
    """Made by `open_hdlc()`. A cancelled `send()` or `receive()` loses nothing: the next one goes on."""

    lossy = False

    def __init__(self, stream: ByteStream, setup: Setup, floor: Floor | None = None) -> None:
        self.link = ClientLink(setup)
        self.sent = 0
        self.received = 0
        self._stream = stream
        self._floor = floor or Alone()
        self._shared = floor is not None
        self._due = 0.0  # a timer may fire by the clock's resolution too early: then it is this late at least

    @property
    def byte_time(self) -> float:
        return self.link.setup.byte_time

    async def connect(self) -> None:
        """Connect, or connect anew after an error. Raises LinkTimeout, LinkClosed or LinkError."""
        async with self._speaking():
            self.link.connect()
            while self.link.state is State.CONNECTING:
                await self._step()
            self._check()
        self._floor.give()

    async def send(self, apdu: bytes) -> None:
        """Return when the last byte is on its way; the acknowledgement comes with the answer."""
        async with self._speaking():
            self._check()
            self.link.send(apdu)
            while self.link.unsent:
                await self._step()
                self._check()
            await self._write()

    async def receive(self) -> bytes:
        """Return the next whole APDU, answer or notification; asks the meter for the answers that it still owes.

        Raises LinkTimeout when the meter does not answer at all, LinkClosed at the end, LinkError where it rejects.
        """
        link = self.link
        if not self._arrived and link.turn_until is None and not link.owed:
            await asyncio.sleep(0)  # who only looks whether something is there must not have a frame sent for it
        link.listening = True
        try:
            async with self._speaking():
                while not self._arrived:
                    self._check()
                    if link.idle and (link.owed or link.cut_off):
                        link.poll()
                    await self._step()
                link.listening = False
                await self._settle()
            self._floor.give()
        finally:
            link.listening = False
        return (link.notifications or link.received).popleft()

    async def disconnect(self) -> None:
        """End the link in order, as far as the meter answers within a second; the stream stays open."""
        if self.link.state is State.DISCONNECTED:
            return
        try:
            async with self._speaking():
                self.link.disconnect()
                async with asyncio.timeout(FAREWELL):
                    while self.link.state is State.DISCONNECTING:
                        await self._step()
            self._floor.give()
        except (TimeoutError, LinkError):
            self.link.give_up()

    async def close(self) -> None:
        try:
            await self.disconnect()
        finally:
            await self._stream.close()

    @asynccontextmanager
    async def _speaking(self) -> AsyncIterator[None]:
        """Have the floor; what goes wrong gives it back. Who ends in peace keeps it."""
        await self._floor.take()
        try:
            yield
        except BaseException:
            self._floor.give(self.link.turn_until)
            raise

    @property
    def _arrived(self) -> bool:
        return bool(self.link.notifications or self.link.received)

    async def _settle(self) -> None:
        """Hear the meter out before somebody else speaks: its answer may have come before its last word."""
        with suppress(LinkError):  # what came is good; the next to speak is told
            while self._shared and self.link.turn_until is not None:
                await self._step()

    async def _step(self) -> None:
        """Write what there is to write, and wait for the line or the clock."""
        link = self.link
        await self._write()
        deadline = link.deadline
        try:
            async with asyncio.timeout_at(deadline):
                data = await self._stream.read()
        except TimeoutError:
            self._due = deadline or 0.0
            link.tick(self._now())
            return
        if not data:
            doubt = ": does the meter speak HDLC there?" if link.state is State.CONNECTING else ""
            link.give_up()
            raise LinkClosed(f"the line to the meter was closed{doubt}")
        self.received += len(data)
        link.feed(data, self._now())
        link.tick(self._now())  # noise that never ends would keep the timer from firing

    def _now(self) -> float:
        return max(self._due, asyncio.get_running_loop().time())

    async def _write(self) -> None:
        if wire := self.link.output(self._now()):
            self.sent += len(wire)
            await self._stream.write(wire)

    def _check(self) -> None:
        if self.link.state is not State.CONNECTED:
            raise self.link.error or LinkClosed("the HDLC link is not connected")


async def open_hdlc(stream: ByteStream, setup: Setup, floor: Floor | None = None) -> HdlcChannel:
    """Connect to the meter at the far end of `stream`; where others share it, `floor` is the right to speak.

    Raises LinkTimeout, LinkClosed or LinkError; closes `stream` then.
    """
    channel = HdlcChannel(stream, setup, floor)
    try:
        await channel.connect()
    except BaseException:
        await stream.close()
        raise
    return channel
