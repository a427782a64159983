"""The modem's end of the serial line: frames out at the line's speed, frames in, and what goes wrong between.

Faults are set from outside and drawn from a seed: bits turn, the modem is deaf or mute, what it is saying breaks off.
"""

from collections import deque
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from neighbourhood.g3 import usi
from neighbourhood.g3.events import Scheduler, Timer

BYTE = 10 / 115200  # seconds


class Uart:
    """`say` gets what goes out. noise: share of bytes of which one bit turns, both ways; byte: seconds a byte takes."""

    def __init__(self, scheduler: Scheduler, random: Random, byte: float = BYTE) -> None:
        self.say: Callable[[bytes], Any] = lambda data: None
        self.noise = 0.0
        self.overrun = 0  # bytes that came while nobody listened
        self.receiver = usi.Receiver()
        self._scheduler, self._random, self._byte = scheduler, random, byte
        self._silent_until = 0.0
        self._under_way: deque[tuple[Timer, float, bytes]] = deque()

    def silence(self, seconds: float) -> None:
        """Neither hear nor speak."""
        self._silent_until = max(self._silent_until, self._scheduler.now + seconds)

    def break_off(self) -> None:
        """What was not said yet is never said; what is being said stops in the middle."""
        now = self._scheduler.now
        for timer, _, _ in self._under_way:
            self._scheduler.cancel(timer)
        if self._under_way:
            _, end, data = self._under_way[0]
            if said := data[: max(0, len(data) - round((end - now) / self._byte))]:
                self.say(said)
        self._under_way.clear()
        self.receiver = usi.Receiver()

    def heard(self, data: bytes) -> Iterator[usi.Frame]:
        if self._silent_until > self._scheduler.now:
            self.overrun += len(data)
            return
        yield from self.receiver.feed(self._spoilt(data))

    def send(self, payload: bytes) -> None:
        now = self._scheduler.now
        if self._silent_until > now:
            return
        data = self._spoilt(usi.encode(usi.ADP, payload))
        begin = self._under_way[-1][1] if self._under_way else now
        end = max(begin, now) + len(data) * self._byte
        self._under_way.append((self._scheduler.at(end, self._out), end, data))

    def _out(self) -> None:
        _, _, data = self._under_way.popleft()
        if self._silent_until <= self._scheduler.now:
            self.say(data)

    def _spoilt(self, data: bytes) -> bytes:
        share, random = self.noise, self._random
        if not share:
            return data
        return bytes(byte ^ 1 << random.randrange(8) if random.random() < share else byte for byte in data)
