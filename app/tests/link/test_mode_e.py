"""IEC 62056-21: sign-on, identification, the change to HDLC, the read-out; parsers, then a port against a head."""

import asyncio
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError, LinkError, LinkTimeout
from dcu.link import mode_e, sign_on
from dcu.link.mode_e import DataSet, Identification, Lines, Value
from dcu.link.serial import Port, open_serial
from neighbourhood.optical import State

from .optics import Optics

READ_OUT = (  # as meters write it: several values in a line, several sets in a line, values without a unit
    b"F.F(00000000)\r\n0.0.0(12345678)\r\n1.8.0(000123.456*kWh)\r\n"
    b"1.6.1(00.123*kW)(2511201200)\r\n31.7.0(001.2*A)51.7.0(001.3*A)\r\n!\r\n"
)


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        pytest.param("", "2f3f210d0a", id="whoever hears it"),
        pytest.param("12345678", "2f3f3132333435363738210d0a", id="one meter"),
    ],
)
def test_the_request_is_byte_exact(address, wire):
    assert mode_e.encode_request(address).hex() == wire


@pytest.mark.parametrize(
    ("baud", "mode", "wire"),
    [
        pytest.param(9600, "E", "063235320d0a", id="HDLC at 9600"),
        pytest.param(300, "E", "063230320d0a", id="HDLC at 300"),
        pytest.param(19200, "C", "063036300d0a", id="read-out at 19200"),
        pytest.param(4800, "C", "063034300d0a", id="read-out at 4800"),
    ],
)
def test_the_acknowledgement_is_byte_exact(baud, mode, wire):
    assert mode_e.encode_acknowledgement(baud, mode).hex() == wire
    assert mode_e.decode_acknowledgement(bytes.fromhex(wire)) == (mode_e.LETTERS[baud], mode)


@pytest.mark.parametrize(
    ("raw", "told", "mode", "baud"),
    [
        (b"/LGZ5\\2ZMD3104107.B32\r\n", Identification("LGZ", "5", "2", "ZMD3104107.B32"), "E", 9600),
        (b"/ISk5\\2MT382-1000\r\n", Identification("ISk", "5", "2", "MT382-1000"), "E", 9600),
        (b"/KFM5KAIFA-METER\r\n", Identification("KFM", "5", "", "KAIFA-METER"), "C", 9600),
        (b"/ELS6\\@V1.02 \r\n", Identification("ELS", "6", "@", "V1.02 "), "C", 19200),
        (b"/EMHAEHZ-ED\r\n", Identification("EMH", "A", "", "EHZ-ED"), "B", 600),
        (b"/ABB\\zold one\r\n", Identification("ABB", "\\", "", "zold one"), "A", 300),
        (b"/XYZ0\r\n", Identification("XYZ", "0", "", ""), "C", 300),
    ],
)
def test_a_meter_says_who_it_is_and_how_fast(raw, told, mode, baud):
    assert mode_e.decode_identification(raw) == told
    assert (told.mode, told.baud) == (mode, baud)
    parity = bytes(byte | (byte.bit_count() & 1) << 7 for byte in raw)
    assert mode_e.decode_identification(parity) == told
    assert told.quick is told.maker[2].islower()


@pytest.mark.parametrize("letter", "0123456")
def test_every_speed_of_mode_e_is_known(letter):
    told = mode_e.decode_identification(b"/LGZ" + letter.encode() + b"\\2X\r\n")
    assert told.mode == "E"
    assert told.baud == [300, 600, 1200, 2400, 4800, 9600, 19200][int(letter)]


@pytest.mark.parametrize(
    "raw", [b"", b"/\r\n", b"/LG\r\n", b"/LGZ5\\2X", b"LGZ5X\r\n", b"/LGZ5" + b"x" * 200 + b"\r\n", b"/L1Z5X\r\n"]
)
def test_what_is_no_identification_is_refused(raw):
    with pytest.raises(DecodeError):
        mode_e.decode_identification(raw)


def test_a_read_out_is_read_line_by_line():
    assert mode_e.decode_readout(READ_OUT) == (
        DataSet("F.F", (Value("00000000"),)),
        DataSet("0.0.0", (Value("12345678"),)),
        DataSet("1.8.0", (Value("000123.456", "kWh"),)),
        DataSet("1.6.1", (Value("00.123", "kW"), Value("2511201200"))),
        DataSet("31.7.0", (Value("001.2", "A"),)),
        DataSet("51.7.0", (Value("001.3", "A"),)),
    )


@pytest.mark.parametrize(
    "raw", [b"1.8.0(1)\r\n", b"1.8.0 1\r\n!\r\n", b"1.8.0(1\r\n!\r\n", b"1.8.0(1)x\r\n!\r\n", b"!x"]
)
def test_what_is_no_read_out_is_refused(raw):
    with pytest.raises(DecodeError):
        mode_e.decode_readout(raw)


@pytest.mark.parametrize("part", [b"GLGZ", b"a(GL", b"(1)", b"a(1)"])
def test_a_read_out_as_long_as_one_may_be_costs_linear_time(part):
    block = b"a(1)" + part * (mode_e.MAX_READOUT // len(part) - 2) + b"!"
    started = time.process_time()
    with suppress(DecodeError):
        mode_e.decode_readout(block)
    assert time.process_time() - started < 4  # 0.3 s; where each byte is looked at from each, minutes


def test_the_check_character_is_that_of_the_standard():
    assert mode_e.check(b"\x03") == 3
    assert mode_e.check(b"!\r\n\x03") == 0x21 ^ 0x0D ^ 0x0A ^ 0x03


@given(st.integers(1, 40), st.booleans())
def test_messages_survive_any_cut_of_the_stream(size, parity):
    wire = b"\x00\x00/?!\r\n/LGZ5\\2X\r\n" + mode_e.encode_block(READ_OUT) + b"\x15/LGZ5\\2X\r\n"
    if parity:
        wire = bytes(byte | (byte.bit_count() & 1) << 7 for byte in wire)
    lines = Lines()
    for at in range(0, len(wire), size):
        lines.feed(wire[at : at + size])
    assert list(lines.ready) == [
        ("line", b"/?!\r\n"), ("line", b"/LGZ5\\2X\r\n"), ("block", READ_OUT), ("nak", b""), ("line", b"/LGZ5\\2X\r\n")
    ]  # fmt: skip


@given(st.data())
def test_a_flipped_bit_of_a_block_is_noticed(data):
    wire = bytearray(mode_e.encode_block(READ_OUT))
    at = data.draw(st.integers(1, len(wire) - 1))
    wire[at] ^= 1 << data.draw(st.integers(0, 6))
    lines = Lines()
    lines.feed(bytes(wire) + b"\r\n")
    assert ("block", READ_OUT) not in lines.ready


@given(st.binary(max_size=3000))
def test_noise_raises_nothing_and_is_not_hoarded(noise):
    lines = Lines()
    lines.feed(noise)
    assert len(lines._pending) <= max(len(noise), 0)
    for decode in (mode_e.decode_identification, mode_e.decode_readout, mode_e.decode_acknowledgement):
        with suppress(DecodeError):
            decode(noise)


def test_a_block_without_an_end_is_given_up():
    lines = Lines()
    lines.feed(b"\x02" + b"x" * (mode_e.MAX_READOUT + 1))
    assert list(lines.ready) == [("damaged", b"")]
    lines.feed(b"/LGZ5X\r\n")
    assert lines.ready[-1] == ("line", b"/LGZ5X\r\n")


# --- a port against a meter's head


@pytest.fixture
async def optics(monkeypatch):
    monkeypatch.setattr(sign_on, "REACTION", 0.5)
    monkeypatch.setattr(sign_on, "GAP", 0.2)
    made = []

    def make(**options):
        made.append(Optics(lambda: READ_OUT, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def port(optics):
    return await open_serial(Port(optics.line.path))


@pytest.mark.parametrize("baud", sorted(mode_e.BAUDS.values()))
@pytest.mark.parametrize("confirms", [True, False], ids=["confirmed", "taken without a word"])
async def test_both_go_on_in_hdlc_at_the_meters_speed(optics, baud, confirms):
    meter = optics(baud=baud, confirms=confirms)
    stream = await port(meter)
    told = await sign_on.enter_hdlc(stream)
    assert told.baud == baud
    assert meter.head.state is State.HDLC
    assert (meter.speed(), stream.port.format) == (baud, "8N1")
    await stream.write(b"\x7e")
    assert await stream.read() == b"HDLC:\x7e"
    assert meter.head.garbled == 0
    await stream.close()


async def test_a_slower_port_is_respected(optics):
    meter = optics(baud=19200)
    stream = await port(meter)
    await sign_on.enter_hdlc(stream, at_most=2400)
    assert (stream.port.baud, meter.head.speed) == (2400, 2400)
    await stream.close()


async def test_a_line_with_an_echo_and_a_first_request_that_was_lost(optics):
    meter = optics()
    meter.echo, meter.deaf = True, 1
    stream = await port(meter)
    await sign_on.enter_hdlc(stream)
    assert meter.head.state is State.HDLC
    await stream.close()


async def test_a_meter_that_refuses_mode_e_says_what_to_do_and_reads_out(optics):
    meter = optics(only_c=True)
    stream = await port(meter)
    with pytest.raises(LinkError, match="refuses mode E and reads out: `dcu readout`"):
        await sign_on.enter_hdlc(stream)
    meter.head.sign_off()
    told, found = await sign_on.read_out(stream)
    assert told.mode == "C"
    assert found == mode_e.decode_readout(READ_OUT)
    assert stream.port.baud == 9600
    await stream.close()


async def test_a_read_out_that_came_damaged_is_asked_for_again(optics):
    meter = optics(only_c=True)
    spoilt = []

    def once(data):
        if data[:1] == b"\x02" and not spoilt:
            spoilt.append(data)
            return data.replace(b"123", b"124")
        return data

    meter.spoil = once
    stream = await port(meter)
    assert (await sign_on.read_out(stream))[1] == mode_e.decode_readout(READ_OUT)
    assert spoilt
    meter.spoil = lambda data: data.replace(b"123", b"124") if data[:1] == b"\x02" else data
    meter.head.sign_off()
    with pytest.raises(LinkError, match="came damaged 3 times"):
        await sign_on.read_out(stream)
    await stream.close()


async def test_nobody_there_is_told(optics):
    meter = optics()
    meter.deaf = 1000
    stream = await port(meter)
    with pytest.raises(LinkTimeout, match="no meter identifies itself"):
        await sign_on.enter_hdlc(stream)
    await stream.close()


async def test_a_meter_with_another_address_stays_silent(optics):
    meter = optics()
    stream = await port(meter)
    with pytest.raises(LinkTimeout):
        await sign_on.sign_on(stream, "87654321")
    assert (await sign_on.sign_on(stream, "12345678")).identification.endswith("12345678")
    await stream.close()


@pytest.mark.parametrize("identification", [b"/ABBAold\r\n", b"/ABBxold\r\n"])
async def test_a_meter_of_mode_a_or_b_knows_no_hdlc(optics, identification):
    meter = optics()
    meter.spoil = lambda data: identification
    stream = await port(meter)
    with pytest.raises(LinkError, match="it knows no HDLC"):
        await sign_on.enter_hdlc(stream)
    await stream.close()


async def test_noise_that_never_ends_is_given_up(optics, monkeypatch):
    monkeypatch.setattr(sign_on, "LINE_TIME", 0.3)
    meter = optics()
    meter.deaf = 1000
    stream = await port(meter)

    async def hiss():
        while True:
            meter.line.write(b"\x55\xaa")
            await asyncio.sleep(0.01)

    hissing = asyncio.create_task(hiss())
    with pytest.raises(LinkTimeout):
        async with asyncio.timeout(20):
            await sign_on.enter_hdlc(stream)
    hissing.cancel()
    await stream.close()


@pytest.mark.parametrize("moment", ["request", "acknowledgement", "block"])
async def test_a_meter_that_falls_silent_in_any_state_leaves_the_port_usable(optics, moment):
    meter = optics(only_c=moment == "block")
    meter.spoil = {
        "request": lambda data: b"",
        "acknowledgement": lambda data: data if data[:1] == b"/" else b"",
        "block": lambda data: data if data[:1] == b"/" else data[: len(data) // 2],
    }[moment]
    stream = await port(meter)
    try:
        await (sign_on.read_out(stream) if moment == "block" else sign_on.enter_hdlc(stream))
    except LinkError:
        assert moment != "acknowledgement"  # which may go unanswered
    meter.spoil = lambda data: data
    meter.head.sign_off()
    assert (await sign_on.sign_on(stream)).maker == "GDM"
    await stream.close()
