"""From what people paste (hex, spaced or not, with colons, quotes, commas, comments) to the APDUs that it holds.

Told apart by how they begin: HDLC frames by their flag (7E), wrapper frames by their version (0001), the rest are bare
APDUs. A bare APDU has no mark at its end: where every line is an APDU of its own, each line is one, else every
paragraph, else the whole. HDLC segments are put together; a wrong check sequence is named, and refused unless the
caller says otherwise.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from dcu.errors import DecodeError
from dcu.link import hdlc, wrapper
from dcu.link.hdlc import Address, Kind
from dcu.link.segments import Joiner

MAX_TEXT = 16 << 20  # characters; a day of a busy line

_COMMENT = re.compile(r"(#|//).*")
_SEPARATORS = re.compile(r"[\s,;:(){}\[\]|]+|0[xX]")
_NOT_HEX = re.compile(r"[^0-9A-Fa-f]")


@dataclass(frozen=True, slots=True)
class Captured:
    """One APDU as it was on the line, ciphered or not; no APDU where the frame carries none (SNRM, UA, RR …).

    link: where it came from, in words for people and machines; ends: the two parties, the same in both directions;
    fault: "HCS" or "FCS" where that check sequence is wrong.
    """

    apdu: bytes = field(repr=False)
    link: dict[str, object]
    ends: frozenset[str] = frozenset()
    fault: str = ""


def read(text: str, whole: Callable[[bytes], bool], *, ignore_fcs: bool = False) -> Iterator[Captured]:
    """Yield what `text` holds; `whole` says whether bytes are one complete bare APDU.

    Raises DecodeError at the first thing that cannot be used; what came before has been yielded.
    """
    if len(text) > MAX_TEXT:
        raise DecodeError(f"a capture of {len(text)} characters, at most {MAX_TEXT}: cut it")
    found = False
    for item in _items(text):
        found = True
        yield from _frames(item, whole, ignore_fcs)
    if not found:
        raise DecodeError("there is no hex in it")


def _items(text: str) -> Iterator[list[list[bytes]]]:
    """Quoted pieces, or all of it: as paragraphs of lines of bytes."""
    number = 1
    for piece in re.split("['\"]", text):
        paragraphs: list[list[bytes]] = [[]]
        for offset, line in enumerate(piece.split("\n")):
            raw = _bytes(line, number + offset)
            if raw:
                paragraphs[-1].append(raw)
            elif paragraphs[-1]:
                paragraphs.append([])
        number += piece.count("\n")
        if any(paragraphs):
            yield [paragraph for paragraph in paragraphs if paragraph]


def _bytes(line: str, number: int) -> bytes:
    digits = _SEPARATORS.sub("", _COMMENT.sub("", line))
    if wrong := _NOT_HEX.search(digits):
        raise DecodeError(f"line {number}: {wrong.group()!r} is no hex digit")
    if len(digits) % 2:
        raise DecodeError(f"line {number}: an odd number of hex digits")
    return bytes.fromhex(digits)


def _frames(item: list[list[bytes]], whole: Callable[[bytes], bool], ignore_fcs: bool) -> Iterator[Captured]:
    lines = [line for paragraph in item for line in paragraph]
    data = b"".join(lines)
    if data[0] == hdlc.FLAG:
        yield from _hdlc(data, ignore_fcs)
    elif data[0] & 0xF0 == 0xA0 and (int.from_bytes(data[:2], "big") & hdlc.MAX_LENGTH) == len(data):
        yield from _hdlc(b"\x7e" + data + b"\x7e", ignore_fcs)  # loggers exist that leave out the flags
    elif data.startswith(b"\x00\x01"):
        yield from _wrapped(data)
    else:
        yield from _bare(lines, [b"".join(paragraph) for paragraph in item], whole)


def _bare(lines: list[bytes], paragraphs: list[bytes], whole: Callable[[bytes], bool]) -> Iterator[Captured]:
    for cut in (lines, paragraphs):
        apdus = [piece.removeprefix(hdlc.LLC_COMMAND).removeprefix(hdlc.LLC_RESPONSE) for piece in cut]
        if len(apdus) == 1 or all(map(whole, apdus)):
            break
    else:
        apdus = [b"".join(lines)]
    for apdu in apdus:
        yield Captured(apdu, {})


def _wrapped(data: bytes) -> Iterator[Captured]:
    decoder = wrapper.Decoder()
    for frame in decoder.feed(data):
        ends = frozenset((f"wrapper {frame.source}", f"wrapper {frame.destination}"))
        link: dict[str, object] = {"framing": "wrapper", "source": frame.source, "destination": frame.destination}
        yield Captured(frame.apdu, link, ends)
    if decoder.pending:
        raise DecodeError(f"the last wrapper frame is cut short: {decoder.pending} bytes of it are there")


def _hdlc(data: bytes, ignore_fcs: bool) -> Iterator[Captured]:
    decoder, joiner = hdlc.Decoder(inspect=True), Joiner()
    segments = number = skipped = 0
    for frame in decoder.feed(data):
        number += 1
        if frame.fault and not ignore_fcs:
            raise DecodeError(
                f"HDLC frame {number}: its {frame.fault} is wrong, so some byte of it is; "
                "--ignore-fcs decodes it all the same, as far as it goes"
            )
        if (unusable := decoder.skipped.frames + decoder.skipped.noise) != skipped:
            skipped = unusable
            joiner.lost()
        link: dict[str, object] = {
            "framing": "HDLC",
            "frame": frame.control.kind.name,
            "source": _address(frame.source),
            "destination": _address(frame.destination),
        }
        ends = frozenset((f"HDLC {_address(frame.source)}", f"HDLC {_address(frame.destination)}"))
        if frame.control.kind not in (Kind.I, Kind.UI):
            yield Captured(b"", link, ends, frame.fault)
            continue
        segments += 1
        message = joiner.add(frame)
        if message is not None:
            yield Captured(message.apdu, link | {"segments": segments}, ends, message.fault)
        if not frame.segmented:
            segments = 0
    _complain(decoder, joiner, segments)


def _complain(decoder: hdlc.Decoder, joiner: Joiner, segments: int) -> None:
    """Nothing is dropped in silence."""
    if joiner.broken.messages:
        raise DecodeError(f"HDLC: segments that do not fit together ({_causes(joiner.broken)})")
    if decoder.skipped.frames or decoder.skipped.noise:
        raise DecodeError(f"HDLC: there are bytes that are no frame ({_causes(decoder.skipped)})")
    if decoder.pending > 1:  # one is the flag that closes the last frame, and would open the next
        raise DecodeError(f"the last HDLC frame is cut short: {decoder.pending} bytes of it are there")
    if segments:
        raise DecodeError(f"the last of the HDLC segments is missing: {segments} are there")


def _causes(counts: object) -> str:
    names = getattr(counts, "__slots__", ())
    return ", ".join(f"{name} {getattr(counts, name)}" for name in names if getattr(counts, name))


def _address(address: Address) -> str:
    return f"{address.upper}/{address.lower}" if address.size > 1 else str(address.upper)
