"""How fast the link's framing is: check sequences and HDLC frames, ours against gurux-dlms in the same run.

`python ci/bench/link.py` prints a table; other benchmarks import `timings()`. A peer that is not installed is left out.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from dcu.link import hdlc, segments, wrapper

KILOBYTE = bytes(range(256)) * 4
APDU = bytes.fromhex("c401c10009820378") + KILOBYTE[:0x378]  # a get-response with an octet-string
ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds a call, the best of some rounds; `peer` is None where gurux-dlms is not installed."""

    name: str
    ours: float
    peer: float | None

    @property
    def ratio(self) -> float | None:
        return self.peer / self.ours if self.peer is not None else None


def best(call: Callable[[], object], budget: float = 0.05) -> float:
    """Microseconds of one call: the best of ROUNDS, each as many calls as fit the budget's seconds."""
    started = time.perf_counter()
    call()
    count = max(1, int(budget / max(time.perf_counter() - started, 1e-7)))
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(count):
            call()
        rounds.append((time.perf_counter() - started) / count)
    return min(rounds) * 1e6


def frame() -> bytes:
    """The I frame in which a meter answers the first request of client 16."""
    control = hdlc.Control(hdlc.Kind.I, True, send=0, receive=1)
    return hdlc.encode(hdlc.Frame(hdlc.Address(16), hdlc.Address(1), control, hdlc.LLC_RESPONSE + APDU))


def parse_frame(wire: bytes) -> bytes:
    """Bytes to APDU, as the listener does it."""
    (message,) = segments.Listener().feed(wire)
    return message.apdu


def parse_wrapper(wire: bytes) -> bytes:
    (found,) = wrapper.Decoder().feed(wire)
    return found.apdu


def timings() -> list[Timing]:
    """Every measurement; each side's answer is compared before it is timed."""
    wire, wrapped = frame(), wrapper.encode(1, 16, APDU)
    assert parse_frame(wire) == parse_wrapper(wrapped) == APDU
    peer_fcs, peer_frame, peer_wrapper = _gurux(wire, wrapped)
    return [
        Timing("FCS-16 of 1 KB", best(lambda: hdlc.fcs(KILOBYTE)), peer_fcs),
        Timing(f"HDLC parse, {len(wire)} B", best(lambda: parse_frame(wire)), peer_frame),
        Timing(f"wrapper parse, {len(wrapped)} B", best(lambda: parse_wrapper(wrapped)), peer_wrapper),
    ]


def _gurux(wire: bytes, wrapped: bytes) -> tuple[float | None, float | None, float | None]:
    try:
        from gurux_dlms import GXByteBuffer, GXDLMSClient, GXReplyData
        from gurux_dlms._GXFCS16 import _GXFCS16
        from gurux_dlms.enums import Authentication, InterfaceType
    except ImportError:
        return None, None, None
    buffer = GXByteBuffer(KILOBYTE)
    assert _GXFCS16.countFCS16(buffer, 0, len(KILOBYTE)).to_bytes(2, "big") == hdlc.fcs(KILOBYTE)

    def parse(interface: InterfaceType, raw: bytes) -> bytes:
        client = GXDLMSClient(True, 16, 1, Authentication.NONE, None, interface)
        reply = GXReplyData()
        assert client.getData(GXByteBuffer(raw), reply, None)  # it also looks into the APDU's head
        return bytes(reply.value)

    assert parse(InterfaceType.HDLC, wire) == parse(InterfaceType.WRAPPER, wrapped) == APDU[8:]
    return (
        best(lambda: _GXFCS16.countFCS16(buffer, 0, len(KILOBYTE))),
        best(lambda: parse(InterfaceType.HDLC, wire)),
        best(lambda: parse(InterfaceType.WRAPPER, wrapped)),
    )


def main() -> None:
    for timing in timings():
        peer = (
            "peer not installed" if timing.peer is None else f"{timing.peer:9.1f} µs gurux-dlms  {timing.ratio:6.1f} x"
        )
        sys.stdout.write(f"{timing.name:24} {timing.ours:8.2f} µs ours  {peer}\n")


if __name__ == "__main__":
    main()
