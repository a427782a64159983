"""Attacks on a secured exchange: no frame made without a key delivers another value, executes another command, or
lowers the policy. What may be changed unnoticed stands in TOLERATED, field by field, with the reason.

The canaries take one check away and expect the same attacks to succeed: else they would prove nothing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from dcu.cosem import admission, ciphering, conversation, handshake, security, server
from dcu.cosem.association import MemoryFloors
from dcu.cosem.security import Cipher, Protection
from dcu.credentials import Secret

from .attacks import (
    Forgery,
    before,
    downgraded,
    flips,
    in_place,
    plain_of,
    plaintexts,
    reflections,
    replays,
    resized,
    weakened,
)
from .exchange import ANSWERS, COMMANDS, FRAMES, Line, Outcome
from .fields import locate

# Fields that are not authenticated, and on which nothing depends. (frame, field): why it may be changed.
TOLERATED = {
    ("AARQ", "8A.tag"): "sender-acse-requirements: the mechanism's name says the same; unknown fields are left alone",
    ("AARQ", "8A.value"): "sender-acse-requirements: the mechanism's name says the same",
    ("AARE", "A3/A1/02.value"): "diagnostic of an acceptance: words; HLS is insisted on whatever it says",
    ("AARE", "88.tag"): "responder-acse-requirements: nothing is decided by it; unknown fields are left alone",
    ("AARE", "88.value"): "responder-acse-requirements: nothing is decided by it",
    ("AARE", "89.tag"): "a missing mechanism name (jDLMS): challenge and proof are insisted on all the same",
    ("RLRQ", "length"): "meters miscount it (Gurux Java): not believed; the user information has its own",
    ("RLRQ", "80.tag"): "an unknown field is left alone: the reason is then not given",
    ("RLRQ", "80.length"): "0: an empty reason",
    ("RLRQ", "80.value"): "release reason: words",
    ("RLRQ", "BE.length"): "meters miscount it: not believed",
    ("RLRE", "length"): "meters miscount it (Gurux Java): not believed; the user information has its own",
    ("RLRE", "80.tag"): "an unknown field is left alone: the reason is then not given",
    ("RLRE", "80.length"): "0: an empty reason",
    ("RLRE", "80.value"): "release reason: words",
    ("RLRE", "BE.length"): "meters miscount it: not believed",
}

# Forgeries that go unnoticed, each one because of fields above.
TOLERATED_FORGERIES = {
    ("AARQ", "user 7"): "who of the client's users asks: nobody proves that, and a meter without a list does not ask",
    ("AARE", "mechanism None"): "as 89.tag",
    ("AARE", "diagnostic <UserDiagnostic.NULL: 0>"): "as the diagnostic",
    ("AARE", "diagnostic <UserDiagnostic.AUTHENTICATION_FAILURE: 13>"): "as the diagnostic: the result decides",
}
TRAILING = ("RLRQ", "RLRE")  # their lengths are not believed, so what follows the user information is left alone

modes = pytest.mark.parametrize(
    ("dedicated", "lossy"),
    [
        pytest.param(False, False, id="global key, stream"),
        pytest.param(False, True, id="global key, lossy"),
        pytest.param(True, False, id="dedicated key, stream"),
        pytest.param(True, True, id="dedicated key, lossy"),
    ],
)


def honest(dedicated: bool = False, lossy: bool = False) -> Outcome:
    outcome = Line(dedicated=dedicated, lossy=lossy).run()
    assert outcome.completed
    assert outcome.breaches == []
    assert tuple(outcome.frames) == FRAMES
    return outcome


def plain(outcome: Outcome, dedicated: bool):
    return plain_of(outcome, Secret((101).to_bytes(2, "big") * 8) if dedicated else None)


def tried(forgeries: Iterable[Forgery], *, dedicated=False, lossy=False) -> tuple[list[str], set[tuple[str, str]]]:
    """Put each forgery in place of its frame, and in front of it.

    Return what was breached, and the forgeries in whose place the exchange went on to its end.
    """
    breached: list[str] = []
    unnoticed: set[tuple[str, str]] = set()
    for name, what, forged in forgeries:
        for attack in (in_place, before):
            outcome = Line(dedicated=dedicated, lossy=lossy).run(attack(name, (forged,)))
            breached += (f"{name}, {what}: {breach}" for breach in outcome.breaches)
            if attack is in_place and outcome.completed:
                unnoticed.add((name, what))
    return breached, unnoticed


def all_forgeries(outcome: Outcome, dedicated: bool) -> Iterator[Forgery]:
    known = plain(outcome, dedicated)
    yield from plaintexts(outcome, known)
    yield from weakened(outcome, known)
    yield from downgraded(outcome)
    yield from reflections(outcome)


@modes
def test_no_flipped_bit_delivers_executes_or_lowers_anything(dedicated, lossy):
    true = honest(dedicated, lossy)
    places = {name: locate(frame) for name, frame in true.frames.items()}
    tolerated: Counter[tuple[str, str]] = Counter()
    for name, at, flipped in flips(true):
        outcome = Line(dedicated=dedicated, lossy=lossy).run(in_place(name, (flipped,)))
        assert outcome.breaches == [], f"{name}, byte {at} ({places[name][at]}): {outcome.breaches}"
        if outcome.completed:
            tolerated[name, places[name][at]] += 1
    assert set(tolerated) == set(TOLERATED)  # nothing beside the list, and nothing on it that is not needed


@pytest.mark.parametrize("dedicated", [False, True], ids=["global key", "dedicated key"])
def test_a_flipped_copy_in_front_of_a_frame_does_not_end_a_lossy_session(dedicated):
    """But for an opening that is refused: a refusal before the association stands is believed."""
    true = honest(dedicated, lossy=True)
    ended = set()
    for name, at, flipped in flips(true):
        outcome = Line(dedicated=dedicated, lossy=True).run(before(name, (flipped,)))
        assert outcome.breaches == [], f"{name}, byte {at}: {outcome.breaches}"
        if not outcome.completed:
            ended.add(name)
    assert ended <= {"AARQ", "AARE"}


@modes
def test_no_replayed_or_reordered_frame_is_good_again(dedicated, lossy):
    """The meter's floors persist between the sessions; the client starts with none, and has the meter's proof."""
    first = MemoryFloors()
    earlier = Line(dedicated=dedicated, lossy=lossy, floors=first, start=100).run()
    assert earlier.completed
    used = dict(first._floors)

    def line():
        return Line(dedicated=dedicated, lossy=lossy, floors=MemoryFloors(used), start=500)

    true = line().run()
    assert true.completed
    for name, what, forged in replays(true, earlier):
        for attack in (in_place, before):
            outcome = line().run(attack(name, (forged,)))
            assert outcome.breaches == [], f"{name}, {what}: {outcome.breaches}"
        assert not line().run(in_place(name, (forged,))).completed, f"{name}: {what} went unnoticed"


@modes
def test_a_whole_earlier_session_played_back_opens_nothing(dedicated, lossy):
    earlier = honest(dedicated, lossy)
    floors = MemoryFloors()
    Line(dedicated=dedicated, lossy=lossy, floors=floors).run()
    line = Line(dedicated=dedicated, lossy=lossy, floors=floors)
    for name in FRAMES[::2]:
        line.server.receive(1, earlier.frames[name])
    assert line.meter.done == line.meter.asked == []
    fresh = Line(dedicated=dedicated, lossy=lossy, start=900)  # a client that remembers no counter of the meter
    outcome = fresh.run(lambda name, frame: (earlier.frames[name],) if name in ANSWERS else (frame,))
    assert outcome.results == {}
    assert outcome.breaches == []


@modes
def test_every_frame_sent_twice_does_everything_once(dedicated, lossy):
    for name in FRAMES:
        line = Line(dedicated=dedicated, lossy=lossy)
        outcome = line.run(lambda at, frame, name=name: (frame, frame) if at == name else (frame,))
        assert outcome.breaches == []
        assert line.meter.done == COMMANDS[: len(line.meter.done)]
        assert outcome.completed or not lossy


@modes
def test_no_truncated_or_extended_frame_passes(dedicated, lossy):
    true = honest(dedicated, lossy)
    breached, passed = tried(resized(true), dedicated=dedicated, lossy=lossy)
    assert breached == []
    assert {name for name, _ in passed} <= set(TRAILING)
    assert all(what.startswith("followed by") for _, what in passed)


@modes
def test_no_plaintext_and_no_downgrade_passes(dedicated, lossy):
    true = honest(dedicated, lossy)
    breached, passed = tried(all_forgeries(true, dedicated), dedicated=dedicated, lossy=lossy)
    assert breached == []
    assert passed <= set(TOLERATED_FORGERIES)


@pytest.mark.parametrize("dedicated", [False, True], ids=["global key", "dedicated key"])
def test_plaintext_and_weakened_services_do_not_end_a_lossy_session(dedicated):
    true = honest(dedicated, lossy=True)
    known = plain(true, dedicated)
    for name, what, forged in (*plaintexts(true, known), *weakened(true, known)):
        if name == "HLS response" and forged[:1] in (b"\xd8", b"\x0e"):
            continue  # a refusal before the association stands is believed
        outcome = Line(dedicated=dedicated, lossy=True).run(before(name, (forged,)))
        assert outcome.completed, f"{name}, {what}: {outcome.error}"


# --- canaries


def _without_tags(cipher, control, nonce, content):
    text = content[: -security.TAG_SIZE]
    return cipher._keystream(nonce, text) if control.protection == Protection.BOTH else text


@modes
def test_canary_without_the_tag_check_flipped_bits_get_through(monkeypatch, dedicated, lossy):
    true = honest(dedicated, lossy)
    monkeypatch.setattr(Cipher, "open", _without_tags)
    wanted = {"GET response": "GET request delivered", "SET request": "the meter executed"}
    found = set()
    for name, _, flipped in flips(true):
        if name in wanted and name not in found:
            outcome = Line(dedicated=dedicated, lossy=lossy).run(in_place(name, (flipped,)))
            found |= {name for breach in outcome.breaches if breach.startswith(wanted[name])}
    assert found == set(wanted)


@modes
def test_canary_without_the_counter_check_replays_get_through(monkeypatch, dedicated, lossy):
    monkeypatch.setattr(ciphering.Ciphering, "require_above", staticmethod(lambda floor, counter: None))
    for name in ("SET request", "ACTION request"):
        line = Line(dedicated=dedicated, lossy=lossy)
        outcome = line.run(lambda at, frame, name=name: (frame, frame) if at == name else (frame,))
        assert any(breach.startswith("the meter executed") for breach in outcome.breaches)
        assert line.meter.done != COMMANDS


@modes
def test_canary_without_the_policy_check_plaintext_and_weaker_ciphering_get_through(monkeypatch, dedicated, lossy):
    true = honest(dedicated, lossy)
    known = plain(true, dedicated)
    for module in (admission, conversation, handshake, server):
        monkeypatch.setattr(module, "require_protection", lambda required, held, what: None)
    clear, _ = tried(plaintexts(true, known), dedicated=dedicated, lossy=lossy)
    assert any(breach.startswith("GET response, another in the clear: GET request delivered") for breach in clear)
    assert any(breach.startswith("SET request, another in the clear: the meter executed") for breach in clear)

    checked = ciphering.unprotect
    monkeypatch.setattr(ciphering, "unprotect", lambda *given, required, **more: checked(*given, **more))
    weaker, _ = tried(weakened(true, known), dedicated=dedicated, lossy=lossy)
    assert any("forged under security control 20: GET request delivered" in breach for breach in weaker)
    assert any("forged under security control 20: the meter executed" in breach for breach in weaker)


def test_canary_an_untaught_field_is_not_tolerated(monkeypatch):
    monkeypatch.delitem(TOLERATED, ("RLRQ", "80.value"))
    with pytest.raises(AssertionError):
        test_no_flipped_bit_delivers_executes_or_lowers_anything(False, False)
