from dataclasses import replace
from datetime import datetime

import pytest

from dcu.certificates import Purpose
from dcu.credentials import MeterKeys, Secret
from dcu.errors import ConfigError
from dcu.keys import keysfile
from dcu.keys.keysfile import load
from dcu.suites import SUITES
from tests.cosem.certificates import issued
from tests.cosem.suite_keys import CLIENT_TITLE, METER_TITLE
from tests.cosem.suite_keys import keys as suite_keys

FULL = """
password = "12345678"
system_title = "45584d0000000042"
guek = "000102030405060708090A0B0C0D0E0F"
gak = "d0d1d2d3 d4d5d6d7 d8d9dadb dcdddedf"
client_title = "4443550000000001"
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "meter.keys"
    path.touch(0o600)
    return path


def test_a_whole_file_gives_meter_keys_and_our_title(path):
    path.write_text(FULL)
    file = load(path)
    guek, gak = Secret(bytes(range(16))), Secret(bytes(range(0xD0, 0xE0)))
    assert file.meter_keys() == MeterKeys(bytes.fromhex("45584d0000000042"), guek, gak, Secret(b"12345678"), 0)
    assert file.client_title == b"DCU\0\0\0\0\1"
    assert file.warnings == ()


def test_low_security_needs_only_a_password(path):
    path.write_text('password = "hex:00ff"')
    file = load(path)
    assert file.low_password() == Secret(b"\x00\xff")
    with pytest.raises(ConfigError, match=r"meter\.keys: key system_title is missing: the meter's"):
        file.meter_keys()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('system_title = "45584d0000000042"', "key guek is missing"),
        ('system_title = "45584d0000000042"\nguek = "' + "00" * 16 + '"', "key gak is missing"),
    ],
)
def test_what_is_missing_is_named_when_it_is_needed(path, text, message):
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load(path).meter_keys()
    with pytest.raises(ConfigError, match="key password is missing"):
        load(path).low_password()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('guek = "5ec4e75ec4e7"', "key guek: allowed are 32 hexadecimal digits"),
        ('suite = 2\ngak = "5ec4e75ec4e75ec4e75ec4e75ec4e75e"', "key gak: allowed are 64 hexadecimal digits"),
        ('system_title = "5ec4e7"', "key system_title: allowed are 16 hexadecimal digits"),
        ('client_title = "5ec4e7zz"', "key client_title: allowed are 16 hexadecimal digits"),
        ("suite = 7", "key suite: allowed: 0, 1, 2"),
        ("guek = 54715471", "key guek: Expected `str"),
        ('gauk = "5ec4e7"', "gauk.*allowed here: password, system_title, guek, gak, suite, client_title"),
        ('password = ""', "key password: allowed are 1 to 128 bytes"),
        ('password = "hex:5ec4e7x"', "key password: allowed are 1 to 128 bytes"),
        ('guek = "5ec4e7', "not TOML"),
    ],
)
def test_a_mistake_names_file_and_key_and_never_a_value(path, text, message):
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "5ec4e7" not in str(caught.value)
    assert "5471" not in str(caught.value)


def test_a_file_that_others_can_read_earns_a_warning(path):
    path.write_text(FULL)
    path.chmod(0o644)
    assert "chmod 600" in load(path).warnings[0]


def test_a_missing_file_is_said_so(path):
    path.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        load(path)


# --- suites 1 and 2

SUITES_TITLE = METER_TITLE.hex()


def suite_text(number, **changes):
    """A keys file of a suite, with our tests' keys."""
    client, meter = suite_keys(number)
    lines = {
        "suite": number,
        "system_title": f'"{SUITES_TITLE}"',
        "guek": f'"{client.guek.reveal().hex()}"',
        "gak": f'"{client.gak.reveal().hex()}"',
        "master_key": f'"{client.master.reveal().hex()}"',
        "signing_key": f'"{client.signing.private.reveal().hex()}"',
        "meter_signing": f'"{client.signing.peer.hex()}"',
        "agreement_key": f'"{client.agreement.private.reveal().hex()}"',
        "meter_agreement": f'"{client.agreement.peer.hex()}"',
        "meter_signing_key": f'"{meter.signing.private.reveal().hex()}"',
        **changes,
    }
    return "".join(f"{key} = {value}\n" for key, value in lines.items() if value is not None)


@pytest.mark.parametrize("number", [1, 2])
def test_a_file_of_suites_1_and_2_holds_signing_and_agreement_keys(path, number):
    path.write_text(suite_text(number))
    file = load(path)
    client, meter = suite_keys(number)
    assert file.meter_keys() == replace(client, password=None)
    assert file.simulated == (meter.signing.private, None)
    file.require_signing()


@pytest.mark.parametrize("number", [1, 2])
def test_the_meters_public_key_may_stand_in_its_certificate(path, number):
    client, _ = suite_keys(number)
    certificate = issued(METER_TITLE, SUITES[number], client.signing.peer, Purpose.SIGNING)
    path.write_text(suite_text(number, meter_signing=f'"{certificate.hex()}"'))
    assert load(path).signing == replace(client.signing, peer_certificate=certificate)


def test_a_certificate_outside_of_its_time_is_warned_of_and_used(path, monkeypatch):
    """Whose clock is wrong nobody can tell from here."""

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2050, 1, 1, tzinfo=tz)

    client, _ = suite_keys(1)
    certificate = issued(METER_TITLE, SUITES[1], client.signing.peer, Purpose.SIGNING)
    path.write_text(suite_text(1, meter_signing=f'"{certificate.hex()}"'))
    assert load(path).warnings == ()
    monkeypatch.setattr(keysfile, "datetime", Later)
    (warning,) = load(path).warnings
    assert "digital signature of 4d4d4d0000bc614e: the certificate is valid from 2025" in warning


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"signing_key": None}, "key signing_key is missing: the other one is there"),
        ({"meter_agreement": None}, "key meter_agreement is missing"),
        ({"signing_key": '"00"'}, "key signing_key: allowed are 64 hexadecimal digits"),
        ({"signing_key": f'"{"ff" * 32}"'}, "key signing_key: the private key is none of security suite 1"),
        ({"meter_signing": f'"{"00" * 64}"'}, "key meter_signing: .* is no point of the curve"),
        ({"meter_signing": '"3082"'}, "key meter_signing: .* no certificate in DER"),
        ({"suite": 0}, "key signing_key: suite 0 has no such key"),
        ({"suite": 2}, "key guek: allowed are 64 hexadecimal digits"),
        ({"master_key": '"00"'}, "key master_key: allowed are 32 hexadecimal digits"),
    ],
)
def test_a_mistake_in_the_keys_of_a_suite_is_named_and_shows_no_secret(path, changes, message):
    path.write_text(suite_text(1, **changes))
    with pytest.raises(ConfigError, match=message) as refused:
        load(path)
    assert suite_keys(1)[0].signing.private.reveal().hex() not in str(refused.value)


def test_a_certificate_of_another_meter_or_for_another_use_is_refused(path):
    client, _ = suite_keys(1)
    for title, purpose, said in (
        (CLIENT_TITLE, Purpose.SIGNING, "the certificate is of 4d4d4d0000000001"),
        (METER_TITLE, Purpose.AGREEMENT, "the certificate is for key agreement"),
    ):
        certificate = issued(title, SUITES[1], client.signing.peer, purpose)
        path.write_text(suite_text(1, meter_signing=f'"{certificate.hex()}"'))
        with pytest.raises(ConfigError, match=said):
            load(path)


def test_signing_needs_a_suite_that_has_it(path):
    path.write_text(FULL)
    with pytest.raises(ConfigError, match="key suite: 1 or 2 have signatures"):
        load(path).require_signing()
    path.write_text(suite_text(1, signing_key=None, meter_signing=None))
    with pytest.raises(ConfigError, match="key signing_key is missing"):
        load(path).require_signing()
