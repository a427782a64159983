"""A new file that others rely on: whole, with its name, or not there; and never in place of another."""

import os

import pytest

from dcu import durable


def test_a_new_file_is_flushed_and_then_its_name(tmp_path, monkeypatch):
    synced, path = [], tmp_path / "keys.toml"
    fsync = os.fsync

    def watched(handle):
        synced.append(os.readlink(f"/proc/self/fd/{handle}"))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    durable.create(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert synced == [str(path), str(tmp_path)]


def test_what_is_there_stays(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        durable.create(path, b"new")
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("failing", [1, 2], ids=["the file", "its directory"])
def test_what_cannot_be_flushed_is_gone(tmp_path, monkeypatch, failing):
    calls, path = [], tmp_path / "keys.toml"

    def full(handle):
        calls.append(handle)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        durable.create(path, b"new")
    assert not path.exists()
