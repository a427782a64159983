"""HDLC over a terminal's two ends: what is lost, damaged, delayed, echoed, split or merged on the way is made good."""

import asyncio
from random import Random

import pytest

from dcu.link.hdlc import Address
from dcu.link.hdlc_channel import open_hdlc
from dcu.link.hdlc_client import Setup, State
from dcu.link.hdlc_parameters import Parameters
from dcu.link.hdlc_server import Station
from dcu.link.serial import Port, open_serial

from .pty import Pty

SIZES = (1, 5, 60, 61, 300, 1000)


class Weathered:
    """A meter at the far end of a pseudo-terminal, and what happens to the bytes between."""

    def __init__(self, kind, seed, share=0.08):
        self.line = Pty()
        self.kind = kind
        self.happened = 0
        self._random = Random(seed)
        self._share = share
        self._station = Station(lambda client, server, apdu: apdu[::-1], physical=17)
        self._said = asyncio.Queue()
        self._kept = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self.line.far, self._hear)
        self._speaking = asyncio.create_task(self._speak())

    def _hear(self):
        data = self.line.read()
        if self.kind == "echo":
            self.happened += 1
            self.line.write(data)
        answer = self._station.feed(self._spoilt(data), self._loop.time())
        if answer:
            self._said.put_nowait(self._spoilt(answer))

    def _spoilt(self, data):
        if self._random.random() >= self._share or self.kind not in ("lost", "flipped", "cut", "noise"):
            return data
        self.happened += 1
        at = self._random.randrange(len(data))
        return {
            "lost": b"",
            "flipped": data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :],
            "cut": data[:at],
            "noise": self._random.randbytes(5) + data,
        }[self.kind]

    async def _speak(self):
        while True:
            data = await self._said.get()
            if self.kind == "split":
                for at in range(0, len(data), 7):
                    self.happened += 1
                    self.line.write(data[at : at + 7])
                    await asyncio.sleep(0.001)
                continue
            if self.kind == "late" and self._random.random() < self._share:
                self.happened += 1
                await asyncio.sleep(self._random.random() * 0.25)
            if self.kind == "merged":
                self.happened += 1
                await asyncio.sleep(0.01)
                while not self._said.empty():
                    data += self._said.get_nowait()
            self.line.write(data)

    async def close(self):
        self._speaking.cancel()
        await asyncio.gather(self._speaking, return_exceptions=True)
        self._loop.remove_reader(self.line.far)
        self.line.unplug()


@pytest.mark.parametrize("kind", ["lost", "flipped", "cut", "noise", "split", "merged", "late", "echo"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_apdu_arrives_once_and_whole_whatever_the_line_does(kind, seed):
    meter = Weathered(kind, seed)
    setup = Setup(
        Address(16), Address(1, 17, 2), Parameters(60, 60, 3, 3), timeout=0.2, retries=12, inter_octet=0.05, poll=0.02
    )
    channel = await open_hdlc(await open_serial(Port(meter.line.path)), setup)
    for number in range(4):
        for size in SIZES:
            apdu = bytes((number, size & 0xFF)) * size
            await channel.send(apdu)
            assert await channel.receive() == apdu[::-1]
    assert meter.happened
    assert channel.link.state is State.CONNECTED
    await channel.close()
    await meter.close()
