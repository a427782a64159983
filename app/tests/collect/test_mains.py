"""/dev/lastgasp: its events as the module's header lays them out, and what a device does that comes and goes."""

import asyncio
import os
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.collect.mains import EVENT, Event, LastGaspLine, decode, open_line
from dcu.errors import DecodeError

HEADER = Path(__file__).parents[3] / "meta-grid-dcu/recipes-kernel/lastgasp/files/lastgasp.h"
REAL = 1_763_640_123_450_000_000
# version 1, kind 1, sequence 5, 100.0 s after the boot, 2025-11-20 12:02:03.45, 20,000 ms left, 16,000 ms to the end
FAIL = bytes.fromhex("0100 0100 05000000 00e8764817000000 8002dd1d59b57918 204e0000 803e0000".replace(" ", ""))


def event(kind=1, version=1, sequence=0, boot=100 * 10**9, real=REAL, remaining=20_000, deadline=16_000):
    return EVENT.pack(version, kind, sequence, boot, real, remaining, deadline)


def test_an_event_is_byte_exact():
    assert event(sequence=5) == FAIL
    at = datetime(2025, 11, 20, 12, 2, 3, 450_000, tzinfo=UTC)
    assert decode(FAIL) == [Event(True, 5, 100.0, at, 20.0, 16.0)]


def test_the_layout_is_that_of_the_modules_header():
    text = HEADER.read_text()
    body = text[text.index("struct lastgasp_event {") :].split("};")[0]
    letters = {"__u16": "H", "__u32": "I", "__u64": "Q"}
    fields = [line.split() for line in body.splitlines()[1:] if line.strip()]
    assert "=" + "".join(letters[kind] for kind, _ in fields) == EVENT.format
    assert "LASTGASP_EVENT_VERSION\t1" in text
    assert EVENT.size == 32


def test_what_is_left_counts_from_the_edge_not_from_when_we_heard_of_it():
    (failure,) = decode(FAIL)
    assert failure.notice(100.25) == 15.75
    assert failure.notice(500.0) == 0.0
    (unarmed,) = decode(event(deadline=0))
    assert unarmed.notice(101.0) == 19.0  # nobody forces an end: the capacitor does
    (silent,) = decode(event(deadline=0, remaining=0))
    assert silent.notice(101.0) is None


@pytest.mark.parametrize("raw", [event()[:31], event() + b"\0", event(version=2), event(kind=3), event(kind=0)])
def test_another_modules_events_are_refused(raw):
    with pytest.raises(DecodeError, match="last gasp"):
        decode(raw)


@given(st.binary(max_size=200))
def test_noise_is_a_decode_error_or_events(noise):
    try:
        found = decode(noise)
    except DecodeError:
        return
    assert len(found) * EVENT.size == len(noise)


@pytest.fixture
def device():
    """Two ends of a socket that keeps message boundaries, as the device keeps its events whole."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near.setblocking(False)
    line = LastGaspLine(near.detach(), lambda: 101.0)
    yield line, far
    far.close()
    line.close()


async def test_events_come_one_by_one_as_soon_as_there_are_any(device):
    line, far = device
    waiting = asyncio.create_task(line.event())
    await asyncio.sleep(0.02)
    assert not waiting.done()
    far.send(event() + event(kind=2, sequence=1))
    failure = await waiting
    assert (failure.failing, failure.notice) == (True, 15.0)
    assert not (await line.event()).failing
    line.done()
    assert far.recv(10) == b"done"
    line.off()
    assert far.recv(10) == b"off"


async def test_a_wait_that_is_given_up_leaves_no_reader_behind(device):
    line, far = device
    waiting = asyncio.create_task(line.event())
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    far.send(event())
    assert (await line.event()).failing


async def test_a_device_that_goes_is_an_error(device):
    line, far = device
    far.close()
    with pytest.raises(OSError, match="gone"):
        await line.event()


def test_a_device_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(OSError, match="lastgasp"):
        open_line(tmp_path / "lastgasp")
    os.mkfifo(tmp_path / "lastgasp")
    open_line(tmp_path / "lastgasp").close()
