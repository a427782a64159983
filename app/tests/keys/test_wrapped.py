import os
import stat
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from dcu.credentials import MeterKeys, Secret
from dcu.errors import KeysError
from dcu.keys import WrappedKeys, load_kek, new_kek
from dcu.keys.base import HEAD_END

KEK = Secret(bytes(range(32)))


def keys(seed: int, password: bytes | None = None) -> MeterKeys:
    secret = Secret(password) if password is not None else None
    return MeterKeys(bytes([seed] * 8), Secret(bytes([seed] * 16)), Secret(bytes([seed + 1] * 16)), secret)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keys"
    WrappedKeys.create(path, KEK).put_all({"A": keys(1, b"12345678"), "B": keys(3), "C|guek": keys(5)})
    return path


def rewritten(path, change):
    table = msgspec.msgpack.decode(path.read_bytes())
    change(table)
    path.write_bytes(msgspec.msgpack.encode(table))


def test_keys_come_back_as_they_were_put(path):
    store = WrappedKeys.open(path, KEK)
    assert store.names() == ["A", "B", "C|guek"]
    assert store.meter("A") == keys(1, b"12345678")
    assert store.meter("B") == keys(3)
    assert store.meter("C|guek") == keys(5)


def test_the_head_ends_keys_are_kept_like_a_meters_and_are_no_meter(path):
    store = WrappedKeys.open(path, KEK)
    with pytest.raises(KeysError, match="dcu headend import"):
        store.head_end()
    store.put(HEAD_END, keys(7))
    again = WrappedKeys.open(path, KEK)
    assert again.head_end() == keys(7)
    assert again.names() == ["A", "B", "C|guek"]


def test_no_key_stands_in_the_file_nor_in_a_repr(path):
    raw = path.read_bytes()
    assert not any(secret in raw for secret in (b"\1" * 16, b"\2" * 16, b"12345678", KEK.reveal()))
    assert "12345678" not in repr(WrappedKeys.open(path, KEK).meter("A"))


def test_the_file_is_for_its_owner_only(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(KeysError, match="chmod 600"):
        WrappedKeys.open(path, KEK)


def test_replaced_keys_have_a_new_version_and_nonce_and_removed_ones_are_gone(path):
    store = WrappedKeys.open(path, KEK)
    before = {(r["meter"], r["type"]): r for r in msgspec.msgpack.decode(path.read_bytes())["records"]}
    store.put("A", keys(1))
    store.remove("B")
    after = {(r["meter"], r["type"]): r for r in msgspec.msgpack.decode(path.read_bytes())["records"]}
    assert after["A", "guek"]["version"] == 2
    assert after["A", "guek"]["nonce"] != before["A", "guek"]["nonce"]
    assert ("A", "password") not in after
    store = WrappedKeys.open(path, KEK)
    assert store.meter("A") == keys(1)
    assert store.names() == ["A", "C|guek"]
    with pytest.raises(KeysError, match="holds no guek of meter 'B': import"):
        store.meter("B")


def test_another_kek_says_what_to_do(path):
    with pytest.raises(KeysError, match="restore the credential dcu-kek"):
        WrappedKeys.open(path, Secret(bytes(32)))


@pytest.mark.parametrize("field", ["meter", "version", "title", "suite", "nonce", "wrapped", "type"])
def test_a_changed_record_is_named(path, field):
    def change(table):
        record = table["records"][1]
        value = record[field]
        if field == "type":
            record[field] = "password"
        elif isinstance(value, int):
            record[field] = value + 1
        else:
            record[field] = ("Z" + value[1:]) if isinstance(value, str) else bytes([value[0] ^ 1]) + value[1:]

    rewritten(path, change)
    with pytest.raises(KeysError, match="was changed outside the DCU"):
        WrappedKeys.open(path, KEK)


def test_keys_that_change_places_are_noticed(path):
    def swap(table):
        first, second = table["records"][0], table["records"][1]
        first["wrapped"], second["wrapped"] = second["wrapped"], first["wrapped"]
        first["nonce"], second["nonce"] = second["nonce"], first["nonce"]

    rewritten(path, swap)
    with pytest.raises(KeysError, match="was changed outside the DCU"):
        WrappedKeys.open(path, KEK)


def test_a_record_put_back_from_an_older_file_is_noticed(path):
    old = msgspec.msgpack.decode(path.read_bytes())["records"]
    WrappedKeys.open(path, KEK).put("B", keys(9))

    def put_back(table):
        table["records"] = [r for r in table["records"] if r["meter"] != "B"] + [r for r in old if r["meter"] == "B"]

    rewritten(path, put_back)
    with pytest.raises(KeysError, match="removed or put back"):
        WrappedKeys.open(path, KEK)


def test_a_removed_record_is_noticed(path):
    rewritten(path, lambda table: table["records"].pop())
    with pytest.raises(KeysError, match="removed or put back"):
        WrappedKeys.open(path, KEK)


def test_a_whole_older_file_is_noticed_where_the_generation_is_kept_elsewhere(path):
    old = path.read_bytes()
    store = WrappedKeys.open(path, KEK)
    store.put("B", keys(9))
    path.write_bytes(old)
    WrappedKeys.open(path, KEK)
    with pytest.raises(KeysError, match="an older file was put back"):
        WrappedKeys.open(path, KEK, newest=store.generation)


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x80", b"\x91" * 5000, os.urandom(500), b"\xdf\xff\xff\xff\xff"])
def test_a_damaged_file_says_so(path, raw):
    path.write_bytes(raw)
    with pytest.raises(KeysError, match="damaged, or no key file"):
        WrappedKeys.open(path, KEK)


def test_every_bit_counts(path):
    raw = path.read_bytes()
    for bit in range(0, 8 * len(raw), 37):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(KeysError):
            WrappedKeys.open(path, KEK)


def test_a_missing_file_and_a_newer_format_are_told_apart(path):
    rewritten(path, lambda table: table.update(format=4, records=[{"new": 1}]))
    with pytest.raises(KeysError, match="format 4, this program knows 1, 2, 3"):
        WrappedKeys.open(path, KEK)
    with pytest.raises(KeysError, match="import a shipment file first"):
        WrappedKeys.open(path.with_name("none"), KEK)
    with pytest.raises(KeysError, match="exists already"):
        WrappedKeys.create(path, KEK)


def test_export_is_refused(path):
    with pytest.raises(KeysError, match="not exported"):
        WrappedKeys.open(path, KEK).export()


def test_a_write_that_fails_leaves_the_old_keys(path, monkeypatch):
    store = WrappedKeys.open(path, KEK)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeysError, match="No space left on device"):
        store.put("B", keys(9))
    assert store.meter("B") == keys(3)
    assert WrappedKeys.open(path, KEK).meter("B") == keys(3)


def test_the_kek_is_a_systemd_credential_or_a_named_file(tmp_path, monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(KeysError, match="LoadCredentialEncrypted=dcu-kek"):
        load_kek()
    made = new_kek(tmp_path / "dcu-kek")
    assert stat.S_IMODE((tmp_path / "dcu-kek").stat().st_mode) == 0o600
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_kek() == made
    assert load_kek(tmp_path / "dcu-kek") == made
    with pytest.raises(KeysError, match="never overwritten"):
        new_kek(tmp_path / "dcu-kek")
    (tmp_path / "raw").write_bytes(KEK.reveal())
    assert load_kek(tmp_path / "raw") == KEK
    (tmp_path / "short").write_bytes(b"00ff")
    with pytest.raises(KeysError, match="32 bytes, raw or as 64 hex digits"):
        load_kek(tmp_path / "short")
    with pytest.raises(KeysError, match="cannot be read"):
        load_kek(tmp_path / "none")


def test_two_shipments_imported_at_a_time_are_both_kept(path):
    store = WrappedKeys.open(path, KEK)
    for round_ in range(5):
        shipments = [{f"{letter}{round_}-{n}": keys(n) for n in range(100)} for letter in "XY"]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(store.put_all, shipments))
        assert {name for shipment in shipments for name in shipment} <= set(store.names())
    assert WrappedKeys.open(path, KEK, newest=store.generation).names() == store.names()


@pytest.mark.parametrize("lost", ["damaged", "gone", "another kek", "older"])
def test_keys_that_are_lost_are_begun_anew_when_somebody_says_so(path, lost):
    newest = WrappedKeys.open(path, KEK).generation
    kek = Secret(bytes(32)) if lost == "another kek" else KEK
    if lost == "damaged":
        path.write_bytes(b"\xc1")
    elif lost == "gone":
        path.unlink()
    elif lost == "older":
        newest += 3
    held = path.read_bytes() if path.exists() else None
    with pytest.raises(KeysError):
        WrappedKeys.open(path, kek, newest)
    store, aside = WrappedKeys.reset(path, kek, newest)
    assert store.names() == []
    assert store.generation > newest
    assert [each.read_bytes() for each in aside] == ([held] if held else [])
    store.put("A", keys(1))
    assert WrappedKeys.open(path, kek, store.generation).meter("A") == keys(1)


def test_sound_keys_are_not_reset_and_nothing_that_is_aside_is_overwritten(path):
    with pytest.raises(KeysError, match="is sound and holds the keys of 3 meters"):
        WrappedKeys.reset(path, KEK)
    found = []
    for content in (b"first", b"second"):
        path.write_bytes(content)
        found += WrappedKeys.reset(path, KEK)[1]
    assert [each.read_bytes() for each in found] == [b"first", b"second"]


def test_keys_are_begun_anew_in_both_files_and_restored_from_the_twin_where_it_is_sound(path):
    twin = path.with_name("twin")
    WrappedKeys.open(path, KEK, twin=twin)
    path.write_bytes(b"damaged")
    with pytest.raises(KeysError, match="is sound"):
        WrappedKeys.reset(path, KEK, twin=twin)
    for each in (path, twin):
        each.write_bytes(b"damaged")
    assert len(WrappedKeys.reset(path, KEK, twin=twin)[1]) == 2
    assert twin.read_bytes() == path.read_bytes()
