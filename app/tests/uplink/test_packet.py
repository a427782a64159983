"""The last gasp, byte by byte: sealed once, readable by a head-end, and by nobody else."""

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher as Primitive
from cryptography.hazmat.primitives.ciphers import algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from dcu.cosem.push import PushReceiver, PushSource
from dcu.cosem.security import Cipher
from dcu.credentials import MeterKeys, Secret
from dcu.errors import CounterReplayed, DecodeError, KeysError, TagMismatch
from dcu.link import wrapper
from dcu.uplink.packet import LastGasp, Packet, Status, decode, encode, logical_device_name

TITLE = bytes.fromhex("4443550000000001")
GUEK, GAK = Secret(bytes(range(16))), Secret(bytes(range(0xD0, 0xE0)))  # the Green Book's, published
KEYS = MeterKeys(bytes.fromhex("4845530000000001"), GUEK, GAK)
AT = datetime(2025, 11, 20, 12, 2, 3, 450_000, tzinfo=UTC)

PLAIN = bytes.fromhex(
    "0f 80000007"  # data-notification, high priority, number 7
    "0c 07e90b1404 0c02032d 0000 00"  # 2025-11-20, a Thursday, 12:02:03.45 UTC, clock in order
    "02 04"  # structure of four
    "09 0d 44435530303030303030303031"  # octet-string DCU0000000001
    "09 0c 07e90b1404 0c02032d 0000 00"
    "16 01"  # enum: power fail
    "06 00004a38"  # double-long-unsigned: 19,000 ms
)


def sealed_by_hand(plain, counter):
    """general-glo-ciphering from `cryptography`'s own GCM: nothing of ours in it."""
    control, ic = b"\x30", counter.to_bytes(4, "big")
    gcm = Primitive(algorithms.AES(GUEK.reveal()), modes.GCM(TITLE + ic, min_tag_length=12)).encryptor()
    gcm.authenticate_additional_data(control + GAK.reveal())
    text = gcm.update(plain) + gcm.finalize()
    body = control + ic + text + gcm.tag[:12]
    return b"\xdb\x08" + TITLE + bytes((len(body),)) + body


def test_the_plain_notification_is_byte_exact():
    assert encode(LastGasp(b"DCU0000000001", AT, 19.0), 7) == PLAIN


def test_the_datagram_is_byte_exact():
    apdu = sealed_by_hand(PLAIN, 7)
    datagram = Packet(Cipher(GUEK, GAK), TITLE, 7).seal(AT, 19.0, doubtful=False)
    assert datagram.hex() == (bytes.fromhex("0001 0001 0001") + len(apdu).to_bytes(2, "big") + apdu).hex()


def received(datagram, keys=KEYS, floor=-1):
    """What a head-end does with it: `floor` is the last counter that it has of this sender."""
    return PushReceiver(lambda title: PushSource(keys) if title == TITLE else None, lambda title: floor).receive(
        wrapper.decode(datagram).apdu
    )


def test_a_head_end_that_has_the_keys_reads_it():
    push = received(Packet(Cipher(GUEK, GAK), TITLE, 7).seal(AT, 19.0, doubtful=True), floor=6)
    assert (push.title, push.counter) == (TITLE, 7)
    assert decode(push.payload) == LastGasp(b"DCU0000000001", AT, 19.0, True, Status.POWER_FAIL)


def test_its_repetitions_count_once():
    datagram = Packet(Cipher(GUEK, GAK), TITLE, 7).seal(AT, 19.0, doubtful=False)
    with pytest.raises(CounterReplayed):
        received(datagram, floor=7)


def test_who_has_other_keys_reads_nothing():
    datagram = Packet(Cipher(GUEK, GAK), TITLE, 7).seal(AT, 19.0, doubtful=False)
    with pytest.raises(TagMismatch):
        received(datagram, MeterKeys(TITLE, Secret(bytes(16)), GAK))
    assert b"DCU0000000001" not in datagram


def test_a_packet_is_sealed_once():
    packet = Packet(Cipher(GUEK, GAK), TITLE, 7)
    packet.seal(AT, 19.0, doubtful=False)
    with pytest.raises(KeysError, match="invocation counter 7 was sealed already"):
        packet.seal(AT + timedelta(seconds=1), 18.0, doubtful=False)


def test_a_logical_device_name_fits():
    assert logical_device_name(TITLE) == b"DCU0000000001"
    assert logical_device_name(bytes.fromhex("44435500ABCDEF12")) == b"DCU00ABCDEF12"
    with pytest.raises(ValueError, match="at most 16 bytes"):
        encode(LastGasp(bytes(17), AT, 1.0), 0)


moments = st.datetimes(datetime(2000, 1, 1), datetime(2099, 12, 31)).map(
    lambda at: at.replace(microsecond=at.microsecond // 10_000 * 10_000, tzinfo=UTC)
)
gasps = st.builds(
    LastGasp,
    st.binary(max_size=16),
    moments,
    st.integers(0, 0xFFFFFFFF).map(lambda milliseconds: milliseconds / 1000),
    st.booleans(),
    st.integers(0, 255).map(Status),
)


@given(gasps, st.integers(0, 0xFFFFFFFF))
def test_what_is_said_is_what_is_read(gasp, number):
    assert decode(encode(gasp, number)) == gasp


@pytest.mark.parametrize("left", [-5.0, 0.0, 1e12])
def test_what_is_left_is_bounded(left):
    assert 0 <= decode(encode(LastGasp(b"", AT, left), 1)).left <= 0xFFFFFFFF / 1000


@given(st.one_of(st.binary(max_size=80), st.tuples(gasps, st.integers(0, 80), st.integers(0, 255)).map(
    lambda drawn: (lambda raw: raw[: drawn[1]] + bytes((drawn[2],)) + raw[drawn[1] + 1 :])(encode(drawn[0], 1))
)))  # fmt: skip
def test_noise_is_a_decode_error_or_a_last_gasp(noise):
    with contextlib.suppress(DecodeError):
        assert isinstance(decode(noise), LastGasp)
