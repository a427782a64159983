"""Many meters on one line: one is spoken with at a time, and nobody's late answer is taken for another's."""

import asyncio

import pytest

from dcu.errors import LinkClosed, LinkError, LinkTimeout
from dcu.link.hdlc import Address, Control, Frame, Kind, encode
from dcu.link.hdlc_channel import open_hdlc
from dcu.link.hdlc_client import Setup, State
from dcu.link.hdlc_multidrop import Multidrop
from dcu.link.hdlc_parameters import Parameters
from dcu.link.hdlc_server import Station
from dcu.link.line import HUSH, HalfDuplex, Line
from neighbourhood.bus import Bus

BYTE = 10 / 9600


def meter(number, answer=None):
    return Station(answer or (lambda client, server, apdu: bytes((number,)) + apdu), physical=number)


def setup(physical, **more):
    options = {"timeout": 1.0, "retries": 2, "byte_time": BYTE, "inter_octet": 0.1} | more
    return Setup(Address(1), Address(1, physical, 2), Parameters(128, 128, 7, 7), **options)


def street(count=3, **bus):
    made = Bus({number: meter(number) for number in range(17, 17 + count)}, **bus)
    return made, Line(made.open, turnaround=0.01)


async def joined(line, physical, **more):
    seat = line.seat()
    return await open_hdlc(seat, setup(physical, **more), seat)


async def ask(channel, apdu):
    await channel.send(apdu)
    return await channel.receive()


@pytest.mark.looptime
async def test_meters_on_one_line_are_spoken_with_in_turn():
    bus, line = street(20)
    channels = [await joined(line, number) for number in range(17, 37)]
    sent = [(n, bytes((n,)) * size) for n in range(17, 37) for size in (1, 100, 400)]

    async def all_of(number, channel):
        return [await ask(channel, apdu) for n, apdu in sent if n == number]

    found = await asyncio.gather(*(all_of(n, channel) for n, channel in zip(range(17, 37), channels, strict=True)))
    assert [a for answers in found for a in answers] == [bytes((n,)) + apdu for n, apdu in sent]
    assert bus.collisions == 0
    assert bus.opened == 1
    assert all(channel.link.counted.repeated == channel.link.counted.timeouts == 0 for channel in channels)
    await asyncio.gather(*(channel.close() for channel in channels))
    assert bus.collisions == 0


@pytest.mark.looptime
async def test_without_the_floor_they_would_collide():
    """The canary: the same, each as if it were alone."""
    bus, line = street(3)
    await line.seat().take()  # opens it

    class Loose:
        """A seat that takes no heed of the others."""

        async def read(self, limit=65536):
            return await line._read()

        async def write(self, data):
            await line._write(data)

        async def close(self):
            pass

    outcomes = await asyncio.gather(
        *(open_hdlc(Loose(), setup(number)) for number in (17, 18, 19)), return_exceptions=True
    )
    assert bus.collisions or any(isinstance(outcome, LinkError) for outcome in outcomes)


@pytest.mark.looptime
async def test_a_silent_meter_costs_its_own_time_and_the_others_go_on():
    bus, line = street(2)
    good = await joined(line, 17)
    loop = asyncio.get_running_loop()
    started = loop.time()
    with pytest.raises(LinkTimeout, match="3 times asked"):
        await joined(line, 99)
    assert 3.0 < loop.time() - started < 5.0
    assert await ask(good, b"still there?") == b"\x11still there?"
    assert bus.collisions == 0


@pytest.mark.looptime
async def test_an_answer_that_nobody_waits_for_any_more_passes_before_the_next_speaks():
    """The meter begins to answer when its client has given up."""
    bus, line = street(2, turnaround=0.5)
    slow, other = await joined(line, 17), await joined(line, 18)
    bus.turnaround = 0.8
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.6):
            await ask(slow, bytes(120))
    bus.turnaround = 0.02
    assert await ask(other, b"you") == b"\x12you"
    assert bus.collisions == 0
    assert line.late > 0
    assert other.link.counted.strays == 0


@pytest.mark.looptime
async def test_the_line_is_kept_for_a_given_up_answer_no_longer_than_it_can_come():
    bus, line = street(2)
    asked, other = await joined(line, 17), await joined(line, 18)
    bus.meters._stations.pop(17)
    loop = asyncio.get_running_loop()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await ask(asked, b"?")
    started = loop.time()
    assert await ask(other, b"you") == b"\x12you"
    assert 0.5 < loop.time() - started < 1.5 + HUSH


@pytest.mark.looptime
async def test_who_waits_for_the_line_can_be_cancelled_and_gets_nothing_of_it():
    bus, line = street(3)
    first, second = await joined(line, 17), await joined(line, 18)
    await first.send(bytes(2000))
    waiting = asyncio.create_task(ask(second, b"no"))
    await asyncio.sleep(0.1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await first.receive() == b"\x11" + bytes(2000)
    assert await ask(second, b"yes") == b"\x12yes"
    assert bus.collisions == 0


@pytest.mark.looptime
async def test_looking_whether_something_is_there_sends_nothing():
    bus, line = street(2)
    channel, other = await joined(line, 17), await joined(line, 18)
    await other.send(b"x")
    before = bus.turns
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await channel.receive()
    assert bus.turns == before
    assert await other.receive() == b"\x12x"


@pytest.mark.looptime
async def test_an_adapter_that_was_pulled_out_is_opened_anew():
    bus, line = street(2)
    channel = await joined(line, 17)
    bus.cut()
    assert await ask(channel, b"between two exchanges") == b"\x11between two exchanges"
    assert bus.opened == 2
    asyncio.get_running_loop().call_later(0.02, bus.cut)
    with pytest.raises(LinkClosed, match="adapter is gone"):
        await ask(channel, b"within one")
    await channel.close()
    again = await joined(line, 17)
    assert await ask(again, b"y") == b"\x11y"
    assert bus.opened == 3
    await again.close()
    await line.close()
    assert bus.end.closed


@pytest.mark.looptime
async def test_a_line_that_cannot_be_opened_is_told_each_time_and_held_by_nobody():
    async def no_port():
        raise LinkError("there is no such device")

    line = Line(no_port)
    for _ in range(2):
        with pytest.raises(LinkError, match="no such device"):
            await joined(line, 17)


@pytest.mark.looptime
async def test_a_closed_channel_does_not_speak_any_more():
    _, line = street(1)
    channel = await joined(line, 17)
    await channel.close()
    with pytest.raises(LinkClosed):
        await channel.send(b"x")


@pytest.mark.looptime
async def test_we_wait_for_the_turnaround_before_we_answer():
    bus, _ = street(1)
    end = await bus.open()
    line = HalfDuplex(end, 0.05)
    loop = asyncio.get_running_loop()
    end.arrived += b"x"
    await line.read()
    heard = loop.time()
    await line.write(b"y")
    assert loop.time() - heard == pytest.approx(0.05)


@pytest.mark.looptime
@pytest.mark.parametrize("moment", [0.001, 0.01, 0.03, 0.05, 0.08, 0.12, 0.3])
@pytest.mark.parametrize("step", ["connect", "ask", "close"])
async def test_a_meter_that_falls_silent_in_any_state_leaves_the_line_usable(step, moment):
    bus, line = street(2)
    channel = None if step == "connect" else await joined(line, 17)
    end = asyncio.get_running_loop().call_later(moment, bus.meters._stations.pop, 17)
    try:
        if channel is None:
            channel = await joined(line, 17)
        if step == "ask":
            await ask(channel, bytes(1000))
    except LinkTimeout:
        pass
    finally:
        if channel is not None:
            await channel.close()
    other = await joined(line, 18)
    assert await ask(other, b"x") == b"\x12x"
    end.cancel()
    bus.meters._stations[17] = meter(17)
    again = await joined(line, 17)
    assert again.link.state is State.CONNECTED
    assert await ask(again, b"back") == b"\x11back"
    assert bus.collisions == 0


# --- the meters' side


def test_each_meter_answers_what_has_its_address():
    meters = Multidrop({17: meter(17), 18: meter(18)})
    snrm = [encode(Frame(Address(1, to, 2), Address(1), Control(Kind.SNRM, True))) for to in (17, 18, 19)]
    assert meters.feed(snrm[0], 0.0).count(b"\x7e") == 2
    assert meters.feed(snrm[1], 0.1)
    assert meters.feed(snrm[2], 0.2) == b""
    assert meters.strays == 1
    assert len(meters._stations[17].links) == len(meters._stations[18].links) == 1


@pytest.mark.parametrize("upper", [1, 0x7F])
def test_a_broadcast_is_for_all_and_answered_by_none(upper):
    heard = []

    def note(number):
        return lambda client, server, apdu: heard.append((number, apdu))

    meters = Multidrop({17: meter(17, note(17)), 18: meter(18, note(18))})
    frame = Frame(Address(upper, 0x7F, 2), Address(1), Control(Kind.UI, True), b"\xe6\xe6\x00all")
    assert meters.feed(encode(frame), 0.0) == b""
    assert heard == [(17, b"all"), (18, b"all")]


def test_a_frame_cut_by_a_pause_is_given_up():
    meters = Multidrop({17: meter(17)}, inter_octet=0.1)
    snrm = encode(Frame(Address(1, 17, 2), Address(1), Control(Kind.SNRM, True)))
    assert meters.feed(snrm[:5], 0.0) == b""
    assert meters.deadline == pytest.approx(0.1)
    assert meters.tick(0.2) == b""
    assert meters.feed(snrm, 0.3)
