"""A client that speaks to all meters of an HDLC line at once, and hears none of them.

Source: IEC 62056-46 clause 6.4 (the all-station address; UI frames, which need no link).
"""

import asyncio

from dcu.errors import LinkClosed
from dcu.link.hdlc import Address, broadcast, encode
from dcu.link.hdlc_parameters import DEFAULT
from dcu.streams import ByteStream


class BroadcastChannel:
    """A Channel that only sends. byte_time: seconds a byte takes on the line, for `send()` to wait for the last one.

    Nothing was agreed with anybody, so frames are as long as every meter takes (128 bytes of information).
    """

    lossy = True

    def __init__(self, stream: ByteStream, client: Address, meters: Address, *, byte_time: float = 0.0) -> None:
        self.sent = 0
        self.received = 0
        self._stream = stream
        self._client = client
        self._meters = meters
        self.byte_time = byte_time

    async def send(self, apdu: bytes) -> None:
        """Return when the last byte is on the line: what closes a port throws away what is not."""
        frames = broadcast(self._meters, self._client, apdu, max_information=DEFAULT.transmit)
        wire = b"".join(map(encode, frames))
        await self._stream.write(wire)
        self.sent += len(wire)
        await asyncio.sleep(self.byte_time * len(wire))

    async def receive(self) -> bytes:
        raise LinkClosed("nobody answers a broadcast")

    async def close(self) -> None:
        await self._stream.close()
