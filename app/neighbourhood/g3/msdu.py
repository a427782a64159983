"""What travels through a MAC: an MSDU to be sent, the segments it goes out in, and what came.

Source: ITU-T G.9903, 9.3 (segmentation: a segment's size follows from the neighbour's modulation).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neighbourhood.g3 import frames, phy
from neighbourhood.g3.frames import Address, Frame, Kind, Segment
from neighbourhood.g3.phy import ALL_TONES, Modulation
from neighbourhood.g3.tables import BROADCAST, NOT_JOINED, Status

if TYPE_CHECKING:
    from neighbourhood.g3.mac import Mac


@dataclass(slots=True)
class Counters:
    """PIB 0x101-0x109, and what was refused."""

    tx_data: int = 0
    rx_data: int = 0
    tx_command: int = 0
    rx_command: int = 0
    csma_fail: int = 0
    no_ack: int = 0
    rx_broadcast: int = 0
    tx_broadcast: int = 0
    bad_crc: int = 0
    unsecured: int = 0
    unknown_key: int = 0
    bad_mic: int = 0
    replayed: int = 0
    duplicate: int = 0
    malformed: int = 0


class Msdu:
    """What is to be sent. destination: short, EUI-64 or BROADCAST. still: asked once the line is free."""

    __slots__ = ("destination", "done", "kind", "payload", "priority", "secured", "still", "tag")

    def __init__(
        self, destination: Address, payload: bytes, done: Callable[[Status], None] | None, tag: Any, *,
        secured: bool = True, priority: bool = False, kind: Kind = Kind.DATA,
        still: Callable[[], bool] | None = None,
    ) -> None:  # fmt: skip
        self.destination = destination
        self.payload = payload
        self.done = done
        self.tag = tag
        self.secured = secured
        self.priority = priority
        self.kind = kind
        self.still = still


class Arrived:
    """An MSDU as the layer above gets it. `source`: short or EUI-64; broadcast: it was for everybody."""

    __slots__ = ("broadcast", "lqi", "payload", "priority", "secured", "source", "tag")

    def __init__(
        self, source: Address, payload: bytes, lqi: int, secured: bool, broadcast: bool, priority: bool, tag: Any
    ) -> None:
        self.source = source
        self.payload = payload
        self.lqi = lqi
        self.secured = secured
        self.broadcast = broadcast
        self.priority = priority
        self.tag = tag


class Pieces:
    __slots__ = ("expected", "payload", "secured", "sequence")

    def __init__(self, sequence: int, secured: bool, payload: bytes) -> None:
        self.sequence = sequence
        self.secured = secured
        self.payload = payload
        self.expected = 1


class Sending:
    """An MSDU on its way: its segments, the frame on the air, what its attempts have cost."""

    __slots__ = ("_at", "_mac", "_size", "asks", "backoffs", "exponent", "modulation", "msdu", "number", "raw",
                 "retries", "sequence", "tones", "wants_ack")  # fmt: skip

    def __init__(self, mac: "Mac", msdu: Msdu) -> None:
        self._mac = mac
        self.msdu = msdu
        self.wants_ack = msdu.destination != BROADCAST
        self.exponent = phy.MIN_BE
        self.backoffs = self.retries = 0
        self.raw = b""
        self.plan(robust=False)

    def plan(self, *, robust: bool) -> None:
        """Choose the modulation, and with it the segments' size; begin with the first."""
        self.modulation, self.tones, self.asks = Modulation.ROBO, ALL_TONES, False
        msdu, mac = self.msdu, self._mac
        if self.wants_ack and isinstance(msdu.destination, int) and msdu.secured:
            neighbour = mac.neighbours.get(msdu.destination)
            self.asks = neighbour is None or robust or neighbour.tones_until < mac.scheduler.now
            self.asks = self.asks and msdu.kind == Kind.DATA
            if neighbour is not None and not robust and neighbour.tones_until >= mac.scheduler.now:
                self.modulation, self.tones = Modulation(neighbour.modulation), neighbour.tones
        over = (
            10
            + (2 if isinstance(msdu.destination, int) else 8)
            + (8 if mac.short == NOT_JOINED else 2)
            + 10 * msdu.secured
        )
        self._size = phy.longest(self.modulation, self.tones) - over
        self._at = self.number = 0
        self.sequence = mac.next_sequence()
        self.raw = b""

    def frame(self) -> bytes:
        """The segment's frame; a repetition is byte for byte the same."""
        if not self.raw:
            mac, msdu = self._mac, self.msdu
            payload = msdu.payload[self._at : self._at + self._size]
            last = self._at + self._size >= len(msdu.payload)
            source: Address | None = mac.eui64 if mac.short == NOT_JOINED else mac.short
            pan, destination, key, counter = mac.pan, msdu.destination, None, 0
            if msdu.kind == Kind.COMMAND and not msdu.secured:
                source, pan = None, BROADCAST
            if msdu.secured:
                key, counter = mac.active_key, mac.frame_counter
                mac.frame_counter += 1
            segment = Segment(self.number, last, self.asks, not last, msdu.priority)
            frame = Frame(
                msdu.kind, self.sequence, pan, destination, source, segment, payload, self.wants_ack, key, counter
            )
            self.raw = frames.encode(frame, None if key is None else mac.keys[key])
        return self.raw

    def advance(self) -> bool:
        """To the next segment; False: that was the last."""
        self._at += self._size
        self.number += 1
        self.raw = b""
        self.retries = self.backoffs = 0
        return self._at < len(self.msdu.payload)
