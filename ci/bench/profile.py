"""How fast a load profile becomes rows with UTC datetimes: ours against gurux-dlms and dlms-cosem (u9n) in one run.

720 rows × 6 columns (clock, status, four registers), as a whole GET response in a wrapper frame, with full clocks and
with null-data clocks. Every side's rows are compared with the truth before it is timed; the sides take turns, and the
best round of each counts. `python ci/bench/profile.py` prints a table; other benchmarks import `timings()`. A peer that
is not installed is left out.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from dcu.cosem import apdu, axdr
from dcu.cosem.axdr import Data
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.profile import decode_rows
from dcu.link import wrapper

ROWS = 720
PERIOD = 3600
ROUNDS = 5
RULE = TimeZoneRule(UTC)
START = datetime(2026, 1, 5, tzinfo=UTC)
HEAD = bytes.fromhex("c401c100")  # get-response-normal, data

Rows = list[tuple[object, ...]]
Decode = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds a profile, the best of some rounds. gurux, u9n: None where not installed."""

    name: str
    ours: float
    gurux: float | None
    u9n: float | None

    @property
    def gurux_ratio(self) -> float | None:
        return self.gurux / self.ours if self.gurux is not None else None

    @property
    def u9n_ratio(self) -> float | None:
        return self.u9n / self.ours if self.u9n is not None else None


def truth() -> Rows:
    """The rows, before any encoding."""
    return [
        (
            START + timedelta(seconds=PERIOD * row),
            row % 2,
            1_000_000 + 137 * row,
            400 + row,
            90_000 + 11 * row,
            row % 97,
        )
        for row in range(ROWS)
    ]


def frame(rows: Rows, null_clocks: bool) -> bytes:
    """The wrapper frame of the GET response with these rows."""

    def clock(at: int, moment: object) -> Data:
        assert isinstance(moment, datetime)
        if null_clocks and at:
            return axdr.null()
        return axdr.octets(CosemDateTime.from_utc(moment, RULE).encode())

    buffer = axdr.array(
        axdr.structure(clock(at, moment), axdr.u8(status), *map(axdr.u32, values))  # type: ignore[arg-type]
        for at, (moment, status, *values) in enumerate(rows)
    )
    return wrapper.encode(1, 16, HEAD + axdr.encode(buffer))


def decode(wire: bytes) -> Rows:
    (found,) = wrapper.Decoder().feed(wire)
    response = apdu.decode(found.apdu)
    assert isinstance(response, apdu.GetResponseNormal)
    assert isinstance(response.result, bytes)
    return decode_rows(response.result, RULE, period=PERIOD)  # type: ignore[return-value]


def decode_buffer(wire: bytes) -> Rows:
    """From the encoded buffer only, as after deciphering."""
    return decode_rows(memoryview(wire)[8 + len(HEAD) :], RULE, period=PERIOD)  # type: ignore[return-value]


def gurux() -> tuple[Decode, Callable[[object], Rows]] | None:
    """How gurux-dlms decodes the frame, and how to see its rows as ours; None where it is not installed."""
    try:
        from gurux_dlms import GXByteBuffer, GXDLMSClient, GXReplyData
        from gurux_dlms.enums import Authentication, InterfaceType
        from gurux_dlms.objects import GXDLMSClock, GXDLMSData, GXDLMSProfileGeneric, GXDLMSRegister
        from gurux_dlms.objects.GXDLMSCaptureObject import GXDLMSCaptureObject
    except ImportError:
        return None
    client = GXDLMSClient(True, 16, 1, Authentication.NONE, None, InterfaceType.WRAPPER)
    columns = [GXDLMSClock(), GXDLMSData("0.0.96.10.1.255")]
    columns += [GXDLMSRegister(f"1.0.{quantity}.8.0.255") for quantity in (1, 2, 3, 4)]

    def run(wire: bytes) -> object:
        profile = GXDLMSProfileGeneric("1.0.99.1.0.255")
        profile.capturePeriod = PERIOD
        profile.captureObjects = [(column, GXDLMSCaptureObject(2, 0)) for column in columns]
        reply = GXReplyData()
        assert client.getData(GXByteBuffer(wire), reply, None)
        client.updateValue(profile, 2, reply.value)
        return profile.buffer

    return run, lambda found: [(row[0].value.astimezone(UTC), *row[1:]) for row in found]  # type: ignore[attr-defined]


def u9n() -> tuple[Decode, Callable[[object], Rows]] | None:
    """The same of dlms-cosem."""
    try:
        from dlms_cosem import cosem, enumerations
        from dlms_cosem.parsers import ProfileGenericBufferParser
        from dlms_cosem.protocol.wrappers import WrapperProtocolDataUnit
        from dlms_cosem.protocol.xdlms import GetResponseNormal
    except ImportError:
        return None
    kinds = enumerations.CosemInterface
    columns = [(kinds.CLOCK, "0.0.1.0.0.255"), (kinds.DATA, "0.0.96.10.1.255")]
    columns += [(kinds.REGISTER, f"1.0.{quantity}.8.0.255") for quantity in (1, 2, 3, 4)]
    captures = [cosem.CosemAttribute(kind, cosem.Obis.from_string(code), 2) for kind, code in columns]
    parser = ProfileGenericBufferParser(captures, PERIOD // 60)

    def run(wire: bytes) -> object:
        response = GetResponseNormal.from_bytes(WrapperProtocolDataUnit.from_bytes(wire).data)
        return parser.parse_bytes(response.data)

    def rows(found: object) -> Rows:
        plain = [[column.value for column in row] for row in found]  # type: ignore[attr-defined]
        return [(row[0].astimezone(UTC), *row[1:]) for row in plain]

    return run, rows


def timings() -> list[Timing]:
    expected = truth()
    plain, compressed = frame(expected, null_clocks=False), frame(expected, null_clocks=True)
    size = f"{ROWS} rows × 6"
    return [
        _timing(f"profile of {size}, frame → rows", decode, plain, expected),
        _timing(f"profile of {size}, buffer → rows", decode_buffer, plain, expected, peers=False),
        _timing(f"profile of {size}, null-data clocks, frame → rows", decode, compressed, expected),
    ]


def _timing(name: str, ours: Decode, wire: bytes, expected: Rows, *, peers: bool = True) -> Timing:
    assert ours(wire) == expected
    sides: list[Decode | None] = [ours]
    for peer in (gurux(), u9n()) if peers else (None, None):
        if peer is not None:
            run, rows = peer
            assert rows(run(wire)) == expected, name
        sides.append(peer and peer[0])
    best = _best(sides, wire)
    assert best[0] is not None
    return Timing(name, best[0], best[1], best[2])


def _best(sides: list[Decode | None], wire: bytes) -> list[float | None]:
    """Microseconds of one call of each side; in each round every side gets its turn of a twentieth of a second."""
    best: list[float | None] = [None] * len(sides)
    for _ in range(ROUNDS):
        for at, side in enumerate(sides):
            if side is None:
                continue
            calls, started = 0, time.perf_counter()
            while calls == 0 or time.perf_counter() - started < 0.05:
                side(wire)
                calls += 1
            spent = (time.perf_counter() - started) / calls * 1e6
            best[at] = min(spent, best[at] or spent)
    return best


def main() -> None:
    for timing in timings():
        line = f"{timing.name:62} {timing.ours:8.1f} µs ours"
        for peer, spent, ratio in (
            ("gurux-dlms", timing.gurux, timing.gurux_ratio),
            ("dlms-cosem", timing.u9n, timing.u9n_ratio),
        ):
            line += f"   {peer} –" if spent is None else f"   {peer} {spent:9.1f} µs {ratio:6.1f} x"
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
