"""A small file written doubly: byte-exact, one copy may be lost, a power cut at any system call loses nothing."""

import contextlib
import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError, StoreError
from dcu.platform import doubly
from dcu.platform.doubly import Copy, Doubly

contents = st.binary(max_size=200)


@pytest.fixture
def file(tmp_path):
    return Doubly(tmp_path / "one" / "index", tmp_path / "two" / "index")


def test_a_copy_is_byte_exact():
    head = bytes.fromhex("44435502 0000000000000007 00000002".replace(" ", ""))
    assert doubly.encode(7, b"hi") == head + hashlib.sha256(head + b"hi").digest() + b"hi"


@given(st.integers(0, (1 << 64) - 1), contents)
def test_what_is_encoded_is_decoded(generation, content):
    assert doubly.decode(doubly.encode(generation, content)) == (generation, content)


@given(contents, st.data())
def test_a_flipped_bit_is_noticed(content, data):
    raw = bytearray(doubly.encode(3, content))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(DecodeError):
        doubly.decode(bytes(raw))


@given(st.binary(max_size=300))
def test_noise_is_a_decode_error(noise):
    with pytest.raises(DecodeError):
        doubly.decode(noise)


def test_never_written_is_none(file):
    assert file.read() is None
    assert not file.look().lost


def test_what_was_written_is_read_and_stands_twice(file):
    file.write(b"first")
    file.write(b"second")
    assert file.read() == b"second"
    assert file.paths[0].read_bytes() == file.paths[1].read_bytes()
    assert file.paths[0].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", ["gone", "flipped", "empty", "shortened", "a directory"])
def test_one_lost_copy_costs_nothing_and_is_restored(file, which, damage):
    file.write(b"kept")
    path = file.paths[which]
    raw = path.read_bytes()
    path.unlink()
    if damage == "a directory":
        path.mkdir()
    elif damage != "gone":
        path.write_bytes({"flipped": raw[:-1] + b"x", "empty": b"", "shortened": raw[:-1]}[damage])
    assert file.read() == b"kept"
    found = file.look()
    if damage == "a directory":  # cannot be replaced by a rename: it is said, and the good copy still serves
        assert Copy.DAMAGED in (found.first, found.second)
    else:
        assert (found.first, found.second) == (Copy.GOOD, Copy.GOOD)


def test_two_damaged_copies_are_an_error_that_says_what_to_do(file):
    file.write(b"kept")
    for path in file.paths:
        path.write_bytes(b"noise")
    with pytest.raises(StoreError, match=r"both copies are damaged or gone: .* provisioned anew"):
        file.read()


def test_a_damaged_copy_beside_a_missing_one_is_lost_not_new(file):
    file.write(b"kept")
    file.paths[0].write_bytes(b"noise")
    file.paths[1].unlink()
    assert file.look().lost


def test_the_newer_copy_wins(file):
    file.write(b"old")
    stale = file.paths[0].read_bytes()
    file.write(b"new")
    file.paths[0].write_bytes(stale)
    assert file.look().first is Copy.STALE
    assert file.read() == b"new"


class PowerCut(Exception):
    pass


def cut_at(monkeypatch, step):
    """Let `step` durable steps happen, then lose power: fsync is what makes a step durable."""
    left = iter(range(step))
    real = os.fsync

    def fsync(handle):
        if next(left, None) is None:
            raise PowerCut
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("before", ["whole", "first lost", "second lost", "stale first", "stale second"])
def test_a_power_cut_at_any_step_leaves_the_old_or_the_new(file, monkeypatch, step, before):
    file.write(b"older")
    stale = file.paths[0].read_bytes()
    file.write(b"old")
    which = 0 if "first" in before else 1
    if "lost" in before:
        file.paths[which].write_bytes(b"noise")
    elif "stale" in before:
        file.paths[which].write_bytes(stale)
    with monkeypatch.context() as patch:
        cut_at(patch, step)
        with contextlib.suppress(PowerCut):
            file.write(b"new")
    assert file.read() in (b"old", b"new")
    if step == 4:
        assert file.read() == b"new"


def test_canary_a_single_file_written_in_place_loses_it_all(tmp_path, monkeypatch):
    """The same cut finds a writer that truncates the only copy: so the test above can fail."""
    path = tmp_path / "index"
    path.write_bytes(doubly.encode(1, b"old"))
    with monkeypatch.context() as patch:
        cut_at(patch, 0)
        with contextlib.suppress(PowerCut), path.open("wb") as handle:
            os.fsync(handle.fileno())
    with pytest.raises(DecodeError):
        doubly.decode(path.read_bytes())


def test_a_full_disk_is_a_store_error_and_the_old_content_stands(file, monkeypatch):
    file.write(b"old")
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StoreError, match="No space left"):
        file.write(b"new")
    monkeypatch.undo()
    assert file.read() == b"old"
