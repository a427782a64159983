"""Whatever becomes of `data` or `persist`, the device goes on, says so, loses no reading, and uses no counter twice."""

import json
import random
import re
import shutil
import sqlite3
import time
from contextlib import closing

import pytest

from device import disk, uboot
from device.cache import Run
from device.street import Street
from device.tests.test_collector import READY, imported, ready
from neighbourhood import truth, verdict
from neighbourhood.identity import serial

pytestmark = [pytest.mark.timeout(2400), pytest.mark.long]
HOUR = 3600
STORE = "/var/lib/dcu/store"
# One call on the control socket, as any program on the device makes it
ASK = b"""
import json, socket, sys
link = socket.socket(socket.AF_UNIX)
link.settimeout(300)
link.connect("/run/dcu/control.sock")
link.sendall(json.dumps({"id": 1, "method": sys.argv[1], "params": json.loads(sys.argv[2])}).encode() + b"\\n")
answer = json.loads(link.makefile().readline())
print(json.dumps(answer["result"] if "result" in answer else {"error": answer["error"]}))
"""
# What a careless program would do: a meter whose counter is not known is begun with at zero
UNKNOWN = "    if first is None:\n"
FROM_ZERO = (
    ("store/counters.py", UNKNOWN, f"{UNKNOWN}        first = raise_to(db, meter, key, 0)\n{UNKNOWN}"),
    ("collect/counters.py", "return bool(self._reserved) or", "return True or bool(self._reserved) or"),
)


@pytest.fixture
def street():
    with Street(3) as made:
        yield made


def ask(dut, method, **params):
    dut.put("/run/ask.py", ASK)
    return json.loads(dut.shell(f"python3 /run/ask.py {method} '{json.dumps(params)}'", 300))


def waited(what, timeout):
    """Wait until `what()` gives something, and return it."""
    end = time.monotonic() + timeout
    while not (found := what()):
        assert time.monotonic() < end, f"not within {timeout} s"
        time.sleep(2)
    return found


def complete(dut, since, meters=3, timeout=420):
    """Wait until the collector has the day before `since` of every meter; ask it to poll now and then."""
    last = hour_before(since)
    gaps, asked = {}, 0.0

    def all_of_it():
        nonlocal asked
        names = [meter["name"] for meter in ask(dut, "meters")]
        span = {"from": last - 23 * HOUR, "to": last + 1}
        gaps.update({name: ask(dut, "profile", meter=name, **span).get("gaps", "no layout") for name in names})
        if len(names) == meters and not any(gaps.values()):
            return True
        if time.monotonic() > asked + 30:
            asked = time.monotonic()
            ask(dut, "poll")
        return False

    try:
        waited(all_of_it, timeout)
    except AssertionError:
        raise AssertionError(f"{gaps}\n{dut.shell('journalctl -b -u dcu-collector --no-pager | tail -40')}") from None


def hour_before(since):
    """The last hour whose row every meter has, its clock being slow or not."""
    return (int(since) - 120) // HOUR * HOUR


def status(dut):
    return json.loads(dut.shell("dcu device status --json", 120, check=False))


def said(dut):
    """What the audit log holds, action by action."""
    return {entry["action"]: f"{entry['subject']}: {entry['detail']}" for entry in ask(dut, "audit", limit=1000)}


def off(dut):
    """Switch it off in good order."""
    dut.shell("systemctl poweroff", check=False, timeout=10)
    dut.wait_off(120)


def judged(dut, folder, since, seeds=(1,), units=0):
    """Compare what `data` of a device that is off holds with the street's truth, from 23 hours before `since` on."""
    shutil.rmtree(folder, ignore_errors=True)
    with dut.mounted("data") as data:
        shutil.copytree(data / "store", folder)
    found = list(verdict.stored(folder))
    last = hour_before(since)
    outcomes = []
    for seed in seeds:
        names = {serial(seed, number): number for number in (1, 2, 3)}
        own = (reading for reading in found if reading.meter in names)
        what = verdict.truth_of(seed, units=units)
        outcomes.append(verdict.judge(own, names, last - 23 * HOUR, last, truth.HOUR, what))
    return outcomes


def true(dut, folder, since, seeds=(1,)):
    for outcome in judged(dut, folder, since, seeds):
        assert outcome.good, outcome
    assert not any(outcome.good for outcome in judged(dut, folder, since, seeds, units=1))  # the comparison compares


def unused(street):
    """No meter saw a counter twice, and they saw some."""
    seen = street.status()
    assert seen["counters_accepted"] > 0
    assert (seen["counter_reuse"], seen["reused"]) == (0, []), seen
    return seen


def rewritten(dut, **variables):
    """Give a device that is off another U-Boot environment."""
    texts = {name: str(value) for name, value in variables.items()}
    disk.write_environment(dut.card, uboot.tools(), Run(dut.home / "tools.log"), {**disk.ENVIRONMENT, **texts})


def test_full_data_partition_costs_no_new_reading_and_no_good_bank_and_heals_by_itself(device, street, tmp_path):
    since = time.time()
    with Street(3, "--seed", "2") as more, device() as dut:
        ready(dut)
        imported(dut, street)
        complete(dut, since)
        waited(lambda: not ask(dut, "jobs"), 300)  # the week before, too
        ask(dut, "flush")
        before = dut.shell(f"ls {STORE}").split()
        assert sum(name.startswith("readings-") for name in before) >= 7, before
        dut.shell("fallocate -l $(df --output=avail -B1 /var/lib/dcu | tail -1) /var/lib/dcu/hog", check=False)
        dut.shell("dd if=/dev/zero of=/var/lib/dcu/hog2 bs=4k 2>/dev/null; sync", 200, check=False)
        shown = status(dut)
        assert not shown["ok"]
        assert "the disk is full" in " ".join(shown["troubles"])
        # what an operator does now is kept; so is what the new meters bring, at the price of the oldest days
        imported(dut, more)
        complete(dut, since, meters=6)
        ask(dut, "flush")
        assert {"disk-full", "ballast-released"} & said(dut).keys()
        assert "6 meters" in dut.shell("dcu meters 2>&1")
        dut.shell("dcu device health", 120)
        unused(street)
        # and a new bank, on trial while there is no room, is judged by what it does
        dut.cut()
        rewritten(dut, slot="b", upgrade_available=1, ustate=1)
        dut.start()
        dut.expect("slot b, upgrade_available 1", 60)
        dut.booted(90)
        waited(lambda: dut.shell("fw_printenv -n upgrade_available", 60) == "0", 2 * READY)
        shown = status(dut)
        assert (shown["phase"], shown["slot"]) == ("confirmed", "b")
        assert "the disk is full" in " ".join(shown["troubles"])
        assert {meter["name"] for meter in ask(dut, "meters")} == {serial(n, m) for n in (1, 2) for m in (1, 2, 3)}
        assert "import" in said(dut)
        # room again
        dut.shell("rm /var/lib/dcu/hog /var/lib/dcu/hog2; sync")
        waited(lambda: ask(dut, "status")["store"]["ballast"], 200)
        complete(dut, since, meters=6)
        assert status(dut)["ok"]
        unused(street)
        unused(more)
        off(dut)
        true(dut, tmp_path / "store", since, seeds=(1, 2))


def spoilt(store):
    """Damage files of a sound file system: a bit of a value, a page of a day, the critical file's audit log."""
    *_, yesterday, today = sorted(store.glob("readings-*.db"))
    with closing(sqlite3.connect(today)) as db, db:
        timestamp, meter, row = db.execute("SELECT ts, meter, row FROM readings ORDER BY ts DESC LIMIT 1").fetchone()
        flipped = row[:3] + bytes([row[3] ^ 0x40]) + row[4:]
        db.execute("UPDATE readings SET row = ? WHERE ts = ? AND meter = ?", (flipped, timestamp, meter))
    with closing(sqlite3.connect(store / "critical.db")) as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'audit'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    for path, at in ((yesterday, 100), (store / "critical.db", (page - 1) * size)):
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"\xa5" * 1000)


def test_destroyed_data_and_damaged_files_are_collected_again_without_anybody(device, street, tmp_path):
    since = time.time()
    with device() as dut:
        ready(dut)
        imported(dut, street)
        complete(dut, since)
        off(dut)
        true(dut, tmp_path / "store", since)
        dut.destroy("data", 1, 2000)
        dut.start()
        dut.expect("data: the file system cannot be repaired, and is made anew", 120)
        ready(dut)
        complete(dut, since)
        shown = status(dut)
        assert shown["data_recreated"]
        assert {"made-anew", "meters-restored"} <= said(dut).keys()
        unused(street)
        off(dut)
        true(dut, tmp_path / "store", since)
        with dut.mounted("data") as data:
            spoilt(data / "store")
        dut.start()
        ready(dut)
        assert ask(dut, "store.check")["ok"]
        complete(dut, since)
        found = said(dut)
        assert {"critical-file-damaged", "day-file-damaged", "rows-damaged"} <= found.keys(), found
        unused(street)
        off(dut)
        true(dut, tmp_path / "store", since)


def damaged(persist):
    """One copy of each file that stands twice: flipped, cut short, gone."""
    flip = persist / "device/identity"
    content = bytearray(flip.read_bytes())
    content[len(content) // 2] ^= 1
    flip.write_bytes(content)
    index = persist / "device.twin/rollback-index"
    index.write_bytes(index.read_bytes()[:-1])
    (persist / "dcu/collector.toml").write_bytes(b"")
    (persist / "dcu/keys").write_bytes(b"\0" * 1000)
    (persist / "dcu.twin/meters").unlink()


def from_zero(dut):
    """Have the collector forget its store, and be the program that begins with zero."""
    dut.shell(f"systemctl stop dcu-collector && rm -rf {STORE}/*", 120)
    for number, (name, old, new) in enumerate(FROM_ZERO):
        path = dut.shell(f"find / -xdev -path '*/dcu/{name}'")
        text = dut.shell(f"cat {path}") + "\n"
        assert text.count(old) == 1, name
        dut.put(f"/run/canary-{number}", text.replace(old, new).encode())
        dut.shell(f"chmod 644 /run/canary-{number}; mount --bind /run/canary-{number} {path}")
    dut.shell("systemctl start dcu-collector", 200)


def test_new_and_whole_and_lost_persist_are_told_apart_and_no_counter_is_used_twice(device, street, tmp_path):
    since, rng = time.time(), random.Random(20261120)  # noqa: S311
    with device() as dut:
        for _ in range(3):  # the power goes in the middle of the first provisioning
            dut.booted(120)
            waited(lambda: dut.shell("systemctl is-active dcu-provision", check=False) != "inactive", 120)
            time.sleep(rng.uniform(0, 8))
            dut.cut()
            with dut.mounted("persist") as persist:
                made = any((persist / copy / "identity").exists() for copy in ("device", "device.twin"))
                assert made or (persist / disk.MARK).exists()
            dut.start()
        ready(dut)
        first = status(dut)
        assert (first["ok"], first["persist"], first["serial"]) == (True, "whole", "BENCH0000001"), first
        imported(dut, street)
        complete(dut, since)
        off(dut)
        one_copy(dut, first)
        complete(dut, since)
        unused(street)
        off(dut)
        dut.destroy("persist", 2, 1000)
        dut.destroy("data", 3, 2000)
        dut.start()
        both_lost(dut, street)
        dut.shell("dcu device provision --again", 200)
        dut.shell("systemctl reboot", check=False, timeout=5)
        dut.expect(r"U-Boot \d", 120)
        ready(dut)
        again = status(dut)
        assert (again["ok"], again["persist"]) == (True, "whole"), again
        assert again["system_title"] == first["system_title"]  # of the same board: the same nonces, if it counted anew
        assert ask(dut, "meters") == []
        imported(dut, street)
        complete(dut, since)
        seen = unused(street)
        # the canary: a program that begins at zero is seen
        from_zero(dut)
        waited(lambda: street.status()["counter_reuse"] > seen["counter_reuse"], 200)


def one_copy(dut, first):
    """Damage one copy of everything, and the file system; boot, and see it restored."""
    with dut.mounted("persist") as persist:
        damaged(persist)
    start, _ = disk.partition(dut.disk, "persist", Run(dut.home / "tools.log"))
    for value in ("free_blocks_count 7", "state 2"):  # e2fsck's business: wrong counts, errors seen
        Run(dut.home / "tools.log")("debugfs", "-w", "-R", f"set_super_value {value}", f"{dut.disk}?offset={start}")
    dut.start()
    ready(dut)
    shown = status(dut)
    assert (shown["ok"], shown["persist"], shown["system_title"]) == (True, "whole", first["system_title"]), shown
    told = " ".join(shown["restored"])
    assert re.search("file system had errors.*identity: .*restored.*collector.toml: .*restored", told), shown
    assert "restored" in said(dut)
    dut.shell("cd /persist; for f in keys meters; do cmp dcu/$f dcu.twin/$f; done")
    dut.shell("cd /persist; for f in identity rollback-index collector.toml; do cmp device/$f device.twin/$f; done")
    assert "cannot be opened" not in dut.shell("dcu meters")


def both_lost(dut, street):
    """Persist is gone: it is said, nothing is made by itself, and no meter hears of us."""
    before = street.status()["connections"]
    dut.expect("persist: the file system cannot be repaired, and is left as it is: dcu device status", 120)
    dut.booted(90)
    assert dut.shell("systemctl is-system-running --wait", READY, check=False) == "degraded"
    shown = status(dut)
    assert (shown["ok"], shown["persist"], shown["system_title"]) == (False, "not mounted", None)
    assert "dcu device provision --again" in " ".join(shown["troubles"])
    assert "WRONG  persist: " in dut.shell("dcu device health", 120, check=False)
    assert "exit 10" in dut.shell("dcu device provision; echo exit $?", 120)
    assert dut.shell("systemctl is-active dcu-collector", check=False) != "active"
    assert dut.shell("find /persist /run/credstore -mindepth 1") == ""
    assert dut.shell("fw_printenv -n boot_failures") == "0"  # no fault of this bank
    assert street.status()["connections"] == before
