"""An update goes into the other bank and is confirmed when it is healthy; then nothing older is taken any more."""

import pytest

from device import keys, swu
from device.tests.updating import (
    MINUTES,
    NEWER,
    SLOW,
    changed,
    confirmed,
    environment,
    inserted,
    installed,
    offered,
    rebooted,
    status,
)

pytestmark = MINUTES

AGAIN = "1.2.0"  # the bench's software once more, under a version that is higher than NEWER


def test_update_goes_to_bank_b_and_is_confirmed_by_its_health_check(settled):
    with settled.on(swu.release(NEWER)) as dut:
        installed(dut)
        assert status(dut)["oldest"] == "1.0.0"
        rebooted(dut)
        dut.expect("slot b, upgrade_available 1, bootcount 1", SLOW)
        inserted(dut)
        trial = status(dut)
        assert (trial["phase"], trial["slot"], trial["oldest"]) == ("trial", "b", "1.0.0"), trial
        code, said = offered(dut)
        assert code == 11, said
        assert "no update now: bank b is on trial" in said
        shown = confirmed(dut)
        assert (shown["phase"], shown["slot"], shown["version"]) == ("confirmed", "b", NEWER), shown
        assert (shown["oldest"], shown["ok"]) == (NEWER, True), shown
        settled.nothing_lost(dut)
        found = environment(dut)
        assert (found["slot"], found["upgrade_available"], found["ustate"]) == ("b", "0", "0"), found


@pytest.mark.long
def test_old_software_comes_back_under_a_higher_version_only_and_encrypted_under_our_key_only(settled, good, tmp_path):
    """As after NEWER was confirmed: the oldest version stands on persist, whichever bank runs."""
    from ota.signing import AesKey

    older, encrypted = tmp_path / "older.swu", tmp_path / "encrypted.swu"
    swu.packed(older, "1.0.0", good)
    aes = keys.update() / "update.aes"
    swu.packed(encrypted, AGAIN, swu.bank_of(AGAIN), key=AesKey.load(aes))
    with settled.on(older, encrypted) as dut:
        dut.put("/run/raise.py", RAISE)
        dut.shell(f"/usr/lib/dcu/venv/bin/python3 /run/raise.py {NEWER}")
        assert status(dut)["oldest"] == NEWER
        refused(dut, "older.swu", "version 1.0.0 is older than 1.1.0")
        refused(dut, "encrypted.swu", "dcu device update-key")
        dut.put("/run/wrong.aes", f"{'00' * 32} {'00' * 16}\n".encode())
        dut.shell("dcu device update-key /run/wrong.aes")
        refused(dut, "encrypted.swu", "another key")
        dut.put("/run/right.aes", aes.read_bytes())
        dut.shell("dcu device update-key /run/right.aes")
        installed(dut, "encrypted.swu")
        rebooted(dut)
        dut.expect("slot b, upgrade_available 1, bootcount 1", SLOW)
        dut.booted(SLOW)
        shown = confirmed(dut)
        assert (shown["phase"], shown["version"], shown["oldest"]) == ("confirmed", AGAIN, AGAIN), shown
        settled.nothing_lost(dut)


RAISE = b"""
import sys
from dcu.platform.machine import Machine
from dcu.platform.update import RollbackIndex
from dcu.platform.version import Version
RollbackIndex(Machine().twice("rollback-index")).raise_to(Version.parse(sys.argv[1]))
"""


def refused(dut, name, why):
    before = environment(dut)
    code, said = offered(dut, name)
    assert code == 11, said
    assert why in said
    assert changed(before, environment(dut)) == {}
