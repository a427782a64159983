"""Channels: whole APDUs between one client SAP and one server SAP, over a stream or over datagrams (IEC 62056-47).

A frame for other addresses is no business of this association: it is dropped and counted. Nothing that a line brings
raises anything but LinkError and its two branches.
"""

from collections import deque

from dcu.errors import DecodeError, LinkClosed, LinkError
from dcu.link import wrapper
from dcu.streams import ByteStream, Datagram


class StreamChannel:
    """A Channel over a byte stream (TCP). `dropped` counts frames for other addresses."""

    lossy = False
    byte_time = 0.0

    def __init__(self, stream: ByteStream, client: int, server: int) -> None:
        self.client = client
        self.server = server
        self.sent = 0
        self.received = 0
        self.dropped = 0
        self._stream = stream
        self._decoder = wrapper.Decoder()
        self._ready: deque[bytes] = deque()
        self._broken: DecodeError | None = None

    async def send(self, apdu: bytes) -> None:
        frame = wrapper.encode(self.client, self.server, apdu)
        await self._stream.write(frame)
        self.sent += len(frame)

    async def receive(self) -> bytes:
        """Return the next whole APDU. Raises LinkClosed at the end, LinkError where there is no wrapper framing."""
        while not self._ready:
            if self._broken is not None:
                await self._stream.close()
                raise LinkError(f"{self._broken}: check that this port speaks the DLMS wrapper (IEC 62056-47)")
            data = await self._stream.read()
            if not data:
                raise LinkClosed(self._ending())
            self.received += len(data)
            try:
                for frame in self._decoder.feed(data):
                    self._sort(frame)
            except DecodeError as error:
                self._broken = error  # told once the good frames before it are delivered
        return self._ready.popleft()

    async def close(self) -> None:
        await self._stream.close()

    def _sort(self, frame: wrapper.Frame) -> None:
        if frame.source == self.server and frame.destination == self.client:
            self._ready.append(frame.apdu)
        else:
            self.dropped += 1

    def _ending(self) -> str:
        cut = f", in the middle of a frame ({self._decoder.pending} bytes of it came)" if self._decoder.pending else ""
        return f"the meter closed the connection{cut}"


class DatagramChannel:
    """A Channel over datagrams (UDP). `dropped` counts frames for other addresses, `malformed` what is no frame."""

    lossy = True
    byte_time = 0.0

    def __init__(self, datagram: Datagram, client: int, server: int) -> None:
        self.client = client
        self.server = server
        self.sent = 0
        self.received = 0
        self.dropped = 0
        self.malformed = 0
        self._datagram = datagram

    async def send(self, apdu: bytes) -> None:
        frame = wrapper.encode(self.client, self.server, apdu)
        await self._datagram.send(frame)
        self.sent += len(frame)

    async def receive(self) -> bytes:
        """Return the next whole APDU. Raises LinkClosed at the end."""
        while True:
            data = await self._datagram.receive()
            self.received += len(data)
            try:
                frame = wrapper.decode(data)
            except DecodeError:
                self.malformed += 1
                continue
            if frame.source == self.server and frame.destination == self.client:
                return frame.apdu
            self.dropped += 1

    async def close(self) -> None:
        await self._datagram.close()
