"""`python -m device.lastgasp`: measures, per kernel, how long the module lets user space and the power-off wait.

In guest time where user space is measured (a read's CLOCK_BOOTTIME against the event's), with `-icount`: every
instruction takes 8 ns, so a busy host counts for nothing. In host time for the power-off, without.
"""

# ruff: noqa: T201  (a command speaks)

import contextlib
import statistics
import sys
import time
from collections.abc import Callable

from device.lastgasp import build
from device.lastgasp.guest import Guest
from device.lastgasp.kernels import Kernel, kernels
from device.lastgasp.tests.conftest import NODE
from device.lastgasp.tests.test_guest import FAIL, events

TIMES = 30
ICOUNT = ("-icount", "shift=3,sleep=on")


def main() -> None:
    every = kernels()
    agent = build.agent(every[-1].root)
    for kernel in every:
        module = build.module(kernel, "cloud-arm64").path

        def boot(*options: str, kernel: Kernel = kernel, module=module) -> Guest:  # type: ignore[no-untyped-def]
            return Guest(kernel.image(), module, agent, NODE, options=options)

        with boot(*ICOUNT) as guest:
            show(f"{kernel.release}: edge to read, debounce of {NODE['debounce-ms']} ms included", waking(guest))
        with boot() as guest:
            show(f"{kernel.release}: deadline to power-off, idle", forcing(guest, lambda guest: None))
            show(f"{kernel.release}: the word `off` to power-off", asking(guest))
            show(f"{kernel.release}: deadline to power-off, every CPU at SCHED_FIFO 99", forcing(guest, hog))


def waking(guest: Guest) -> list[float]:
    """Return milliseconds of guest time from the line's edge to the return of read()."""
    guest.ask("insmod /lastgasp.ko")
    guest.put("armed", "0")
    guest.ask("open 0 rn")
    guest.ask("watch 0")
    found = []
    for _ in range(TIMES):
        for level in (1, 0):
            guest.line(level)
            _, at, data = guest.expect("event", 60).split()
            (event,) = events(data)
            if event.kind == FAIL:
                found.append((int(at) - event.boottime) / 1e6)
    return found


def forcing(guest: Guest, before: Callable[[Guest], None]) -> list[float]:
    """Return milliseconds of host time from the deadline to the guest's power-off."""
    if not guest.saved:
        guest.ask("insmod /lastgasp.ko")
        guest.save()
    found = []
    for _ in range(TIMES // 3):
        guest.restore()
        before(guest)
        began = guest.line(1)
        off = guest.off(10)
        found.append((off - began) * 1e3 - NODE["hold-up-ms"] + NODE["deadline-margin-ms"] if off else float("inf"))
    return found


def asking(guest: Guest) -> list[float]:
    """Return milliseconds of host time from user space's word to the guest's power-off."""
    found = []
    for _ in range(TIMES // 3):
        guest.restore()
        guest.ask("open 0 rwn")
        guest.ask("watch 0")
        guest.line(1)
        guest.expect("event")
        guest.tell("write 0 off")
        began = time.monotonic()
        off = guest.off(10)
        found.append((off - began) * 1e3 if off else float("inf"))
    return found


def hog(guest: Guest) -> None:
    guest.ask("hog", 20)


def show(what: str, found: list[float]) -> None:
    low, middle, high = min(found), statistics.median(found), max(found)
    print(f"{what}: {low:.1f} / {middle:.1f} / {high:.1f} ms (least, median, most of {len(found)})", flush=True)


with contextlib.suppress(KeyboardInterrupt):
    sys.exit(main())
