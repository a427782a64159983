"""How fast the link's framing is: check sequences and HDLC frames, ours against gurux-dlms and u9n in the same run.

Decoders and clients are made before the clock starts, as in a session. Rounds are interleaved and short, so that a
noisy moment hits all alike, and the best one counts. A peer that is not installed is left out.

`python ci/bench/link.py` prints a table; other benchmarks import `timings()`.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from dcu.link import hdlc, segments, wrapper

KILOBYTE = bytes(range(256)) * 4
APDU = bytes.fromhex("c401c10009820378") + KILOBYTE[:0x378]  # a get-response with an octet-string
CLIENT, SERVER = hdlc.Address(16), hdlc.Address(1, 17, 2)
ROUND = 0.002  # seconds
ROUNDS = 60
GURUX, U9N = "gurux-dlms", "dlms-cosem (u9n)"
Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds a call; `peers` without those that are not installed, or cannot do it."""

    name: str
    ours: float
    peers: dict[str, float]

    def ratio(self, peer: str) -> float:
        return self.peers[peer] / self.ours


def compared(name: str, ours: Call, **peers: Call | None) -> Timing:
    """Time all in turns, each ROUNDS times."""
    calls = {"ours": ours} | {names[key]: call for key, call in peers.items() if call is not None}
    count = {}
    for who, call in calls.items():
        for _ in range(5):  # the first ones are slow
            started = time.perf_counter()
            call()
            count[who] = max(1, int(ROUND / max(time.perf_counter() - started, 1e-7)))
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(ROUNDS):
        for who, call in calls.items():
            started = time.perf_counter()
            for _ in range(count[who]):
                call()
            best[who] = min(best[who], (time.perf_counter() - started) / count[who])
    return Timing(name, best.pop("ours") * 1e6, {who: seconds * 1e6 for who, seconds in best.items()})


names = {"gurux": GURUX, "u9n": U9N}


def frame() -> hdlc.Frame:
    """The I frame in which a meter answers the first request of client 16."""
    control = hdlc.Control(hdlc.Kind.I, True, send=0, receive=1)
    return hdlc.Frame(CLIENT, SERVER, control, hdlc.LLC_RESPONSE + APDU)


def timings() -> list[Timing]:
    """Every measurement; each side's answer is compared before it is timed."""
    wire, wrapped = hdlc.encode(frame()), wrapper.encode(1, 16, APDU)
    listener, decoder, built = segments.Listener(), wrapper.Decoder(), frame()

    def parse() -> bytes:
        (message,) = listener.feed(wire)
        return message.apdu

    def unwrap() -> bytes:
        (found,) = decoder.feed(wrapped)
        return found.apdu

    assert parse() == unwrap() == APDU
    gurux, u9n = _gurux(wire, wrapped), _u9n(wire)
    return [
        compared("FCS-16 of 1 KB", lambda: hdlc.fcs(KILOBYTE), gurux=gurux.get("fcs"), u9n=u9n.get("fcs")),
        compared(f"HDLC parse, {len(wire)} B", parse, gurux=gurux.get("parse"), u9n=u9n.get("parse")),
        compared(
            f"HDLC build, {len(wire)} B", lambda: hdlc.encode(built), gurux=gurux.get("build"), u9n=u9n.get("build")
        ),
        compared(f"wrapper parse, {len(wrapped)} B", unwrap, gurux=gurux.get("unwrap")),
    ]


def _gurux(wire: bytes, wrapped: bytes) -> dict[str, Call]:
    try:
        from gurux_dlms import GXByteBuffer, GXDLMSClient, GXReplyData
        from gurux_dlms._GXFCS16 import _GXFCS16
        from gurux_dlms.enums import Authentication, InterfaceType
        from gurux_dlms.GXDLMS import GXDLMS
    except ImportError:
        return {}
    buffer = GXByteBuffer(KILOBYTE)
    assert _GXFCS16.countFCS16(buffer, 0, len(KILOBYTE)).to_bytes(2, "big") == hdlc.fcs(KILOBYTE)

    def parser(interface: InterfaceType, raw: bytes) -> Call:
        client = GXDLMSClient(True, 16, 1 << 7 | 17 if interface is InterfaceType.HDLC else 1, Authentication.NONE,
                              None, interface)  # fmt: skip

        def parse() -> bytes:
            client.settings.resetFrameSequence()
            reply = GXReplyData()
            assert client.getData(GXByteBuffer(raw), reply, None)  # it also looks into the APDU's head
            return bytes(reply.value)

        assert parse() == APDU[8:]
        return parse

    sender = GXDLMSClient(True, 16, 1 << 7 | 17, Authentication.NONE, None, InterfaceType.HDLC)
    sender.settings.hdlc.maxInfoTX = 2030
    body = hdlc.LLC_COMMAND + APDU

    def build() -> bytes:
        return bytes(GXDLMS.getHdlcFrame(sender.settings, 0x30, GXByteBuffer(body)))

    theirs = hdlc.Frame(SERVER, CLIENT, hdlc.Control(hdlc.Kind.I, True, 0, 1), body)
    assert build() == hdlc.encode(theirs)
    return {
        "fcs": lambda: _GXFCS16.countFCS16(buffer, 0, len(KILOBYTE)),
        "parse": parser(InterfaceType.HDLC, wire),
        "unwrap": parser(InterfaceType.WRAPPER, wrapped),
        "build": build,
    }


def _u9n(wire: bytes) -> dict[str, Call]:
    try:
        from dlms_cosem.hdlc.address import HdlcAddress
        from dlms_cosem.hdlc.frames import FCS, InformationFrame
    except ImportError:
        return {}
    client = HdlcAddress(16, None, "client")
    server = HdlcAddress(1, 17, "server")
    theirs = InformationFrame(client, server, hdlc.LLC_RESPONSE + APDU, False, True, 0, 1)
    assert theirs.to_bytes() == wire
    assert InformationFrame.from_bytes(wire).payload == hdlc.LLC_RESPONSE + APDU
    assert FCS.calculate_for(KILOBYTE) == hdlc.fcs(KILOBYTE)
    return {
        "fcs": lambda: FCS.calculate_for(KILOBYTE),
        "parse": lambda: InformationFrame.from_bytes(wire),
        "build": theirs.to_bytes,
    }


def main() -> None:
    for timing in timings():
        peers = "  ".join(f"{name} {took:9.1f} µs {timing.ratio(name):6.1f} x" for name, took in timing.peers.items())
        sys.stdout.write(f"{timing.name:24} {timing.ours:8.2f} µs ours  {peers}\n")


if __name__ == "__main__":
    main()
