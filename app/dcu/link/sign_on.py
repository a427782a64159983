"""Signs on at a meter over a port that can change its speed, and goes on in HDLC or has the meter read out.

Where a session was cut off (a command killed, a cable out) its meter stays in HDLC, at the speed of then, and hears no
sign-on before its own timeout, minutes later. The way back is an SNRM at each speed that it can be at, likeliest first.

Source: IEC 62056-21 clause 6.3 to 6.5 (reaction times: 0.2 to 1.5 s), annex E.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from dcu.errors import DecodeError, LinkClosed, LinkError, LinkTimeout
from dcu.link.hdlc_channel import HdlcChannel, open_hdlc
from dcu.link.hdlc_client import Setup
from dcu.link.line import Floor
from dcu.link.mode_e import (
    ACK,
    BAUDS,
    NAK,
    SIGN_ON,
    DataSet,
    Identification,
    Lines,
    decode_acknowledgement,
    decode_identification,
    decode_readout,
    encode_acknowledgement,
    encode_request,
)
from dcu.streams import Tunable

SIGN_ON_FORMAT = "7E1"
HDLC_FORMAT = "8N1"
_BITS = 10  # of a byte in that format, on the line
ATTEMPTS = 3  # sign-ons; the first may find a meter that still waits for something else
REACTION = 2.0  # seconds that a meter may take to answer, 1.5 by the standard
GAP = 1.5  # seconds between two characters
LINE_TIME = 5.0  # seconds that the longest line takes
TRIAL = 1.5  # seconds that a meter may take to answer in HDLC, beside the bytes' time, while its speed is looked for
PAUSE = 0.3  # seconds before we speak at another speed: the meter changes too
REPEATS = 2  # of a read-out whose check was wrong


async def sign_on(stream: Tunable, address: str = "") -> Identification:
    """Wake the meter; it waits for an acknowledgement then. Raises LinkTimeout, LinkError."""
    return (await _identified(stream, address))[0]


async def enter_hdlc(
    stream: Tunable, address: str = "", *, at_most: int = 19200, agreed: dict[str, int] | None = None
) -> Identification:
    """Sign on and change over to HDLC (mode E). Raises LinkError where the meter does not want that.

    agreed: gets the speed, by `address`, before the meter does: from then on it may be there, whatever becomes of us.
    """
    told, lines, echoes = await _identified(stream, address)
    if told.mode in "AB":
        raise LinkError(f"{_who(told)} is of mode {told.mode}: it knows no HDLC; `dcu readout` reads what it shows")
    baud = _common(told.baud, at_most)
    if agreed is not None:
        agreed[address] = baud
    await stream.write(encode_acknowledgement(baud, "E"))
    for _ in range(2 if echoes else 1):
        if await _refuses(stream, lines):
            raise LinkError(f"{_who(told)} refuses mode E and reads out: `dcu readout` reads what it shows")
    await stream.change(baud, HDLC_FORMAT)
    await asyncio.sleep(PAUSE)
    return told


async def open_hdlc_signed_on(
    stream: Tunable,
    setup: Setup,
    address: str = "",
    *,
    at_most: int,
    floor: Floor | None = None,
    agreed: dict[str, int] | None = None,
) -> HdlcChannel:
    """Sign on at the meter, then connect at the speed that was agreed; `floor` as for `open_hdlc()`.

    A meter that does not hear the sign-on may be in the HDLC of before, which nobody ended: it is tried there, too.
    agreed: the speeds that were last agreed on this line, by `address`; kept by us, remembered by the caller.
    Raises LinkTimeout, LinkClosed or LinkError; closes `stream` then.
    """
    agreed = {} if agreed is None else agreed
    signed_on = True
    try:
        if floor is not None:
            await floor.take()
        try:
            await enter_hdlc(stream, address, at_most=at_most, agreed=agreed)
        except LinkTimeout as silence:
            signed_on = False
            speeds = tuple(_way_back(agreed.get(address, 0), at_most))
            agreed[address] = await _left_at(stream, setup, speeds, silence)
    except BaseException:
        await stream.close()
        raise
    try:
        return await open_hdlc(stream, replace(setup, byte_time=_BITS / agreed[address]), floor)
    except LinkTimeout:
        if not signed_on:
            raise
        raise LinkTimeout("the meter signed on and is silent in HDLC: is its physical address right?") from None


async def read_out(
    stream: Tunable, address: str = "", *, at_most: int = 19200
) -> tuple[Identification, tuple[DataSet, ...]]:
    """Sign on and have the meter read out what it shows (modes A, B, C). Raises LinkTimeout, LinkError."""
    told, lines, _ = await _identified(stream, address)
    baud = min(told.baud, at_most)
    if told.mode in "CE":
        baud = _common(baud)
        await stream.write(encode_acknowledgement(baud, "C"))
    if told.mode != "A":
        await stream.change(baud if told.mode != "B" else told.baud, SIGN_ON_FORMAT)
    for _ in range(REPEATS + 1):
        block = await _block(stream, lines, told)
        if block is not None:
            try:
                return told, decode_readout(block)
            except DecodeError as error:
                raise LinkError(f"{_who(told)}: {error}") from None
        await stream.write(NAK)
    raise LinkError(f"{_who(told)}: its read-out came damaged {REPEATS + 1} times: look at the head's position")


def _common(*most: int) -> int:
    """The greatest speed of modes C and E that exceeds none of these."""
    return max(speed for speed in BAUDS.values() if speed <= min(most))


def _way_back(last: int, at_most: int) -> Iterator[int]:
    """The speeds at which a meter may have been left, the likeliest first: where we left it, else the fastest."""
    if last:
        yield last
    yield from sorted((speed for speed in BAUDS.values() if last != speed <= at_most), reverse=True)


async def _left_at(stream: Tunable, setup: Setup, speeds: tuple[int, ...], silence: LinkTimeout) -> int:
    """The first of these speeds at which the meter answers in HDLC. Raises LinkTimeout where it does at none.

    Each is tried once, the likeliest twice; with 1.5 s for an answer and all seven speeds this takes 17 s.
    """
    for baud in speeds:
        await stream.change(baud, HDLC_FORMAT)
        trial = replace(
            setup,
            byte_time=_BITS / baud,
            timeout=min(setup.timeout, TRIAL),
            retries=min(setup.retries, baud == speeds[0]),
            announce=False,  # few bytes, at 300 baud; who is found here is connected properly after that
        )
        try:
            await HdlcChannel(stream, trial).connect()
        except LinkTimeout:
            continue
        except LinkClosed:
            raise
        except LinkError:
            pass  # it refuses, and so it is there: when connected properly it says why
        return baud
    tried = ", ".join(map(str, speeds))
    raise LinkTimeout(
        f"{silence} Nor does it answer in HDLC, where a session that was cut off leaves it ({tried} baud)"
    )


async def _identified(stream: Tunable, address: str) -> tuple[Identification, Lines, bool]:
    """The meter's identification, what is left of its bytes, and whether the line echoes."""
    await stream.change(SIGN_ON, SIGN_ON_FORMAT)
    echoes = False
    for _ in range(ATTEMPTS):
        lines = Lines()
        await stream.write(encode_request(address))
        while (item := await _item(stream, lines, REACTION)) is not None:
            start = item[1].rfind(b"/")  # noise may stand before it
            if item[0] != "line" or start < 0:
                continue
            if item[1].startswith(b"/?", start):
                echoes = True
                continue
            try:
                return decode_identification(item[1][start:]), lines, echoes
            except DecodeError:
                continue
    raise LinkTimeout(
        "no meter identifies itself (IEC 62056-21, 300 baud): is the head on the meter, the right way up?"
    )


async def _refuses(stream: Tunable, lines: Lines) -> bool:
    """Hear what the meter says to the wish for HDLC. A meter that says nothing may have changed over already."""
    while not lines.in_block:
        item = await _item(stream, lines, REACTION)
        if item is None:
            return lines.in_block
        if item[0] in ("block", "damaged", "nak"):
            return True
        start = item[1].rfind(ACK)
        try:
            return decode_acknowledgement(item[1][max(start, 0) :])[1] != "E"
        except DecodeError:
            continue
    return True


async def _block(stream: Tunable, lines: Lines, told: Identification) -> bytes | None:
    """The data block; None where it came damaged."""
    while (item := await _item(stream, lines, REACTION)) is not None:
        if item[0] == "block":
            return item[1]
        if item[0] == "damaged":
            return None
    if lines.in_block:
        return None
    raise LinkTimeout(f"{_who(told)} begins no read-out")


async def _item(stream: Tunable, lines: Lines, within: float) -> tuple[str, bytes] | None:
    """The next message; None where the meter falls silent, or sends nothing but noise."""
    loop = asyncio.get_running_loop()
    until = loop.time() + within
    latest = until + LINE_TIME
    while not lines.ready:
        try:
            async with asyncio.timeout_at(until):
                lines.feed(await stream.read())
        except TimeoutError:
            return None
        until = max(until, loop.time() + GAP)
        if not lines.in_block:
            until = min(until, latest)
            if loop.time() >= latest and not lines.ready:
                return None
    return lines.ready.popleft()


def _who(told: Identification) -> str:
    return f"the meter /{told.maker}{told.letter} {told.identification.strip()}"
