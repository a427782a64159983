import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.credentials import MeterKeys, Secret
from dcu.errors import ConfigError, DcuError, KeysError
from dcu.keys import KeyType, shipment
from dcu.keys.shipment import NewMeter, ShippedMeter, load_transport_key, parse, read, unwrap, write

TRANSPORT = Secret(bytes.fromhex("000102030405060708090a0b0c0d0e0f"))
METER = '[[meters]]\nname = "EXM{n}"\nsystem_title = "45584d00000000{n:02d}"\naddress = "tcp://192.0.2.1:4059"\n'
KEYS = 'profile = "generic"\nguek = "{g}"\ngak = "{g}"\n'.format(g="00" * 24)
HEADER = 'format = 1\nmaker = "Example"\ntransport_key = "TK-1"\nwrapping = "aes-kwp"\n'
GOOD = HEADER + METER.format(n=1) + KEYS


def keys(seed, password=None, suite=0):
    length = 32 if suite == 2 else 16
    secret = Secret(password) if password else None
    return MeterKeys(bytes([seed] * 8), Secret(bytes([seed] * length)), Secret(bytes([99] * length)), secret, suite)


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        (
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
            "c37b7e6492584340bed12207808941155068f738",
        ),
        ("afbeb0f07dfbf5419200f2ccb50bb24f", "466f7250617369"),
    ],
    ids=["20 octets", "7 octets"],
)
def test_wrapping_is_rfc_5649s(wrapped, plain):
    """The examples of RFC 5649, section 6."""
    kek = Secret(bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"))
    from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

    key = aes_key_wrap_with_padding(kek.reveal(), bytes(16))
    meter = ShippedMeter(
        "A",
        bytes(8),
        "",
        "",
        0,
        {KeyType.GUEK: key, KeyType.GAK: key, KeyType.PASSWORD: bytes.fromhex(wrapped)},
    )
    assert unwrap(meter, kek).password == Secret(bytes.fromhex(plain))


def test_what_a_maker_writes_is_what_the_dcu_reads(tmp_path):
    path = tmp_path / "shipment.toml"
    sent = [
        (NewMeter("EXM1", "tcp://127.0.0.1:4059", "generic"), keys(1, b"12345678")),
        (NewMeter("EXM2", "udp://[2001:db8::1]:4059", "kaifa-ma309"), keys(2)),
        (NewMeter("EXM3", "tcp://127.1.2.3:4059", "generic"), keys(3, suite=2)),
    ]
    write(path, 'Example "Meters" \\ Söhne', "TK-2025-03", TRANSPORT, sent)
    shipment = read(path)
    assert shipment.maker == 'Example "Meters" \\ Söhne'
    assert shipment.transport_key_id == "TK-2025-03"
    assert [NewMeter(meter.name, meter.address, meter.profile) for meter in shipment.meters] == [
        item[0] for item in sent
    ]
    assert [unwrap(meter, TRANSPORT) for meter in shipment.meters] == [item[1] for item in sent]
    assert (b"\1" * 16).hex() not in path.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("format = 1", "format = 3"), "key format: 3 is not known here; allowed: 1, 2"),
        (GOOD.replace("aes-kwp", "plain"), "key wrapping: allowed: 'aes-kwp'"),
        (GOOD.replace("maker", "Maker"), "allowed keys: format, maker, transport_key, wrapping, meters"),
        (GOOD.replace("tcp://192.0.2.1:4059", "192.0.2.1"), "meter EXM1: key address: write SCHEME://HOST:PORT"),
        (GOOD.replace('"generic"', '"../etc"'), "meter EXM1: key profile: allowed are"),
        (GOOD.replace('"EXM1"', '"a b"'), "meter number 1: key name: allowed are"),
        (GOOD.replace('"EXM1"', "7"), "meter number 1: key name: Expected `str`, got `int`"),
        (GOOD.replace("4558", "45"), "meter EXM1: key system_title: 16 hexadecimal digits"),
        (GOOD.replace('guek = "00', 'guek = "0g'), "meter EXM1: key guek: hexadecimal digits"),
        (GOOD.replace('gak = "' + "00" * 24, 'gak = "' + "00" * 4), "meter EXM1: key gak: hexadecimal digits"),
        (GOOD.replace("gak = ", "gck = "), "meter EXM1: .*gck.*allowed keys: name, system_title"),
        (GOOD + "suite = 5\n", "meter EXM1: key suite: allowed: 0, 1, 2"),
        (GOOD + METER.format(n=1) + KEYS, "meter EXM1: key name: the same as of meter EXM1"),
        (
            GOOD + METER.format(n=2).replace("02", "01") + KEYS,
            "meter EXM2: key system_title: the same as of meter EXM1",
        ),
        (HEADER, "missing required field `meters`"),
        ("a = [" * 20_000, "not TOML"),
        ("a = " + "9" * 5000, "not TOML"),
        ("\udcff", "not TOML"),
    ],
)
def test_a_mistake_names_meter_and_key(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse(text.encode("utf-8", "surrogateescape"), "shipment.toml")
    assert str(caught.value).startswith("shipment.toml: ")
    assert "00" * 8 not in str(caught.value)


def test_the_wrong_transport_key_names_meter_and_key():
    (meter,) = parse(GOOD.encode(), "x").meters
    with pytest.raises(KeysError, match="meter EXM1: key guek: does not unwrap: is it the transport key"):
        unwrap(meter, TRANSPORT)


def test_a_key_of_another_suite_is_named(tmp_path):
    write(tmp_path / "s", "x", "y", TRANSPORT, [(NewMeter("EXM1", "tcp://a:1", "g"), keys(1, suite=2))])
    raw = (tmp_path / "s").read_text().replace("suite = 2\n", "")
    (meter,) = parse(raw.encode(), "x").meters
    with pytest.raises(KeysError, match="meter EXM1: key guek: suite 0 needs 16 bytes"):
        unwrap(meter, TRANSPORT)


def test_the_writer_refuses_what_the_reader_would(tmp_path):
    with pytest.raises(ValueError, match="key name"):
        write(tmp_path / "s", "x", "y", TRANSPORT, [(NewMeter("a b", "tcp://a:1", "g"), keys(1))])
    with pytest.raises(ValueError, match="does not print"):
        write(tmp_path / "s", "x\n", "y", TRANSPORT, [])
    assert not (tmp_path / "s").exists()


def test_too_much_is_refused_unread(tmp_path):
    with pytest.raises(ConfigError, match="are no shipment file"):
        parse(b"#" * (9 << 20), "x")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none")


def test_a_transport_key_is_hexadecimal_in_its_own_file(tmp_path):
    (tmp_path / "tk").write_text(TRANSPORT.reveal().hex() + "\n")
    assert load_transport_key(tmp_path / "tk") == TRANSPORT
    (tmp_path / "tk").write_text("secret")
    with pytest.raises(KeysError, match="32, 48 or 64 hexadecimal digits"):
        load_transport_key(tmp_path / "tk")
    with pytest.raises(KeysError, match="cannot be read"):
        load_transport_key(tmp_path / "none")


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=400))
def test_noise_is_refused_with_a_sentence(noise):
    with pytest.raises(DcuError):
        parse(noise, "x")


@settings(deadline=None)  # the machine may be busy
@given(st.data())
def test_a_changed_file_is_read_or_refused_and_nothing_else(data):
    raw = bytearray(GOOD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        shipment = parse(bytes(raw), "x")
        for meter in shipment.meters:
            unwrap(meter, TRANSPORT)
    except (ConfigError, KeysError):
        pass


# --- the head-end's keys


HEAD_END_KEYS = MeterKeys(bytes.fromhex("4845530000000001"), Secret(bytes(range(16))), Secret(bytes(range(16, 32))))


@pytest.mark.parametrize("counter", [None, 0, 4711])
def test_the_head_ends_keys_come_wrapped_in_a_file_of_their_own(tmp_path, counter):
    path, key = tmp_path / "headend.toml", Secret(bytes(32))
    shipment.write_head_end(path, "TK-1", key, HEAD_END_KEYS, counter)
    raw = path.read_bytes()
    shipped = shipment.parse_head_end(raw, "file")
    assert shipment.unwrap(shipped.keys, key) == HEAD_END_KEYS
    assert shipped.counter == counter
    assert HEAD_END_KEYS.guek.reveal().hex().encode() not in raw
    with pytest.raises(KeysError, match="is it the transport key"):
        shipment.unwrap(shipped.keys, Secret(bytes([1]) * 32))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("format = 1", "format = 2"), "key format"),
        (("aes-kwp", "none"), "key wrapping"),
        (("4845530000000001", "48"), "key system_title"),
        (("counter = 5", "counter = -1"), "counter"),
        (("counter = 5", "counter = 4294967296"), "counter"),
        (("counter = 5", "password = 'x'"), "password"),
    ],
)
def test_a_mistake_in_the_head_ends_file_names_its_key(tmp_path, change, text):
    path = tmp_path / "headend.toml"
    shipment.write_head_end(path, "TK-1", Secret(bytes(32)), HEAD_END_KEYS, 5)
    with pytest.raises(ConfigError, match=text):
        shipment.parse_head_end(path.read_text().replace(*change).encode(), "file")
