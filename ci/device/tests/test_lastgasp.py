"""The mains fail: the device tells the head-end, keeps its readings, switches itself off in time; or goes on."""

import json
import re
import time

import pytest

from device.headend import TRANSPORT, HeadEnd
from device.street import Street
from device.tests.test_collector import collected, imported

pytestmark = pytest.mark.long

METERS = 3
READY = 180
COUNTER = 5000  # the first that the head-end's key file allows
DEADLINE = 8.0  # seconds of the device tree: ten of hold-up less the margin of a fifth
NOTICE = 30  # seconds that an emulated device on a loaded host may take to do what its own clock allows it 8 for
CONFIG = """
[headend]
addresses = ["{address}"]
repeat = 2
"""
PYTHON = "/usr/lib/dcu/venv/bin/python3 -I"
# What the collector shows of each meter's load profile, from its store and its RAM, without asking a meter
SHOWN = """
import json, time
from dcu.cli.collector import ask, pages
socket, now, day = "/run/dcu/control.sock", int(time.time()), 86400
print(json.dumps({m["name"]: pages(socket, m["name"], None, now - 60 * day, now + day, fetch=False)["rows"]
                  for m in ask(socket, "meters")}))
"""


def working(dut):
    """Wait until the collector answers."""
    dut.booted(90)
    end = time.monotonic() + READY
    while dut.shell("systemctl is-active dcu-collector.service", 60, check=False) != "active":
        assert time.monotonic() < end, dut.shell("journalctl -b -u 'dcu-*' --no-pager", 60, check=False)
        time.sleep(1)


def told_of(dut, headend, folder, slow=1):
    """Give the device the head-end's address and keys, as a utility does. slow: times longer than usual."""
    dut.put("/run/headend.toml", headend.keys(folder, COUNTER))
    dut.put("/run/headend.key", TRANSPORT.hex().encode())
    address = CONFIG.format(address=headend.address)
    dut.put("/run/address.toml", address.encode())
    dut.shell("cat /usr/share/dcu/collector.toml /run/address.toml > /run/collector.toml")
    dut.shell("dcu device configure /run/collector.toml", 200 * slow)
    said = dut.shell("dcu headend import /run/headend.toml --transport-key /run/headend.key", 120 * slow)
    assert f"invocation counters from {COUNTER}" in said
    dut.put("/run/shown.py", SHOWN.encode())


def shown(dut):
    return json.loads(dut.shell(f"{PYTHON} /run/shown.py", 120))


def missing(dut, before):
    """How many of the readings that were shown before are not shown now; there may be newer ones."""
    dut.put("/run/shown.py", SHOWN.encode())
    now = shown(dut)
    return sum(row not in now[name] for name, rows in before.items() for row in rows)


def events(dut):
    """What the audit log says of the mains, oldest first."""
    script = "import json; from dcu.cli.collector import ask; print(json.dumps(ask('/run/dcu/control.sock', 'audit')))"
    entries = json.loads(dut.shell(f'{PYTHON} -c "{script}"', 120))
    return [(entry["action"], entry["detail"]) for entry in reversed(entries) if entry["action"].startswith("power")]


@pytest.fixture
def headend():
    with HeadEnd() as listening:
        yield listening


@pytest.mark.timeout(700, func_only=True)  # two boots
def test_mains_that_return_let_it_go_on_and_mains_that_stay_away_switch_it_off_with_everything_kept(
    device, headend, tmp_path
):
    with device() as dut:
        with Street(METERS) as street:
            working(dut)
            told_of(dut, headend, tmp_path)
            imported(dut, street)
            meters = collected(dut, METERS, 180)

            first, away = outage_inside_the_window(dut, headend, 1)
            lasted = float(re.search(r"the mains failed for ([\d.]+) s", events(dut)[-1][1])[1])
            assert 0 < lasted < away + 1
            assert json.loads(dut.shell(f"dcu read --meter {meters[0]['name']} 3,1-0:1.8.0*255,2 --json", 120))
            before = shown(dut)

        began = time.monotonic()
        dut.mains(present=False)
        second = headend.hear(NOTICE)
        assert headend.hear(NOTICE).datagram == second.datagram
        dut.wait_off(NOTICE)
        assert time.monotonic() - began > DEADLINE / 2
        assert "last gasp: user space is done" in dut.serial()

        dut.start()  # the street is gone: what is shown can only come from the flash
        working(dut)
        assert json.loads(dut.shell("dcu store check --json", 120))["ok"]
        assert missing(dut, before) == 0
        action, detail = events(dut)[-1]
        assert action == "power-fail"
        assert "0 wait in RAM" in detail
        third, _ = outage_inside_the_window(dut, headend, 2)
        assert [first.counter, second.counter] == [COUNTER, COUNTER + 1]
        # four lay ready, and one more where there was time to replace the first; what was not spent is spent no more
        assert third.counter in (COUNTER + 4, COUNTER + 5)

        stuck(dut, headend)


def outage_inside_the_window(dut, headend, returns):
    """Let the mains fail, hear of it, let them return, for the so-manieth time.

    Return the packet and how long they were away at most, in seconds. There may be no line of the failure in the audit
    log: they are back before everything was done.
    """
    began = time.monotonic()
    dut.mains(present=False)
    gasp = headend.hear(NOTICE)
    dut.mains(present=True)
    away = time.monotonic() - began
    title = json.loads(dut.shell("dcu device status --json", 120, check=False))["system_title"]
    assert gasp.sender.hex().upper() == title
    assert gasp.identity == b"DCU" + title[6:].encode()
    assert 0 < gasp.left <= DEADLINE
    assert headend.hear(NOTICE).datagram == gasp.datagram, "the repetition is the same bytes"
    end = time.monotonic() + 2 * NOTICE
    while sum(action == "power-return" for action, _ in events(dut)) < returns:
        assert time.monotonic() < end, said(dut)
    return gasp, away


def said(dut):
    """What the module and the collector have to say."""
    return dut.shell(
        "grep . /sys/class/misc/lastgasp/*; journalctl -b -u dcu-collector.service --no-pager | tail -40",
        60,
        check=False,
    )


def stuck(dut, headend):
    """A collector that stands still tells nobody anything: the module ends it, in time, by itself."""
    dut.shell("kill -STOP $(systemctl show -p MainPID --value dcu-collector.service)")
    began = time.monotonic()
    dut.mains(present=False)
    dut.wait_off(NOTICE)
    assert time.monotonic() - began >= DEADLINE
    assert "last gasp: user space is late" in dut.serial()
    assert headend.silent(0.5)
