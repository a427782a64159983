"""IEC 62056-21: sign-on, identification, the change to HDLC, the read-out: their bytes."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError
from dcu.link import mode_e
from dcu.link.mode_e import STX, DataSet, Identification, Lines, Value

from .optics import READ_OUT


@pytest.mark.parametrize(
    ("address", "wire"),
    [
        pytest.param("", "2f3f210d0a", id="whoever hears it"),
        pytest.param("12345678", "2f3f3132333435363738210d0a", id="one meter"),
    ],
)
def test_the_request_is_byte_exact(address, wire):
    assert mode_e.encode_request(address).hex() == wire


@pytest.mark.parametrize("address", ["1" * 33, "12!", "1/2", "12\r\n", "Zähler", "1-2"])
def test_an_address_that_would_be_taken_for_something_else_is_not_sent(address):
    with pytest.raises(ValueError, match="up to 32 letters, digits and blanks"):
        mode_e.encode_request(address)


def test_the_longest_address_is_sent():
    assert mode_e.encode_request("A1 " * 10 + "zZ") == b"/?" + b"A1 " * 10 + b"zZ!\r\n"


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


@pytest.mark.parametrize(("baud", "mode"), [(38400, "E"), (0, "E"), (9600, "B"), (9600, "")])
def test_what_mode_e_does_not_have_is_not_acknowledged(baud, mode):
    with pytest.raises(ValueError, match=f"mode {mode} at {baud} baud"):
        mode_e.encode_acknowledgement(baud, mode)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        pytest.param("86b2b5b28d8a", ("5", "E"), id="with parity bits"),
        pytest.param("063135310d0a", ("5", ""), id="programming mode"),
        pytest.param("063235300d0a", ("5", ""), id="of two minds"),
        pytest.param("0632390d0a", None, id="too short"),
        pytest.param("06323935320d0a", None, id="too long"),
        pytest.param("153235320d0a", None, id="a refusal"),
        pytest.param("063235320a0d", None, id="another end"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_an_acknowledgement_is_told_from_anything_else(raw, told):
    if told:
        assert mode_e.decode_acknowledgement(bytes.fromhex(raw)) == told
        return
    with pytest.raises(DecodeError, match="no acknowledgement"):
        mode_e.decode_acknowledgement(bytes.fromhex(raw))


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
        (b"/XYZF\\2\r\n", Identification("XYZ", "F", "2", ""), "B", 19200),
        (b"/XYZ5\\W\\2\r\n", Identification("XYZ", "5", "W2", ""), "E", 9600),
        (b"/XY@5\\W\r\n", Identification("XY@", "5", "W", ""), "C", 9600),
        (b"/XYZ5" + b"x" * 121 + b"\r\n", Identification("XYZ", "5", "", "x" * 121), "C", 9600),
    ],
)
def test_a_meter_says_who_it_is_and_how_fast(raw, told, mode, baud):
    assert mode_e.decode_identification(raw) == told
    assert (told.mode, told.baud) == (mode, baud)
    parity = bytes(byte | (byte.bit_count() & 1) << 7 for byte in raw)
    assert mode_e.decode_identification(parity) == told


@pytest.mark.parametrize("letter", "0123456")
def test_every_speed_of_mode_e_is_known(letter):
    told = mode_e.decode_identification(b"/LGZ" + letter.encode() + b"\\2X\r\n")
    assert told.mode == "E"
    assert told.baud == [300, 600, 1200, 2400, 4800, 9600, 19200][int(letter)]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"/\r\n",
        b"/LG\r\n",
        b"/LGZ5\\2X",
        b"LGZ5X\r\n",
        b"/LGZ5" + b"x" * 122 + b"\r\n",
        b"/L1Z5X\r\n",
        b"/LGZ5X!\r\n",
        b"/LGZ5X/\r\n",
    ],
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


def test_values_before_any_address_and_behind_the_last_belong_to_what_stands_before_them():
    assert mode_e.decode_readout(b"(1)\r\n(2*A)1.8.0(3)\r\n(4)(5)\r\n!\r\n") == (
        DataSet("", (Value("1"), Value("2", "A"))),
        DataSet("1.8.0", (Value("3"), Value("4"), Value("5"))),
    )


def test_parity_bits_of_a_read_out_are_taken_off():
    parity = bytes(byte | (byte.bit_count() & 1) << 7 for byte in READ_OUT)
    assert mode_e.decode_readout(parity) == mode_e.decode_readout(READ_OUT)


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
def test_noise_raises_nothing(noise):
    Lines().feed(noise)
    for decode in (mode_e.decode_identification, mode_e.decode_readout, mode_e.decode_acknowledgement):
        with suppress(DecodeError):
            decode(noise)


@given(st.lists(st.binary(max_size=400).map(lambda noise: noise.translate(None, b"\x02\x82"))))
def test_noise_between_messages_is_not_hoarded(noises):
    lines = Lines()
    for noise in noises:
        lines.feed(noise)
        assert len(lines._pending) <= mode_e.MAX_LINE
    assert not lines.in_block
    assert all(len(text) <= mode_e.MAX_LINE for _, text in lines.ready)


@pytest.mark.parametrize(
    ("wire", "ready"),
    [
        pytest.param(b"\x00\xff\x7f/LGZ5X\r\n", [("line", b"/LGZ5X\r\n")], id="a line that is woken up"),
        pytest.param(b"x" * 500 + b"/LGZ5X\r\n", [("line", b"x" * 120 + b"/LGZ5X\r\n")], id="a line of noise"),
        pytest.param(b"xyz" + mode_e.encode_block(b"!\r\n"), [("block", b"!\r\n")], id="noise, and a block"),
        pytest.param(
            b"x\r\ny" + mode_e.encode_block(b"!\r\n"),
            [("line", b"x\r\n"), ("block", b"!\r\n")],
            id="a line, and a block",
        ),
        pytest.param(b"x\x02a", [], id="a block that begins"),
        pytest.param(b"\x02!\r\n\x03", [], id="a block whose check is yet to come"),
        pytest.param(b"\x02!\r\n\x03\x00", [("damaged", b"")], id="a wrong check"),
        pytest.param(b"x\x15\r\n", [("line", b"x\x15\r\n")], id="a refusal's byte in a line"),
        pytest.param(b"\x15\x15", [("nak", b"")] * 2, id="two refusals"),
    ],
)
def test_messages_are_cut_out_of_what_the_line_brings(wire, ready):
    for size in (1, len(wire)):
        lines = Lines()
        for at in range(0, len(wire), size):
            lines.feed(wire[at : at + size])
        assert list(lines.ready) == ready
        assert lines.in_block is (STX in wire and not ready)


def test_a_block_without_an_end_is_given_up():
    lines = Lines()
    lines.feed(b"\x02" + b"x" * mode_e.MAX_READOUT)
    assert (list(lines.ready), lines.in_block) == ([], True)
    lines.feed(b"x")
    assert lines.in_block is False
    assert list(lines.ready) == [("damaged", b"")]
    lines.feed(b"/LGZ5X\r\n")
    assert lines.ready[-1] == ("line", b"/LGZ5X\r\n")
