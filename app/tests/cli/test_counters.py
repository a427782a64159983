"""Invocation counters of the command: durable before they are used, locked, never used twice."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cli import counters
from dcu.cli.counters import BLOCK, LIMIT, CounterFile, own_title
from dcu.errors import StoreError

OURS, THEIRS = b"DCU\0\0\0\0\1", b"GDM\0\0\0\0\1"


def opened(folder: Path) -> CounterFile:
    return CounterFile(OURS, THEIRS, folder)


def used(folder: Path, number: int) -> list[int]:
    with opened(folder) as file:
        return [file.next() for _ in range(number)]


# --- the file


def test_the_file_is_named_for_the_pair_and_holds_the_next_counter(tmp_path):
    with opened(tmp_path) as file:
        assert not file.known
        file.raise_to(869)
        assert [file.next(), file.next()] == [869, 870]
    path = tmp_path / "4443550000000001-47444d0000000001"
    assert path.read_bytes() == b"00000000000000000871\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_state_directory_is_the_one_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert CounterFile(OURS, THEIRS).path.parent == tmp_path / "dcu" / "counters"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert CounterFile(OURS, THEIRS).path.parent == tmp_path / ".local" / "state" / "dcu" / "counters"


def test_what_was_not_used_is_given_back_on_a_clean_exit(tmp_path):
    assert used(tmp_path, 3) == [0, 1, 2]
    assert used(tmp_path, 2) == [3, 4]


def test_an_exception_gives_back_as_well(tmp_path):
    def fail() -> None:
        with opened(tmp_path) as file:
            _ = 1 // file.next()

    with pytest.raises(ZeroDivisionError):
        fail()
    assert used(tmp_path, 1) == [1]


def test_a_floor_raises_and_never_lowers(tmp_path):
    with opened(tmp_path) as file:
        file.raise_to(500)
        file.raise_to(7)
        assert file.upcoming == 500
        assert file.next() == 500


def test_a_counter_is_on_the_disk_before_it_is_used(tmp_path, monkeypatch):
    synced: list[int] = []
    sync = os.fsync

    def noted(descriptor: int) -> None:
        sync(descriptor)
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append(0 if folder else int(os.pread(descriptor, 64, 0)))

    monkeypatch.setattr(os, "fsync", noted)
    with opened(tmp_path) as file:
        for expected in range(2 * BLOCK + 1):
            assert file.next() == expected < synced[-1]
    assert synced == [0, BLOCK, 2 * BLOCK, 3 * BLOCK, 2 * BLOCK + 1]  # the folder, three blocks, what was given back


def test_a_counter_that_cannot_be_kept_is_not_handed_out(tmp_path, monkeypatch):
    def full(descriptor: int, data: bytes, at: int) -> int:
        raise OSError(28, "No space left on device")

    with opened(tmp_path) as file:
        monkeypatch.setattr(os, "pwrite", full)
        with pytest.raises(StoreError, match=r"cannot keep invocation counters: No space left on device$"):
            file.next()
        monkeypatch.undo()
        assert file.next() == 0


def test_the_last_counter_is_never_used(tmp_path):
    with opened(tmp_path) as file:
        file.raise_to(LIMIT - 1)
        assert file.next() == LIMIT - 1
        with pytest.raises(StoreError, match="its keys must be changed"):
            file.next()
    with opened(tmp_path) as file, pytest.raises(StoreError, match="its keys must be changed"):
        file.next()


@pytest.mark.parametrize(
    "content",
    [
        b"not a number",
        b"-0000000000000000001\n",
        b"0000000012",  # half of it: would be read as a counter that was used long ago
        b"%020d\n" % (LIMIT + 1),
        b"\0" * 21,
        b"%020d\n%020d\n" % (1, 2),
        "٣".encode() * 10 + b"\n",
    ],
)
def test_a_damaged_file_stops_everything_and_says_how_to_go_on(tmp_path, content):
    path = opened(tmp_path).path
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"is damaged: delete it, and the meter is asked for its counter instead$"):
        opened(tmp_path).__enter__()
    assert path.read_bytes() == content
    path.unlink()
    with opened(tmp_path) as file:
        assert not file.known


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot keep invocation counters: Not a directory"):
        opened(tmp_path / "file" / "counters").__enter__()


# --- others at the same time

HOLD = """
import sys
from pathlib import Path
from dcu.cli.counters import CounterFile
with CounterFile({ours!r}, {theirs!r}, Path(sys.argv[1])) as file:
    print(file.next(), flush=True)
    sys.stdin.read()
"""


def child(program: str, folder: Path, **more: object) -> subprocess.Popen[bytes]:
    code = program.format(ours=OURS, theirs=THEIRS, **more)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )


def test_a_second_process_is_locked_out_until_the_first_has_ended(tmp_path):
    with child(HOLD, tmp_path) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == b"0\n"
        with pytest.raises(StoreError, match="is locked: another dcu command talks to this meter, wait for it"):
            opened(tmp_path).__enter__()
        with CounterFile(OURS, b"GDM\0\0\0\0\2", tmp_path) as another_meter:
            assert another_meter.next() == 0
        holder.stdin.close()
        assert holder.wait() == 0
    assert used(tmp_path, 1) == [1]


# --- kills

SPEND = """
import os, sys
from pathlib import Path
from dcu.cli.counters import CounterFile
if {broken}:
    def forgetful(self, value):
        self._reserved = value
    CounterFile._write = forgetful
with CounterFile({ours!r}, {theirs!r}, Path(sys.argv[1])) as file:
    for _ in range({most}):
        os.write(1, b"%d\\n" % file.next())
    os.kill(os.getpid(), 9)
"""


def spent(folder: Path, most: int, *, broken: bool = False) -> list[int]:
    """The counters that a process used before it was killed in the midst of it: the last may be cut off."""
    with child(SPEND, folder, broken=broken, most=most) as process:
        assert process.stdout
        first = process.stdout.readline()
        if most > 1_000:
            process.kill()
        lines = (first + process.stdout.read()).splitlines(keepends=True)
        assert process.wait() == -signal.SIGKILL
    return [int(line) for line in lines if line.endswith(b"\n")]


def test_no_counter_is_used_twice_however_often_the_process_is_killed(tmp_path):
    seen: list[int] = []
    for most in (1, BLOCK, 100_000, 3, 100_000, BLOCK - 1, 100_000):
        seen += spent(tmp_path, most)
    assert seen == sorted(set(seen))
    assert len(seen) > 2 * BLOCK


def test_canary_a_file_that_forgets_uses_counters_twice(tmp_path):
    seen = spent(tmp_path, 5, broken=True) + spent(tmp_path, 5, broken=True)
    assert seen != sorted(set(seen))


@given(
    st.lists(
        st.tuples(st.integers(0, 3 * BLOCK), st.sampled_from(["close", "crash"]), st.none() | st.integers(0, 2_000)),
        max_size=8,
    )
)
@settings(max_examples=30, deadline=None)
def test_counters_only_ever_grow_over_exits_crashes_and_floors(sessions):
    with tempfile.TemporaryDirectory() as folder:
        seen = [-1]
        for number, end, floor in sessions:
            file = opened(Path(folder))
            file.__enter__()
            if floor is not None:
                file.raise_to(floor)
            for _ in range(number):
                value = file.next()
                assert value > seen[-1]
                assert value >= (floor or 0)
                seen.append(value)
            if end == "close":
                file.__exit__(None, None, None)
            else:
                os.close(file._file)  # the lock goes, nothing is given back


# --- who we are


def test_our_own_title_is_made_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    title = own_title()
    assert title[:3] == b"DCU"
    assert len(title) == 8
    assert own_title() == title
    assert [path.name for path in (tmp_path / "dcu").iterdir()] == ["client_title"]


def test_of_two_that_make_it_at_once_one_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = own_title()
    counters._make_title(tmp_path / "dcu" / "client_title")  # it had looked before the first was done
    assert own_title() == first


def test_a_damaged_title_is_not_replaced_in_silence(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    own_title()
    (tmp_path / "dcu" / "client_title").write_text("zz")
    with pytest.raises(StoreError, match="is damaged: delete it, or name a client_title in the keys file"):
        own_title()
