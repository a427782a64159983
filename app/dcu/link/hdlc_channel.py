"""A Channel over HDLC: whole APDUs to and from one meter at the far end of a byte stream.

There is no task behind it: the link advances while somebody sends or receives, and it is a meter's nature to say
nothing in between. One exchange at a time, as everywhere above.
"""

import asyncio

from dcu.errors import LinkClosed, LinkError
from dcu.link.hdlc_client import ClientLink, Setup, State
from dcu.streams import ByteStream

FAREWELL = 1.0  # seconds for DISC and its answer


class HdlcChannel:
    """Made by `open_hdlc()`. A cancelled `send()` or `receive()` loses nothing: the next one goes on."""

    lossy = False

    def __init__(self, stream: ByteStream, setup: Setup) -> None:
        self.link = ClientLink(setup)
        self.sent = 0
        self.received = 0
        self._stream = stream
        self._due = 0.0  # a timer may fire by the clock's resolution too early: then it is this late at least

    async def connect(self) -> None:
        """Connect, or connect anew after an error. Raises LinkTimeout, LinkClosed or LinkError."""
        self.link.connect()
        while self.link.state is State.CONNECTING:
            await self._step()
        self._check()

    async def send(self, apdu: bytes) -> None:
        """Return when the last byte is on its way; the acknowledgement comes with the answer."""
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
        link.listening = True
        try:
            while True:
                if link.notifications:
                    return link.notifications.popleft()
                if link.received:
                    return link.received.popleft()
                self._check()
                if link.idle and link.owed:
                    link.poll()
                await self._step()
        finally:
            link.listening = False

    async def disconnect(self) -> None:
        """End the link in order, as far as the meter answers within a second; the stream stays open."""
        self.link.disconnect()
        try:
            async with asyncio.timeout(FAREWELL):
                while self.link.state is State.DISCONNECTING:
                    await self._step()
        except (TimeoutError, LinkError):
            self.link.give_up()

    async def close(self) -> None:
        try:
            await self.disconnect()
        finally:
            await self._stream.close()

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
            link.give_up()
            raise LinkClosed("the line to the meter was closed")
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


async def open_hdlc(stream: ByteStream, setup: Setup) -> HdlcChannel:
    """Connect to the meter at the far end of `stream`. Raises LinkTimeout, LinkClosed or LinkError; closes it then."""
    channel = HdlcChannel(stream, setup)
    try:
        await channel.connect()
    except BaseException:
        await stream.close()
        raise
    return channel
