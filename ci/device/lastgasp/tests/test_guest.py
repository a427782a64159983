"""What the module does in a running kernel, seen by processes and from the power line (QEMU; docs/lastgasp.md)."""

import struct
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from device.lastgasp import build
from device.lastgasp.guest import DRIVER, Guest
from device.lastgasp.kernels import Kernel
from device.lastgasp.tests.conftest import DEADLINE, NODE
from device.lastgasp.tests.test_build import planted

FAIL, RETURN = 1, 2
EPERM, EAGAIN, ENODEV, EINVAL, ENODATA = "errno 1", "errno 11", "errno 19", "errno 22", "errno 61"
HOLD_UP = NODE["hold-up-ms"] / 1000
SLACK = 1.0  # what a busy host may add to a time, in seconds; a sleeping worker of the guest adds the same


class Event(NamedTuple):
    version: int
    kind: int
    sequence: int
    boottime: int
    realtime: int
    remaining: int
    deadline: int


def event(guest: Guest, slot: int = 0, word: str = "event") -> Event:
    """Return the next event that the agent reads from `slot`."""
    while True:
        where, _, data = guest.expect(word).split()
        if int(where) == slot:
            return events(data)[0]


def events(data: str) -> list[Event]:
    return [Event(*each) for each in struct.iter_unpack("<HHIQQII", bytes.fromhex(data))]


def watch(guest: Guest, slot: int = 0, how: str = "rwn") -> None:
    assert guest.ask(f"open {slot} {how}").startswith("ok")
    guest.ask(f"watch {slot}")


def test_a_failure_and_a_return_reach_every_reader(guest: Guest) -> None:
    watch(guest, 0)
    watch(guest, 1, "r")
    guest.tell("block")
    guest.expect("blocking")
    guest.line(1)
    lines = {word + slot: data for word, slot, data in (told(guest) for _ in range(3))}
    assert lines.keys() == {"event0", "event1", "blocked0"}
    assert len(set(lines.values())) == 1
    (failure,) = events(lines["event0"])
    assert failure == (1, FAIL, 0, failure.boottime, failure.realtime, NODE["hold-up-ms"], DEADLINE * 1000)
    assert guest.get("state") == "failing"
    guest.line(0)
    back = event(guest)
    assert (back.kind, back.sequence, back.deadline) == (RETURN, 1, 0)
    outage = back.boottime - failure.boottime
    assert back.remaining == pytest.approx(failure.remaining - outage / 1e6, abs=1)
    assert back.realtime - failure.realtime == pytest.approx(outage, abs=1e6)
    assert (guest.get("state"), guest.get("events")) == ("powered", "2")


def told(guest: Guest) -> tuple[str, str, str]:
    while True:
        text = guest.hear(5).split()
        if text[:1] == ["LG"] and text[1] in ("event", "blocked"):
            return text[1], text[2], text[4]


def test_a_glitch_is_no_failure(guest: Guest) -> None:
    watch(guest)
    for _ in range(5):
        guest.line(1)
        guest.line(0)
        assert guest.silent("event", 0.1)
    assert (guest.get("state"), guest.get("events")) == ("powered", "0")


def test_a_line_that_is_never_quiet_counts_as_failed(guest: Guest) -> None:
    watch(guest)
    began = time.monotonic()
    level = 0
    while guest.silent("event", 0.003):
        assert time.monotonic() - began < 0.08 + SLACK
        level ^= 1
        guest.line(level)
    assert guest.get("state") == "failing"


def test_a_return_inside_the_window_withdraws_the_deadline(guest: Guest) -> None:
    watch(guest)
    guest.line(1)
    assert event(guest).kind == FAIL
    guest.line(0)
    assert event(guest).kind == RETURN
    assert guest.off(DEADLINE + SLACK) is None
    assert guest.get("state") == "powered"


def test_a_return_that_is_not_yet_settled_at_the_deadline_is_waited_for(guest: Guest) -> None:
    watch(guest)
    began = guest.line(1)
    assert event(guest).kind == FAIL
    time.sleep(began + DEADLINE - 0.15 - time.monotonic())  # half of the return's debounce before the deadline
    guest.line(0)
    assert event(guest).kind == RETURN
    assert guest.off(SLACK) is None


def test_a_return_that_does_not_hold_past_the_deadline_is_none(guest: Guest) -> None:
    watch(guest)
    began = guest.line(1)
    assert event(guest).kind == FAIL
    time.sleep(began + DEADLINE - 0.15 - time.monotonic())
    guest.line(0)
    time.sleep(0.2)
    guest.line(1)
    off = guest.off(0.5 + SLACK)
    assert off is not None
    assert DEADLINE < off - began < DEADLINE + 0.5 + SLACK


def test_the_deadline_forces_the_shutdown_when_user_space_never_answers(guest: Guest) -> None:
    began = guest.line(1)
    off = guest.off(DEADLINE + SLACK)
    assert off is not None
    assert DEADLINE < off - began < DEADLINE + SLACK
    assert not guest.reset
    assert "HARDWARE PROTECTION shutdown (last gasp: user space is late)" in "\n".join(guest.console)


def test_the_deadline_forces_the_shutdown_when_every_processor_is_taken(guest: Guest) -> None:
    assert guest.ask("hog") == "ok 0"
    began = guest.line(1)
    off = guest.off(HOLD_UP + SLACK)
    assert off is not None
    # The kernel's workers get a twentieth of every second: when that is not enough, a reset ends it.
    assert DEADLINE < off - began < HOLD_UP + SLACK
    assert not guest.reset or off - began > HOLD_UP - 0.1  # it never comes early


def test_user_space_that_powers_off_in_time_needs_no_force(guest: Guest) -> None:
    watch(guest)
    guest.ask("react poweroff")
    began = guest.line(1)
    off = guest.off(DEADLINE + SLACK)
    assert off is not None
    assert off - began < DEADLINE
    assert "HARDWARE PROTECTION" not in "\n".join(guest.console)


@pytest.mark.parametrize("way", ["file", "sysfs"])
def test_done_is_seen_and_the_mains_are_still_awaited(guest: Guest, way: str) -> None:
    watch(guest)
    began = guest.line(1)
    event(guest)
    if way == "file":
        assert guest.ask("write 0 done") == "ok 4"
    else:
        assert guest.put("done", "1") == "ok 1"
    assert guest.get("state") == "done"
    off = guest.off(DEADLINE + SLACK)
    assert off is not None
    assert off - began > DEADLINE
    assert "(last gasp: user space is done)" in "\n".join(guest.console)


def test_off_ends_it_at_once_without_waiting_for_the_deadline(guest: Guest) -> None:
    watch(guest)
    began = guest.line(1)
    event(guest)
    guest.tell("write 0 off")
    off = guest.off(DEADLINE + SLACK)
    assert off is not None
    assert off - began < DEADLINE
    assert not guest.reset
    assert "(last gasp: user space is done)" in "\n".join(guest.console)


def test_off_waits_for_a_line_that_is_just_coming_back(guest: Guest) -> None:
    watch(guest)
    guest.line(1)
    event(guest)
    guest.line(0)
    assert guest.ask("write 0 off") == "ok 3"
    assert guest.ask("write 0 off") == "ok 3"  # impatience changes nothing
    assert event(guest).kind == RETURN
    assert guest.off(DEADLINE + SLACK) is None
    assert guest.get("state") == "powered"


def test_off_takes_a_return_that_does_not_hold_for_none(guest: Guest) -> None:
    watch(guest)
    guest.line(1)
    event(guest)
    guest.line(0)
    assert guest.ask("write 0 off") == "ok 3"
    began = guest.line(1)
    off = guest.off(DEADLINE + SLACK)
    assert off is not None
    assert off - began < NODE["return-debounce-ms"] / 1000 + SLACK


def test_off_is_refused_without_an_outage_and_where_nothing_is_forced(guest: Guest) -> None:
    watch(guest)
    assert guest.ask("write 0 off") == ENODATA
    assert guest.put("armed", "0") == "ok 1"
    guest.line(1)
    event(guest)
    assert guest.ask("write 0 off") == EPERM
    assert guest.off(DEADLINE + SLACK) is None


def test_after_done_a_return_is_as_good_as_before(guest: Guest) -> None:
    watch(guest)
    guest.ask("react done")
    guest.line(1)
    assert guest.expect("reacted") == "ok 5"
    guest.line(0)
    assert event(guest).kind in (FAIL, RETURN)
    time.sleep(0.5)
    assert guest.get("state") == "powered"


def test_done_is_refused_without_an_outage_and_so_are_other_words(guest: Guest) -> None:
    watch(guest)
    assert guest.ask("write 0 done") == ENODATA
    assert guest.put("done", "1") == ENODATA
    assert guest.put("done", "0") == EINVAL
    assert guest.ask("write 0 cancel") == EINVAL
    assert guest.ask("write 0 doneanddone") == EINVAL


def test_disarmed_it_tells_but_does_not_force_until_it_is_armed_again(guest: Guest) -> None:
    watch(guest)
    assert guest.put("armed", "0") == "ok 1"
    guest.line(1)
    assert event(guest).deadline == 0
    assert guest.off(DEADLINE + SLACK) is None
    assert (guest.get("state"), guest.get("armed"), guest.get("deadline_ms")) == ("failing", "0", "0")
    guest.tell("put /sys/class/misc/lastgasp/armed 1")
    assert guest.off(SLACK) is not None


def test_disarming_in_an_outage_calls_its_deadline_off(guest: Guest) -> None:
    watch(guest)
    guest.line(1)
    assert event(guest).deadline == DEADLINE * 1000
    assert guest.put("armed", "0") == "ok 1"
    assert guest.off(DEADLINE + SLACK) is None


def test_a_file_opened_in_an_outage_starts_with_the_failure(guest: Guest) -> None:
    guest.line(1)
    time.sleep(0.3)
    watch(guest)
    assert event(guest).kind == FAIL
    assert guest.ask("read 0 32") == EAGAIN


def test_a_failure_before_the_driver_is_bound_is_an_event(guest: Guest) -> None:
    assert guest.ask("rmmod lastgasp") == "ok 0"
    guest.line(1)
    assert guest.ask("insmod /lastgasp.ko") == "ok 0"
    watch(guest)
    assert event(guest).kind == FAIL


def test_a_read_takes_whole_events_only(guest: Guest) -> None:
    guest.ask("open 0 rn")
    assert guest.ask("read 0 32") == EAGAIN
    assert guest.ask("read 0 31") == EINVAL
    guest.put("armed", "0")
    cycle(guest, 1)
    _, _, data = guest.ask("read 0 63").split()
    assert [each.sequence for each in events(data)] == [0]
    _, _, data = guest.ask("read 0 1000").split()
    assert [each.sequence for each in events(data)] == [1]


def test_a_slow_reader_loses_the_oldest_and_sees_the_gap(guest: Guest) -> None:
    guest.ask("open 0 rn")
    cycle(guest, 10)
    _, _, data = guest.ask("read 0 1000").split()
    assert [each.sequence for each in events(data)] == list(range(4, 20))
    assert [each.kind for each in events(data)] == [FAIL, RETURN] * 8


def cycle(guest: Guest, times: int) -> None:
    for each in range(times):
        guest.line(1)
        wait(guest, 2 * each + 1)
        guest.line(0)
        wait(guest, 2 * each + 2)


def wait(guest: Guest, count: int) -> None:
    end = time.monotonic() + 5
    while guest.get("events") != str(count):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_an_open_file_outlives_the_driver(guest: Guest) -> None:
    watch(guest)
    assert guest.ask("rmmod lastgasp") == EAGAIN
    guest.line(1)
    event(guest)
    assert guest.ask(f"put {DRIVER}/unbind power-fail").startswith("ok")
    assert guest.expect("hangup") == "0"
    assert guest.ask("read 0 32") == ENODEV
    assert guest.ask("write 0 done") == ENODEV
    assert guest.off(DEADLINE + SLACK) is None
    assert guest.ask("close 0") == "ok 0"
    guest.line(0)
    assert guest.ask(f"put {DRIVER}/bind power-fail").startswith("ok")
    watch(guest)
    guest.line(1)
    assert event(guest)[1:3] == (FAIL, 0)


def test_a_reader_that_blocks_wakes_when_the_driver_goes(guest: Guest) -> None:
    guest.tell("block")
    guest.expect("blocking")
    guest.tell(f"put {DRIVER}/unbind power-fail")
    assert guest.expect("blocked") == ENODEV


def test_the_pulse_of_system_powerdown_is_a_failure_and_a_return(guest: Guest) -> None:
    watch(guest)
    guest.qmp("system_powerdown")
    failure, back = event(guest), event(guest)
    assert (failure.kind, back.kind) == (FAIL, RETURN)
    assert back.boottime - failure.boottime == pytest.approx(100e6, abs=50e6)


def test_sysfs_shows_what_the_device_tree_gave(guest: Guest) -> None:
    shown = {name: guest.get(name) for name in ("state", "budget_ms", "deadline_ms", "debounce_ms", "armed", "events")}
    assert shown == {
        "state": "powered", "budget_ms": "3000", "deadline_ms": "1500", "debounce_ms": "20", "armed": "1", "events": "0"
    }  # fmt: skip


CAPACITOR = {
    "capacitance-microfarad": 10_000_000,
    "charged-microvolt": 5_000_000,
    "minimum-microvolt": 3_000_000,
    "load-microwatt": 4_000_000,
}


def test_the_capacitor_gives_the_hold_up_time_that_grows_back_after_the_boot_and_after_an_outage(
    kernel: Kernel, module: Path, agent: Path
) -> None:
    node = {**CAPACITOR, "deadline-margin-ms": 4000, "recharge-ms": 5000, "return-debounce-ms": 20}
    with Guest(kernel.image(), module, agent, node) as guest:
        guest.ask("insmod /lastgasp.ko")
        time.sleep(5)
        assert (guest.get("budget_ms"), guest.get("deadline_ms")) == ("20000", "16000")  # 10 F (25 V² - 9 V²) / 8 W
        watch(guest)
        guest.line(1)
        first = event(guest)
        time.sleep(2.5)  # an eighth of the charge, which takes 0.6 s to come back
        guest.line(0)
        back = event(guest)
        guest.line(1)
        second = event(guest)
        assert first.remaining == 20000
        outage, grown = (back.boottime - first.boottime) / 1e6, (second.boottime - back.boottime) / 1e6
        assert back.remaining == pytest.approx(20000 - outage, abs=1)
        assert second.remaining == pytest.approx(min(back.remaining + grown * 4, 20000), abs=1)
        assert second.remaining < 20000
        assert second.deadline == pytest.approx(second.remaining - 4000, abs=1)


def test_soon_after_the_boot_the_capacitor_is_not_charged(kernel: Kernel, module: Path, agent: Path) -> None:
    node = {**CAPACITOR, "deadline-margin-ms": 4000, "recharge-ms": 600_000}
    with Guest(kernel.image(), module, agent, node) as guest:
        guest.ask("insmod /lastgasp.ko")
        watch(guest)
        guest.line(1)
        failure = event(guest)
        assert failure.remaining == pytest.approx(failure.boottime / 1e6 * 20_000 / 600_000, abs=1)
        assert failure.deadline == pytest.approx(failure.remaining / 2, abs=1)


def test_canary_a_shutdown_that_never_comes_ends_in_a_reset_when_the_hold_up_time_is_over(
    every_kernel: list[Kernel], agent: Path, tmp_path: Path
) -> None:
    kernel = every_kernel[-1]
    broken = build.module(
        kernel,
        "cloud-arm64",
        planted(tmp_path, "	if (expired)\n		hw_", "	if (expired && !lg)\n		hw_"),
    )
    with Guest(kernel.image(), broken.path, agent, NODE) as guest:
        guest.ask("insmod /lastgasp.ko")
        began = guest.line(1)
        assert guest.off(DEADLINE + SLACK) is None
        off = guest.off(HOLD_UP)
        assert off is not None
        assert guest.reset
        assert HOLD_UP < off - began < HOLD_UP + SLACK


def test_trees_that_make_no_sense_are_refused_with_the_reason(
    every_kernel: list[Kernel], modules: dict[str, dict[str, build.Module]], agent: Path
) -> None:
    wrong: dict[str, tuple[dict[str, int], str]] = {
        "no-voltage-to-spend": ({**CAPACITOR, "minimum-microvolt": 5_000_000}, "error -EINVAL: supercapacitor without"),
        "no-load": ({**CAPACITOR, "load-microwatt": 0}, "error -EINVAL: supercapacitor without energy for a load"),
        "too-much": ({**CAPACITOR, "capacitance-microfarad": 0xFFFFFFFF}, "ms is out of range"),
        "over-ten-minutes": ({"hold-up-ms": 600_001}, "error -ERANGE: hold-up time of 600001 ms is out of range"),
        "hardly-a-deadline": ({"hold-up-ms": 1000, "deadline-margin-ms": 501}, "error -EINVAL: hold-up time, margin"),
        "slow-return": ({"hold-up-ms": 1000, "return-debounce-ms": 200}, "error -EINVAL: hold-up time, margin"),
        "slow-failure": ({"hold-up-ms": 1000, "debounce-ms": 200}, "error -EINVAL: hold-up time, margin and debounce"),
        "half-a-capacitor": ({"capacitance-microfarad": 1}, "error -EINVAL: neither hold-up-ms nor a whole"),
    }
    kernel = every_kernel[-1]
    module = modules[kernel.release]["cloud-arm64"].path
    more = {f"power-fail-{name}": node for name, (node, _) in wrong.items()}
    with Guest(kernel.image(), module, agent, {}, more=more) as guest:
        guest.ask("insmod /lastgasp.ko")
        assert guest.ask("open 0 r") == "errno 2"
        guest.console.clear()
        guest.ask("log")
        for name, (_, why) in wrong.items():
            assert any(f"power-fail-{name}: " in line and why in line for line in guest.console), name
