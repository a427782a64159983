"""The recording's format: what is written is read, and whatever else comes is refused with the place."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ota.errors import OtaError
from ota.powercut.log import SECTOR, Disk, Flush, Mark, Write, Writer, read
from tests.ota.powercut.recordings import recorded, sector

DISKS = (Disk("card", 64 * SECTOR, card=True), Disk("disk", 128 * SECTOR))


def test_a_recording_is_read_as_it_was_written(tmp_path):
    found = recorded(
        tmp_path,
        DISKS,
        ("write", 1, 3, [7, 8, 7, 0]),
        ("flush", 1),
        ("mark", "installed", {"slot": "b"}),
        ("write", 0, 0, [9], "fua"),
        base=[(1, 0, [5])],
    )
    assert found.disks == DISKS
    assert found.begin == 2
    kept, flush, mark, last = found.records[2:]
    assert isinstance(kept, Write)
    assert (kept.disk, kept.sector, kept.numbers[0], kept.numbers[3], kept.fua) == (1, 3, kept.numbers[2], 0, False)
    assert isinstance(flush, Flush)
    assert (flush.disk, flush.covers) == (1, 3)
    assert isinstance(mark, Mark)
    assert (mark.what, mark.facts) == ("installed", {"slot": "b"})
    assert last.fua
    assert found.sectors == 5  # zeros, 5, 7, 8, 9: each once


def test_each_content_is_kept_once(tmp_path):
    recorded(tmp_path, DISKS, *[("write", 1, at, [3] * 8) for at in range(0, 64, 8)])
    assert (tmp_path / "sectors").read_bytes() == bytes(SECTOR) + sector(3)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        pytest.param(lambda raw: raw[:-20], "cut short after 3 records", id="killed before its end"),
        pytest.param(lambda raw: raw + b"x", "ends in the wrong place", id="something behind it"),
        pytest.param(lambda raw: raw.replace(b'"powercut": 1', b'"powercut": 2'), "another version", id="version"),
        pytest.param(lambda raw: b"{}" + raw, "does not name its disks", id="no header"),
        pytest.param(lambda raw: raw.replace(b'"begin"', b'"BEGIN"'), "0 marks say where", id="no beginning"),
    ],
)
def test_what_is_no_whole_recording_is_refused(tmp_path, spoil, said):
    recorded(tmp_path, DISKS, ("write", 1, 0, [1]), ("flush", 1))
    log = tmp_path / "log"
    log.write_bytes(spoil(log.read_bytes()))
    with pytest.raises(OtaError, match=said):
        read(tmp_path)


def test_a_write_of_half_a_disk_too_many_is_refused(tmp_path):
    with Writer(tmp_path, DISKS) as writer:
        writer.mark("begin")
        writer.write(1, 127 * SECTOR, bytes(2 * SECTOR))
    with pytest.raises(OtaError, match="beyond the end of disk"):
        read(tmp_path)


def test_no_recording_at_all_is_said_so(tmp_path):
    with pytest.raises(OtaError, match="no recording"):
        read(tmp_path)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_is_read_or_refused(tmp_path_factory, data):
    home = tmp_path_factory.mktemp("log")
    recorded(home, DISKS, ("write", 1, 0, [1, 2]), ("mark", "x", {"a": 1}), ("flush", 1), ("write", 0, 2, [4]))
    raw = bytearray((home / "log").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.integers(0, 255))
    (home / "log").write_bytes(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    with contextlib.suppress(OtaError):
        read(home)
