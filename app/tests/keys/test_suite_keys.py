"""Keys of suites 1 and 2 in shipments and in the wrapped store; and that files of before stay what they were."""

from dataclasses import replace

import msgspec
import pytest

from dcu.certificates import Purpose
from dcu.credentials import Secret
from dcu.errors import ConfigError, KeysError
from dcu.keys import WrappedKeys
from dcu.keys.shipment import NewMeter, parse, read, unwrap, write
from dcu.suites import SUITES
from tests.cosem.certificates import issued
from tests.cosem.suite_keys import CLIENT_TITLE, METER_TITLE, keys

KEK, TRANSPORT = Secret(bytes(range(32))), Secret(bytes(range(16)))
METER = NewMeter("EXM1", "tcp://127.0.0.1:4059", "generic")


def with_certificates(number):
    client, _ = keys(number)
    suite = SUITES[number]

    def certified(pair, purpose):
        own = issued(CLIENT_TITLE, suite, suite.public(pair.private), purpose)
        return replace(pair, peer_certificate=issued(METER_TITLE, suite, pair.peer, purpose), own_certificate=own)

    return replace(
        client,
        signing=certified(client.signing, Purpose.SIGNING),
        agreement=certified(client.agreement, Purpose.AGREEMENT),
    )


EVERY = [keys(1)[0], keys(2)[0], with_certificates(1), with_certificates(2), keys(0)[0]]
every = pytest.mark.parametrize("held", EVERY, ids=["1", "2", "1, certificates", "2, certificates", "0, master"])


@every
def test_a_shipment_brings_them_whole(tmp_path, held):
    path = tmp_path / "shipment.toml"
    write(path, "Maker", "TK", TRANSPORT, [(METER, held)])
    assert path.read_text().startswith("format = 2\n")
    assert held.signing is None or held.signing.private.reveal().hex() not in path.read_text()
    assert unwrap(read(path).meters[0], TRANSPORT) == held


@every
def test_the_store_keeps_them_and_shows_none(tmp_path, held):
    path = tmp_path / "keys"
    WrappedKeys.create(path, KEK).put("A", held)
    assert WrappedKeys.open(path, KEK).meter("A") == held
    raw = path.read_bytes()
    assert msgspec.msgpack.decode(raw)["format"] == 2
    for secret in (held.master, held.signing and held.signing.private, held.agreement and held.agreement.private):
        assert secret is None or secret.reveal() not in raw


def test_files_without_them_stay_of_format_1_which_older_programs_read(tmp_path):
    plain = replace(keys(0)[0], master=None)
    shipment, store = tmp_path / "shipment.toml", tmp_path / "keys"
    write(shipment, "Maker", "TK", TRANSPORT, [(METER, plain)])
    assert shipment.read_text().startswith("format = 1\n")
    kept = WrappedKeys.create(store, KEK)
    kept.put("A", plain)
    assert msgspec.msgpack.decode(store.read_bytes())["format"] == 1
    kept.put("B", keys(1)[0])
    assert msgspec.msgpack.decode(store.read_bytes())["format"] == 2
    kept.remove("B")
    assert msgspec.msgpack.decode(store.read_bytes())["format"] == 1
    assert WrappedKeys.open(store, KEK).meter("A") == plain


def test_keys_that_a_new_shipment_lacks_are_gone(tmp_path):
    kept = WrappedKeys.create(tmp_path / "keys", KEK)
    kept.put("A", keys(1)[0])
    kept.put("A", replace(keys(1)[0], agreement=None))
    assert WrappedKeys.open(tmp_path / "keys", KEK).meter("A").agreement is None


def test_a_signing_key_fits_no_other_meter(tmp_path):
    path = tmp_path / "keys"
    WrappedKeys.create(path, KEK).put_all({"A": keys(1)[0], "B": keys(1)[0]})
    table = msgspec.msgpack.decode(path.read_bytes())
    a, b = (next(r for r in table["records"] if r["meter"] == n and r["type"] == "signing_key") for n in "AB")
    a["wrapped"], a["nonce"] = b["wrapped"], b["nonce"]
    path.write_bytes(msgspec.msgpack.encode(table))
    with pytest.raises(KeysError, match="signing_key of meter 'A' was changed outside the DCU"):
        WrappedKeys.open(path, KEK)


def text_of(tmp_path, held):
    path = tmp_path / "shipment.toml"
    write(path, "Maker", "TK", TRANSPORT, [(METER, held)])
    return path.read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 2", "format = 1", "signing, agreement and master keys need format = 2"),
        ("suite = 1", "suite = 0", "key signing_key: suite 0 has no such key"),
        ("suite = 1", "suite = 3", "key suite: allowed: 0, 1, 2"),
        ("meter_signing =", "meter_signin =", "allowed keys: name, system_title"),
        ('meter_agreement = "', 'meter_agreement = "x', "key meter_agreement: hexadecimal digits of a public key"),
    ],
)
def test_a_mistake_in_a_shipment_is_named(tmp_path, old, new, message):
    text = text_of(tmp_path, keys(1)[0])
    assert old in text
    with pytest.raises(ConfigError, match=message):
        parse(text.replace(old, new).encode(), "s.toml")


def test_half_a_pair_is_refused(tmp_path):
    lines = text_of(tmp_path, keys(1)[0]).splitlines()
    for key in ("signing_key", "meter_signing", "agreement_key", "meter_agreement"):
        rest = "\n".join(line for line in lines if not line.startswith(f"{key} ="))
        with pytest.raises(ConfigError, match="go together"):
            parse(rest.encode(), "s.toml")


def test_a_key_that_is_none_and_a_certificate_of_another_meter_are_refused_when_unwrapped(tmp_path):
    held = keys(1)[0]
    strange = issued(CLIENT_TITLE, SUITES[1], held.signing.peer, Purpose.SIGNING)
    for pair, said in (
        (replace(held.signing, private=Secret(bytes(32))), "key signing_key: the private key is none of"),
        (replace(held.signing, peer_certificate=strange), "key signing_key: the certificate is of 4d4d4d0000000001"),
    ):
        text = text_of(tmp_path, replace(held, signing=pair))
        with pytest.raises(KeysError, match=said):
            unwrap(parse(text.encode(), "s.toml").meters[0], TRANSPORT)
