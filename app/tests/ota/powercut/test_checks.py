"""What judges a state: each kind of loss is seen, and nothing is seen where nothing is lost."""

import shutil
import struct
import zlib
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.platform.bootenv import Environment, Slot
from dcu.platform.provision import State
from ota.errors import OtaError
from ota.powercut.checks import device, environment, fit, gpt, persist, verity
from ota.powercut.checks.fit import Verity
from ota.powercut.checks.ledger import Kept, Ledger, broken
from ota.powercut.log import SECTOR, Disk
from tests.ota.powercut.recordings import recorded

# --- U-Boot's environment

SIZE = 0x400


def copies(*flags, values=("old", "new")):
    return [environment.pack({"slot": value}, SIZE, flag) for flag, value in zip(flags, values, strict=False)]


@pytest.mark.parametrize(
    ("flags", "slot"), [((1, 2), "new"), ((2, 1), "old"), ((255, 0), "new"), ((0, 255), "old"), ((7, 7), "old")]
)
def test_the_newer_copy_of_the_environment_counts_as_in_uboot(flags, slot):
    assert environment.read(copies(*flags)).values == {"slot": slot}


@given(st.integers(0, 1), st.integers(0, SIZE - 1), st.integers(1, 255))
def test_a_damaged_copy_gives_way_to_the_other(which, at, flip):
    raw = copies(1, 2)
    raw[which] = raw[which][:at] + bytes([raw[which][at] ^ flip]) + raw[which][at + 1 :]
    found = environment.read(raw)
    if at == 4:  # the flags are not under the checksum
        return
    assert found.good == (which == 1, which == 0)
    assert found.values == {"slot": ("new", "old")[which]}


def test_two_damaged_copies_are_no_environment():
    assert environment.read([b"\xff" * SIZE, bytes(SIZE)]).values is None


# --- a bank


def sealed(blocks, salt=b"\xdc" * 32, block=4096):
    """An image with its verity tree, made the simple way."""
    import hashlib

    data = b"".join(bytes([n % 251]) * block for n in range(blocks))
    level, levels = [data[at : at + block] for at in range(0, len(data), block)], []
    while len(level) > 1:
        digests = b"".join(hashlib.sha256(salt + each).digest() for each in level)
        level = [digests[at : at + block].ljust(block, b"\0") for at in range(0, len(digests), block)]
        levels.append(b"".join(level))
    root = hashlib.sha256(salt + level[0]).digest()
    return data + b"".join(reversed(levels)), Verity(block, blocks, blocks, root, salt)


@pytest.mark.parametrize("blocks", [2, 128, 129, 400])
def test_a_verity_tree_holds_and_every_byte_of_it_counts(blocks):
    image, table = sealed(blocks)
    assert len(image) == verity.length(table)
    verity.verify(image, table)
    for at in (0, blocks * 4096 - 1, blocks * 4096, len(image) - 4096, blocks * 4096 // 2):
        with pytest.raises(OtaError, match="fit"):
            verity.verify(image[:at] + bytes([image[at] ^ 1]) + image[at + 1 :], table)
    with pytest.raises(OtaError, match="does not fit into the partition"):
        verity.verify(image[:-4096], table)


@given(st.binary(max_size=300), st.booleans())
def test_what_is_no_fit_is_refused(raw, begins_well):
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.RSAPublicNumbers(65537, (1 << 2047) + 1).public_key()
    if begins_well:
        head = struct.pack(">10I", 0xD00DFEED, 40 + len(raw), 40, 40, 0, 17, 16, 0, len(raw) // 2, len(raw) // 2)
        raw = head + raw
    with pytest.raises(OtaError):
        fit.verify(raw, key, "conf-a")


# --- the partitions


def test_partitions_are_found_by_name():
    entries = b""
    for name, (first, last) in {"kernel_a": (64, 127), "data": (128, 1000)}.items():
        entries += struct.pack("<16s16sQQQ72s", b"t" * 16, b"u" * 16, first, last, 0, name.encode("utf-16-le"))
    entries = entries.ljust(128 * 128, b"\0")
    head = b"EFI PART".ljust(72, b"\0") + struct.pack("<QIII", 2, 128, 128, zlib.crc32(entries))
    raw = bytes(SECTOR) + head.ljust(SECTOR, b"\0") + entries
    found = gpt.partitions(lambda first, count: raw[first * SECTOR : (first + count) * SECTOR])
    assert found == {"kernel_a": (64, 64), "data": (128, 873)}
    with pytest.raises(OtaError, match="no GPT"):
        gpt.partitions(lambda first, count: bytes(count * SECTOR))


# --- the ledger

WHOLE = Kept(
    meters=frozenset({"M0", "M1"}),
    readings={"M0": frozenset(range(3600, 36001, 3600))},
    counters={"M0": 20, "M1": 7},
    audited=Counter({"M0 disconnect": 2}),
    outbox={4: "aa", 5: "bb"},
    floors={"M0": 9},
)
STEPS = (
    ("mark", "meters", {"names": ["M0", "M1"]}),
    ("mark", "counters", {"used": {"M0": 19}}),
    ("mark", "readings", {"told": [["M0", 3600, 36000, 10]]}),
    ("mark", "audited", {"counts": {"M0 disconnect": 2}}),
    ("mark", "outbox", {"seq": 4, "payload": "aa"}),
    ("mark", "outbox", {"seq": 3, "payload": "00"}),
    ("mark", "acknowledging", {"seq": 3}),
    ("mark", "acknowledged", {"seq": 3}),
    ("mark", "floor", {"meter": "M0", "floor": 9}),
    ("mark", "installed", {"slot": "b"}),
)


@pytest.fixture
def promises(tmp_path):
    recording = recorded(tmp_path, [Disk("disk", SECTOR)], *STEPS)
    ledger = Ledger(recording)
    return lambda count: ledger.at(recording.begin + count)


def test_a_store_that_keeps_everything_breaks_nothing(promises):
    assert list(broken(WHOLE, promises(len(STEPS)))) == []
    assert promises(len(STEPS)).flags["installed"] == {"slot": "b"}


def test_nothing_is_promised_before_its_mark(promises):
    assert list(broken(Kept(), promises(0))) == []
    assert list(broken(Kept(), promises(1))) == ["meters are lost: M0, M1"]


def test_an_item_on_its_way_out_may_be_there_or_not(promises):
    with_it = replace(WHOLE, outbox={**WHOLE.outbox, 3: "00"})
    assert list(broken(with_it, promises(7))) == list(broken(WHOLE, promises(7))) == []
    assert list(broken(with_it, promises(8))) == ["outbox 3 was acknowledged, and is back"]


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ({"meters": frozenset({"M0"})}, "meters are lost: M1"),
        ({"counters": {"M0": 19}}, "M0: counter 19 was used, and 19 would be the next: given out twice"),
        ({"counters": {"M0": None}}, "M0: counter 19 was used, none is known"),
        ({"readings": {"M0": frozenset({3600})}}, "M0: 10 readings from 3600 to 36000 were committed, 1 are there"),
        ({"audited": Counter({"M0 disconnect": 1})}, "M0 disconnect: reported 2 times, audited 1 times"),
        ({"outbox": {5: "bb"}}, "outbox 4 was put, and is gone"),
        ({"outbox": {4: "cc"}}, "outbox 4 was put, and is another"),
        ({"floors": {}}, "M0: receive floor 9 was reached, -1 is kept"),
        ({"wrong": ("critical.db: torn",)}, "critical.db: torn"),
    ],
)
def test_every_kind_of_loss_is_told(promises, loss, said):
    assert list(broken(replace(WHOLE, **loss), promises(len(STEPS)))) == [said]


# --- persist, and the slot


def test_a_factory_new_persist_is_provisioned_and_an_empty_one_is_lost(tmp_path):
    for name in ("new", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "new" / persist.MARK).touch()
    found = persist.examine(tmp_path / "new")
    assert (found.wrong, found.state) == ((), State.NEW)
    assert len(found.title) == 16
    again = tmp_path / "again"
    shutil.copytree(tmp_path / "new", again, ignore=shutil.ignore_patterns("run"))
    assert persist.examine(again) == replace(found, state=State.WHOLE)
    lost = persist.examine(tmp_path / "empty")
    assert lost.state is State.LOST
    assert "lost in both copies" in lost.wrong[0]


@pytest.mark.parametrize(
    ("slot", "reason", "told"),
    [
        (Slot.B, "", []),
        (Slot.A, "bootlimit", []),  # U-Boot gave way: that is no loss
        (Slot.A, "", ["slot b was reported as installed, and a is named"]),
    ],
)
def test_what_was_reported_as_installed_stays_unless_uboot_gives_way(promises, slot, reason, told):
    assert device.slots(Environment(slot, rollback_reason=reason), promises(len(STEPS))) == told
