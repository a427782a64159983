"""What the fuzzer starts from: bytes of real meters and other stacks where there are any, else small valid inputs."""

import re
from pathlib import Path

from dcu.cosem import axdr
from dcu.cosem.axdr import encode
from dcu.cosem.datetimes import CosemDateTime

CAPTURES = Path(__file__).parents[1] / "captures"

CAPTURED = tuple(
    bytes.fromhex(re.sub(r"[^0-9A-Fa-f]", "", path.read_text())) for path in sorted(CAPTURES.glob("*.log"))
)

SNRM = bytes.fromhex("7ea0070321930f017e")
AARQ_FRAME = bytes.fromhex("7ea02b032110fbafe6e600601da109060760857405080101be10040e01000000065f1f0400401e5dffff91237e")
SEGMENTS = bytes.fromhex(
    "7ea81a03211092a5e6e600601da109060760857405080101be2b6f7e7ea01a032112a0dc10040e01000000065f1f0400401e5dffff900c7e"
)
WRAPPED = bytes.fromhex("000100100001001f601da109060760857405080101be10040e01000000065f1f0400401e5dffff")

CLOCK = bytes.fromhex("07e9070f02060000008000ff")
MOMENTS = (
    CLOCK,
    bytes.fromhex("07e10 90f 05 05 21 28 ff 80 00 00".replace(" ", "")),
    bytes.fromhex("07e90a1a0702000000003c80"),
    bytes.fromhex("ffffffffffffffffff8000ff"),
    bytes.fromhex("07e9fdfe01173b3b63ffc400"),
)
DATES = (CLOCK[:5], b"\xff" * 5, bytes.fromhex("07e9fdfeff"))
TIMES = (CLOCK[5:9], b"\xff" * 4, bytes.fromhex("173b3b63"))

VALUES = tuple(
    encode(value)
    for value in (
        axdr.null(),
        axdr.boolean(True),
        axdr.structure(axdr.u8(1), axdr.i16(-2), axdr.u32(3), axdr.i64(-4), axdr.enum(27)),
        axdr.array([axdr.structure(axdr.octets(b"\x01\x00\x01\x08\x00\xff"), axdr.visible("kWh"))] * 3),
        axdr.array([]),
        axdr.float32(1.5),
        axdr.octets(bytes(200)),
    )
) + tuple(
    bytes.fromhex(raw)
    for raw in (
        "040a ffc0",
        "0d12",
        "0c05 c3a9746dc3",
        "13 02 02 12 06 0c 0001 00000002 0003 00000004",
        "13 01 0002 11 06 0102 0304 0506",
        "13 11 03 010203",
        "13 02 02 09 12 0a 02 aabb 0001 01 cc 0002",
        "1c7f 1dff80",
        "19" + CLOCK.hex(),
        "1a07e9070f02",
        "1b06000000",
        "0201" * 20 + "00",
    )
)


def _rows(first, *rest):
    return encode(axdr.array([axdr.structure(*first), *(axdr.structure(*row) for row in rest)]))


_AT = axdr.octets(CLOCK)
PROFILES = (
    _rows(*[(_AT, axdr.u8(0), axdr.u32(n), axdr.u32(2 * n)) for n in range(6)]),
    _rows((_AT, axdr.u8(0), axdr.u32(7)), *[(axdr.null(), axdr.null(), axdr.null())] * 6),
    _rows((_AT, axdr.u32(1)), (axdr.null(), axdr.u32(2)), (_AT, axdr.null())),
    _rows((_AT, axdr.visible("abc"), axdr.array([axdr.u8(1)]))),
    bytes.fromhex("0101 0203 0600000001 1c01 0404f0".replace(" ", "")),
    bytes.fromhex("13 02 02 06 06 10 65000000 00000001 65000e10 00000002".replace(" ", "")),
    bytes.fromhex("0102 0202 0665000000 0600000005 0202 00 1c03".replace(" ", "")),
    encode(axdr.array([])),
)

CLOCK_OF = CosemDateTime.parse(CLOCK)

WRITTEN = tuple(  # set and action in blocks and with lists, access and its response, an event
    bytes.fromhex(raw)
    for raw in (
        "C10281 0001000080 0000FF02 00 00 00000001 03 0932AB",
        "C10381 01 00000002 01 CD",
        "C10481 02 0001000080 0000FF0200 0001000080 0100FF0200 02 1101 1102",
        "C50481 02 00 03 00000002",
        "C303C1 02 0046000060030AFF01 0046000060030AFF01 02 0F00 00",
        "C305C1 01 0046000060030AFF01 00 00000001 01 01",
        "C703C1 02 00 01 00 1107 03 00",
        "D9 40000001 00 03 01 0001000080 0000FF02 02 0001000080 0100FF02 03 0046000060030AFF01 03 00 1105 0F00",
        "DA 40000001 00 00 03 1109 00 00 03 01 00 02 03 03 00",
        "C2 01 0C 07E60B03FF0F2619FFFF4CFF 0001000080 0000FF02 1101",
    )
)
