"""Signing on at a meter's head over a port that changes its speed: into HDLC, or a read-out (IEC 62056-21)."""

import asyncio

import pytest

from dcu.errors import LinkError, LinkTimeout
from dcu.link import mode_e, sign_on
from dcu.link.serial import Port, open_serial
from neighbourhood.optical import State

from .optics import READ_OUT, Optics


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


@pytest.mark.parametrize("echo", [False, True], ids=["", "with an echo"])
async def test_a_meter_that_refuses_mode_e_says_what_to_do_and_reads_out(optics, echo):
    meter = optics(only_c=True)
    meter.echo = echo  # where our own acknowledgement is not its
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


ACKNOWLEDGED = b"\x06252\r\n"


@pytest.mark.parametrize(
    ("said", "enters"),
    [
        pytest.param(ACKNOWLEDGED, True, id="yes"),
        pytest.param(b"~x" + ACKNOWLEDGED, True, id="yes, behind noise"),
        pytest.param(b"~x\r\n" + ACKNOWLEDGED, True, id="yes, behind a line of noise"),
        pytest.param(b"", True, id="nothing"),
        pytest.param(b"\x15", False, id="no"),
        pytest.param(b"\x06050\r\n", False, id="another mode"),
        pytest.param(b"\x02" + READ_OUT, False, id="a read-out, cut off"),
        pytest.param(mode_e.encode_block(READ_OUT)[:-1] + b"~", False, id="a read-out, damaged"),
    ],
)
async def test_what_a_meter_says_to_the_wish_for_hdlc(optics, said, enters):
    meter = optics()
    meter.spoil = lambda data: said if data[:1] == b"\x06" else data
    stream = await port(meter)
    if enters:
        await sign_on.enter_hdlc(stream)
        assert (stream.port.baud, stream.port.format) == (9600, "8N1")
    else:
        with pytest.raises(LinkError, match="refuses mode E and reads out"):
            await sign_on.enter_hdlc(stream)
    await stream.close()


async def test_the_meter_has_time_to_change_its_speed(optics, monkeypatch):
    monkeypatch.setattr(sign_on, "PAUSE", 0.4)
    meter, changed = optics(), []
    stream = await port(meter)
    change, loop = stream.change, asyncio.get_running_loop()

    async def noted(baud, form):
        await change(baud, form)
        changed.append(loop.time())

    stream.change = noted
    await sign_on.enter_hdlc(stream)
    assert loop.time() - changed[-1] >= 0.4
    await stream.close()


@pytest.mark.parametrize("lost", [0, 1, 2, 3])
async def test_a_meter_is_called_three_times(optics, lost):
    """The first may find it waiting for something else, the second too."""
    meter, called = optics(), []
    feed = meter.head.feed
    meter.head.feed = lambda data, *at: (called.append(data), feed(data, *at) if len(called) > lost else b"")[1]
    stream = await port(meter)
    if lost < 3:
        assert (await sign_on.sign_on(stream)).maker == "GDM"
    else:
        with pytest.raises(LinkTimeout, match="no meter identifies itself"):
            await sign_on.sign_on(stream)
    assert called == [b"/?!\r\n"] * min(lost + 1, 3)
    await stream.close()


@pytest.mark.parametrize(
    ("said", "calls"),
    [
        pytest.param(b"~~/GDM5\\2X\r\n", 1, id="behind noise"),
        pytest.param(b"~~\r\n/GDM5\\2X\r\n", 1, id="behind a line of noise"),
        pytest.param(b"/G\r\n/GDM5\\2X\r\n", 1, id="behind a damaged one"),
        pytest.param(b"\x15/GDM5\\2X\r\n", 1, id="behind a refusal"),
        pytest.param(b"/GDM5\\2", 2, id="cut off"),
    ],
)
async def test_an_identification_is_found_in_what_the_head_picks_up(optics, said, calls):
    meter, heard = optics(), []
    meter.spoil = lambda data: (heard.append(data), said if len(heard) == 1 else data)[1]
    stream = await port(meter)
    assert (await sign_on.sign_on(stream)).mode == "E"
    assert len(heard) == calls
    await stream.close()


async def dribble(meter, data, gap):
    for at in range(len(data)):
        meter.line.write(data[at : at + 1])
        await asyncio.sleep(gap)


@pytest.mark.parametrize(("gap", "read"), [(0.05, True), (0.5, False)], ids=["slow", "with gaps that end it"])
async def test_an_identification_may_come_slowly(optics, gap, read):
    """It takes longer than a meter has to begin it, but no gap in it is longer than the standard has."""
    meter = optics()
    speaking = []
    meter.spoil = lambda data: (speaking.append(asyncio.ensure_future(dribble(meter, data, gap))), b"")[1]
    stream = await port(meter)
    if read:
        assert (await sign_on.sign_on(stream)).maker == "GDM"
        assert len(speaking) == 1
    else:
        with pytest.raises(LinkTimeout):
            await sign_on.sign_on(stream)
    for each in speaking:
        each.cancel()
    await asyncio.gather(*speaking, return_exceptions=True)
    await stream.close()


async def test_a_read_out_may_take_longer_than_any_line(optics, monkeypatch):
    monkeypatch.setattr(sign_on, "LINE_TIME", 0.2)
    meter, speaking = optics(only_c=True), []

    def slowly(data):
        if data[:1] == b"/":
            return data
        speaking.append(asyncio.ensure_future(dribble(meter, data, 0.01)))
        return b""

    meter.spoil = slowly
    stream = await port(meter)
    assert (await sign_on.read_out(stream))[1] == mode_e.decode_readout(READ_OUT)
    assert len(READ_OUT) * 0.01 > sign_on.LINE_TIME + sign_on.REACTION
    await asyncio.gather(*speaking)
    await stream.close()


async def test_a_read_out_that_is_whole_and_cannot_be_read_is_told(optics):
    meter = optics(only_c=True)
    meter.spoil = lambda data: mode_e.encode_block(b"1.8.0 5\r\n!\r\n") if data[:1] == b"\x02" else data
    stream = await port(meter)
    with pytest.raises(LinkError, match=r"/GDM5 SIM12345678: a read-out with b'1.8.0 5'"):
        await sign_on.read_out(stream)
    await stream.close()


async def test_a_read_out_that_never_begins_is_told(optics):
    meter = optics(only_c=True)
    meter.spoil = lambda data: data if data[:1] == b"/" else b""
    stream = await port(meter)
    with pytest.raises(LinkTimeout, match="/GDM5 SIM12345678 begins no read-out"):
        await sign_on.read_out(stream)
    await stream.close()


@pytest.mark.parametrize(("offers", "at_most", "baud"), [(19200, 9600, 9600), (600, 9600, 600), (4800, 4800, 4800)])
async def test_a_read_out_is_as_fast_as_both_can(optics, offers, at_most, baud):
    meter = optics(only_c=True, baud=offers)
    stream = await port(meter)
    assert (await sign_on.read_out(stream, at_most=at_most))[1] == mode_e.decode_readout(READ_OUT)
    assert (meter.head.speed, stream.port.baud, stream.port.format) == (baud, baud, "7E1")
    await stream.close()


class Old:
    """A meter of mode A (reads out at 300 baud) or B (at its own speed, after a while), that waits for no word."""

    state = None
    speed = 300

    def __init__(self, optics, letter, baud):
        self.optics, self.letter, self.baud = optics, letter, baud
        self.said = []

    def feed(self, data, speed, now):
        assert speed == 300
        self.said.append(data)
        asyncio.get_running_loop().call_later(0.3, self.read_out)
        return b"/ABB" + self.letter + b"old\r\n"

    def read_out(self):
        wrong = self.optics.speed() != self.baud
        self.optics.line.write(bytes(byte ^ 0x55 * wrong for byte in mode_e.encode_block(READ_OUT)))


@pytest.mark.parametrize(("letter", "baud"), [(b"x", 300), (b"C", 2400), (b"F", 19200)])
async def test_old_meters_read_out_at_their_own_speed_without_being_asked_twice(optics, letter, baud):
    """Also where that is more than the port was to have: a meter of mode B lets nobody choose."""
    meter = optics()
    meter.head = old = Old(meter, letter, baud)
    stream = await port(meter)
    told, found = await sign_on.read_out(stream, at_most=1200)
    assert (told.mode, told.baud) == ("A" if baud == 300 else "B", baud)
    assert found == mode_e.decode_readout(READ_OUT)
    assert old.said == [b"/?!\r\n"]
    await stream.close()
