"""Pushes: what a meter sent protected is let through once; strangers, copies and forgeries are not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.cosem import apdu, axdr, data, security
from dcu.cosem.apdu import DataNotification, GetRequestNormal
from dcu.cosem.push import PushReceiver, PushSource
from dcu.cosem.security import Cipher, Framing, Protection
from dcu.errors import (
    AuthenticationFailed,
    CounterReplayed,
    DcuError,
    DecodeError,
    KeysError,
    PolicyViolated,
    TagMismatch,
)

from .small_meter import ENERGY, KEYS, METER_TITLE

CIPHER = Cipher(KEYS.guek, KEYS.gak)
PUSHED = DataNotification(0x40000007, b"", axdr.encode(data.structure(data.u32(5))))


def pushed(counter, *, plain=None, protection=Protection.BOTH, title=METER_TITLE, framing=Framing.GENERAL_GLOBAL):
    plain = apdu.encode(PUSHED) if plain is None else plain
    return security.protect(CIPHER, plain, protection=protection, title=title, counter=counter, framing=framing)


def receiver(required=Protection.BOTH, floor=-1, *, plain=False):
    return committing({METER_TITLE: floor}, required, plain=plain)


def committing(floors, required=Protection.BOTH, *, plain=False):
    """A receiver whose caller commits by writing into `floors`."""
    sources = {METER_TITLE: PushSource(KEYS, required)}
    return PushReceiver(sources.get, floors.__getitem__, plain=plain)


def test_a_protected_push_brings_its_sender_counter_and_payload():
    push = receiver().receive(pushed(7))
    assert (push.title, push.counter, push.protection) == (METER_TITLE, 7, Protection.BOTH)
    assert (push.notification, push.payload) == (PUSHED, apdu.encode(PUSHED))


def test_a_push_is_good_once_after_its_counter_is_committed():
    floors = {METER_TITLE: -1}
    pushes = committing(floors)
    floors[METER_TITLE] = pushes.receive(pushed(7)).counter
    for counter in (7, 6):
        with pytest.raises(CounterReplayed):
            pushes.receive(pushed(counter))
    assert pushes.receive(pushed(8)).counter == 8
    assert pushes.refused.counter == 2


def test_a_push_that_could_not_be_kept_is_taken_when_it_is_sent_again():
    pushes = receiver()
    assert pushes.receive(pushed(7)).counter == pushes.receive(pushed(7)).counter == 7


def test_the_committed_floor_counts():
    with pytest.raises(CounterReplayed) as replayed:
        receiver(floor=100).receive(pushed(100))
    assert (replayed.value.floor, replayed.value.received) == (100, 100)


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (pushed(7, title=b"STRANGER"), KeysError),
        (pushed(7)[:-1] + b"\x00", TagMismatch),
        (pushed(7, protection=Protection.ENCRYPTED), PolicyViolated),
        (pushed(7, protection=Protection.AUTHENTICATED), PolicyViolated),
        (apdu.encode(PUSHED), PolicyViolated),
        (pushed(7, framing=Framing.GENERAL_DEDICATED), PolicyViolated),
        (b"\xdb\x00" + pushed(7)[10:], PolicyViolated),
        (pushed(7, plain=apdu.encode(GetRequestNormal(0xC1, ENERGY))), DecodeError),
        (b"", DecodeError),
        (b"\xdb", DecodeError),
    ],
    ids=[
        "a stranger",
        "a wrong tag",
        "encrypted only",
        "authenticated only",
        "plain",
        "a dedicated key",
        "no title",
        "no notification inside",
        "nothing",
        "cut short",
    ],
)
def test_what_is_not_acceptable_is_refused_and_counted_and_lifts_no_floor(frame, error):
    pushes = receiver()
    with pytest.raises(error):
        pushes.receive(frame)
    assert pushes.refused.total == 1
    assert pushes.receive(pushed(0)).counter == 0


def test_a_meter_that_only_encrypts_is_let_through_where_its_source_says_so():
    push = receiver(Protection.ENCRYPTED).receive(pushed(7, protection=Protection.ENCRYPTED))
    assert push.protection == Protection.ENCRYPTED


@pytest.mark.parametrize("protection", [Protection.ENCRYPTED, Protection.AUTHENTICATED, Protection.BOTH])
def test_only_an_authenticated_push_brings_a_counter_to_commit(protection):
    push = receiver(Protection.NONE).receive(pushed(0xFFFFFFFE, protection=protection))
    assert push.counter == (None if protection == Protection.ENCRYPTED else 0xFFFFFFFE)


def test_plain_pushes_are_let_through_where_they_are_allowed():
    push = receiver(plain=True).receive(apdu.encode(PUSHED))
    assert (push.title, push.counter, push.notification) == (b"", None, PUSHED)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, 10_000), noise=st.binary(max_size=60))
def test_a_flipped_bit_or_noise_never_passes(at, noise):
    frame = bytearray(pushed(7))
    frame[at // 8 % len(frame)] ^= 1 << at % 8
    for wrong in (bytes(frame), noise):
        with pytest.raises(DcuError) as refused:
            receiver().receive(wrong)
        assert isinstance(
            refused.value,
            AuthenticationFailed | CounterReplayed | DecodeError | KeysError | PolicyViolated | TagMismatch,
        )


def test_plain_pushes_are_refused_unless_they_are_allowed():
    with pytest.raises(PolicyViolated, match="a push without protection"):
        PushReceiver({}.get, {}.__getitem__).receive(apdu.encode(PUSHED))


@pytest.mark.parametrize("framing", [Framing.GLOBAL, Framing.DEDICATED, Framing.GENERAL_DEDICATED])
def test_a_source_has_to_be_named_by_what_it_sends(framing):
    with pytest.raises(ValueError, match="does not name the sender"):
        PushSource(KEYS, framing=framing)


def test_what_a_push_brought_is_in_no_log():
    """Deciphered data: a push is shown where something goes wrong with it."""
    push = receiver().receive(pushed(7))
    assert push.payload.hex() not in repr(push)
    assert repr(push.payload) not in repr(push)
