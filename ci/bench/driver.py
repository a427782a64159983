"""What a datagram costs the G3-PLC driver: flow control, IPv6, UDP and USI, to the serial line and back.

The modem at the other end is set up as any, and then says by rote what comes next: for each frame that it is sent, the
confirm and a meter's answer, both encoded before. So nearly all that is measured is the driver.

`python ci/bench/driver.py` prints what it found.
"""

import asyncio
import time
from collections.abc import Iterator

from dcu.fan.g3 import ipv6, messages, reports, usi
from dcu.fan.g3.network import CLIENT_PORT
from dcu.fan.g3.transmit import HANDLES
from dcu.streams import ByteStream
from tests.fan.scripted import PAN, ScriptedModem, eui, rig

ROUNDS = 4_000
REQUEST, ANSWER = bytes(70), bytes(400)  # as in a night: a GET, and rows


class ByRote(ScriptedModem):
    """`answers` None: a scripted modem; else what it says to each frame in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: Iterator[bytes] | None = None

    async def serve(self, stream: ByteStream) -> None:
        self.stream = stream
        decoder = usi.Decoder()
        while data := await stream.read():
            if self.answers is None:
                for frame in decoder.feed(data):
                    await self.take(messages.decode_request(frame.payload))
                continue
            for _ in range(data.count(b"\x7e") // 2):
                await stream.write(next(self.answers))


def _by_rote(first: int, short: int) -> Iterator[bytes]:
    source, ours = ipv6.address(PAN, short), ipv6.address(PAN, 0)
    packet = ipv6.encode(ipv6.Datagram(source, ours, 4059, CLIENT_PORT, ANSWER))
    answer = _framed(reports.DataIndication(90, packet))
    confirms = [_framed(reports.DataConfirm(0, handle)) + answer for handle in range(HANDLES)]
    while True:
        yield confirms[first]
        first = (first + 1) % HANDLES


def _framed(report: messages.Message) -> bytes:
    return usi.encode(usi.Frame(usi.Protocol.ADP, messages.encode(report)))


async def _measured() -> float:
    modem = ByRote()
    async with rig(modem=modem) as street:
        await street.joined(1)
        await asyncio.sleep(0.1)
        short = street.network.plan.short(eui(1))
        endpoint = await street.network.datagram(eui(1))
        modem.answers = _by_rote(0, short)
        began = time.process_time()
        for _ in range(ROUNDS):
            await endpoint.send(REQUEST)
            assert await endpoint.receive() == ANSWER
        return (time.process_time() - began) / (2 * ROUNDS)


def measure() -> float:
    """Seconds of processor time a datagram, sent or received."""
    return asyncio.run(_measured())


if __name__ == "__main__":
    print(f"{measure() * 1e6:.0f} µs a datagram")  # noqa: T201
