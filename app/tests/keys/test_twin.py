"""The key file's twin: one of the two may be damaged or gone, and an older one is never put in a newer one's place."""

import shutil

import pytest

from dcu.credentials import MeterKeys, Secret
from dcu.errors import KeysError
from dcu.keys import WrappedKeys, wrapped

KEK = Secret(bytes(range(32)))
KEYS = MeterKeys(bytes(8), Secret(bytes(16)), Secret(bytes(range(16))))


@pytest.fixture
def pair(tmp_path):
    path, twin = tmp_path / "one" / "keys", tmp_path / "two" / "keys"
    for each in (path, twin):
        each.parent.mkdir()
    WrappedKeys.create(path, KEK, twin).put("A", KEYS)
    return path, twin


def spoil(path, how):
    raw = bytearray(path.read_bytes())
    match how:
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "a bit":
            raw[len(raw) // 2] ^= 1
            path.write_bytes(bytes(raw))
        case "noise":
            path.write_bytes(b"\xff" * len(raw))


@pytest.mark.parametrize("how", ["gone", "empty", "a bit", "noise"])
@pytest.mark.parametrize("which", [0, 1])
def test_one_damaged_copy_is_restored_from_the_other(pair, which, how):
    good = pair[0].read_bytes()
    spoil(pair[which], how)
    assert WrappedKeys.open(*pair[:1], KEK, twin=pair[1]).meter("A") == KEYS
    assert [path.read_bytes() for path in pair] == [good, good]


def test_two_damaged_copies_are_told_by_the_name_that_an_operator_knows(pair):
    for path in pair:
        spoil(path, "noise")
    with pytest.raises(KeysError, match=f"{pair[0]}: damaged"):
        WrappedKeys.open(pair[0], KEK, twin=pair[1])


def test_a_twin_from_before_the_last_write_does_not_replace_it(pair):
    path, twin = pair
    stale = twin.read_bytes()
    keys = WrappedKeys.open(path, KEK, twin=twin)
    keys.put("B", KEYS)
    twin.write_bytes(stale)
    spoil(path, "noise")
    with pytest.raises(KeysError, match="damaged"):
        WrappedKeys.open(path, KEK, newest=keys.generation, twin=twin)


def test_power_that_goes_between_the_two_writes_leaves_the_newer(pair, monkeypatch):
    path, twin = pair
    keys = WrappedKeys.open(path, KEK, twin=twin)
    with monkeypatch.context() as patch:
        patch.setattr(WrappedKeys, "_refresh_twin", lambda self: None)
        keys.put("B", KEYS)
    assert WrappedKeys.open(path, KEK, newest=keys.generation, twin=twin).names() == ["A", "B"]
    assert twin.read_bytes() == path.read_bytes()


def test_another_key_restores_nothing(pair):
    before = pair[0].read_bytes()
    with pytest.raises(KeysError, match="another key-encryption key"):
        WrappedKeys.open(pair[0], Secret(bytes(32)), twin=pair[1])
    assert pair[0].read_bytes() == before


def test_a_twin_that_cannot_be_written_costs_a_warning_only(pair, caplog, monkeypatch):
    path, twin = pair
    shutil.rmtree(twin.parent)
    keys = WrappedKeys.open(path, KEK, twin=twin)
    keys.put("B", KEYS)
    assert "twin" in caplog.text
    assert wrapped.WrappedKeys.open(path, KEK).names() == ["A", "B"]
