import pytest

from dcu.credentials import MeterKeys, Secret
from dcu.errors import ConfigError
from dcu.keys.keysfile import load

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
