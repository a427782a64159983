"""The worker's walls: what it tries from inside, and what its filter says for every architecture it knows."""

import errno
import os
import re
import struct
import sys
from pathlib import Path

import pytest

from dcu.cli.worker import Worker
from dcu_gurux import seccomp

ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003


def test_nothing_can_be_opened_connected_started_or_traced(canaries):
    attempts = canaries.ask("attempts", {}, list[str])
    results = {what: canaries.ask("attempt", {"what": what}, str) for what in attempts}
    assert len(results) >= 20
    assert results.pop("lift a limit") == "not allowed to raise maximum limit"
    assert results.pop("start a thread") == "can't start new thread"
    assert results == dict.fromkeys(results, "EPERM")
    assert canaries.started == 1


HARMLESS = ["read a file", "list a folder", "open a socket", "make a pipe", "run a program", "map executable memory"]


def without(wall: str, answer: str) -> Worker:
    """A worker from whose sandbox one function was taken out."""
    program = (
        "import sys; from dcu_gurux import sandbox, worker;"
        f"sandbox.{wall} = lambda *_: {answer}; sys.argv = ['worker', '--canaries']; worker.main()"
    )
    return Worker((sys.executable, "-I", "-c", program))


def test_the_attempts_would_succeed_without_the_sandbox():
    with without("enter", "['seccomp']") as open_worker:
        assert {open_worker.ask("attempt", {"what": what}, str) for what in HARMLESS} == {"done"}


def test_without_the_filter_there_is_still_nothing_to_open():
    with without("_filter", "None") as worker:
        results = {what: worker.ask("attempt", {"what": what}, str) for what in HARMLESS[:-1]}
    assert results == dict.fromkeys(HARMLESS[:-1], "EMFILE")


def test_it_says_what_confines_it(canaries):
    canaries.ask("attempts", {}, list[str])
    assert set(canaries.walls) >= {"limits", "capabilities", "not-dumpable", "no-new-privileges", "seccomp"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_kernel_agrees(canaries):
    canaries.ask("attempts", {}, list[str])
    process = Path(f"/proc/{canaries._process.pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == 0
    limits = (process / "limits").read_text()
    for limit in ("Max open files", "Max core file size", "Max file size", "Max processes", "Max locked memory"):
        assert re.search(rf"^{limit} +0 +0 ", limits, re.MULTILINE), limit
    if "namespaces" in canaries.walls and os.geteuid() == 0:  # who is not root may not look at a non-dumpable process
        assert (process / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()


def test_memory_is_bounded(canaries):
    assert 10 < canaries.ask("swallow", {"megabytes": 1000}, int) < 256
    assert canaries.ask("noise", {}, str) == "quiet"  # and it goes on


@pytest.mark.parametrize(
    ("machine", "architecture", "call", "arguments", "verdict"),
    [
        pytest.param("x86_64", X86_64, 0, (), ALLOW, id="x86_64: read"),
        pytest.param("x86_64", X86_64, 1, (), ALLOW, id="x86_64: write"),
        pytest.param("x86_64", X86_64, 2, (), REFUSE, id="x86_64: open"),
        pytest.param("x86_64", X86_64, 257, (), REFUSE, id="x86_64: openat"),
        pytest.param("x86_64", X86_64, 41, (), REFUSE, id="x86_64: socket"),
        pytest.param("x86_64", X86_64, 59, (), REFUSE, id="x86_64: execve"),
        pytest.param("x86_64", X86_64, 425, (), REFUSE, id="x86_64: io_uring_setup"),
        pytest.param("x86_64", X86_64, 9, (0, 4096, 3), ALLOW, id="x86_64: mmap for data"),
        pytest.param("x86_64", X86_64, 9, (0, 4096, 7), REFUSE, id="x86_64: mmap for code"),
        pytest.param("x86_64", X86_64, 10, (0, 4096, 5), REFUSE, id="x86_64: mprotect for code"),
        pytest.param("x86_64", X86_64, 0x40000000, (), KILL, id="x86_64: the x32 door"),
        pytest.param("x86_64", I386, 3, (), KILL, id="x86_64: the 32-bit door"),
        pytest.param("aarch64", AARCH64, 63, (), ALLOW, id="aarch64: read"),
        pytest.param("aarch64", AARCH64, 64, (), ALLOW, id="aarch64: write"),
        pytest.param("aarch64", AARCH64, 56, (), REFUSE, id="aarch64: openat"),
        pytest.param("aarch64", AARCH64, 198, (), REFUSE, id="aarch64: socket"),
        pytest.param("aarch64", AARCH64, 221, (), REFUSE, id="aarch64: execve"),
        pytest.param("aarch64", AARCH64, 220, (), REFUSE, id="aarch64: clone"),
        pytest.param("aarch64", AARCH64, 222, (0, 4096, 3), ALLOW, id="aarch64: mmap for data"),
        pytest.param("aarch64", AARCH64, 222, (0, 4096, 7), REFUSE, id="aarch64: mmap for code"),
        pytest.param("aarch64", X86_64, 63, (), KILL, id="aarch64: another architecture"),
    ],
)
def test_the_filter_decides(machine, architecture, call, arguments, verdict):
    assert _run(seccomp.program(machine), architecture, call, arguments) == verdict


def test_an_architecture_without_a_filter_is_named(monkeypatch):
    monkeypatch.setattr(seccomp.os, "uname", lambda: os.uname_result(("Linux", "n", "6", "v", "riscv64")))
    assert seccomp.machine() is None


def _run(program: bytes, architecture: int, call: int, arguments: tuple[int, ...]) -> int:
    """Run a classic BPF program, as the kernel would, over one call's struct seccomp_data."""
    data = struct.pack("=iIQ6Q", call, architecture, 0, *(*arguments, *[0] * (6 - len(arguments))))
    steps = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            accumulator = int.from_bytes(data[value : value + 4], sys.byteorder)
        else:
            holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
            at += if_true if holds else if_false
