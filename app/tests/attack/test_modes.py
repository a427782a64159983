"""The attacks of `test_attack` over every other way to authenticate and to protect; and downgrades between them.

Sessions with signatures and agreed keys cost a hundred times what those of HLS 5 do, so that one bit of each byte is
flipped here, where `test_attack` flips each. The canaries take one check away.
"""

from dataclasses import replace

import pytest

from dcu.cosem import ciphering, conversation, general, security
from dcu.cosem.association import MemoryFloors
from dcu.cosem.security import Cipher, Framing
from dcu.errors import DcuError
from dcu.suites import Suite
from tests.cosem.small_meter import CLIENT, ENERGY, ENERGY_NOW, WHOLE, Pair, context_of, protection_of

from .attacks import before, in_place, replays
from .exchange import ANSWERS, COMMANDS, FRAMES, SERVICES, SHORT, Line, Outcome
from .fields import locate
from .test_attack import TOLERATED, plaintexts

MODES = (
    "high, global key",
    "md5, global key",
    "sha1, global key",
    "sha256, global key",
    "gmac, suite 1, global key",
    "gmac, suite 2, global key",
    "ecdsa, suite 1, global key",
    "ecdsa, suite 2, global key",
    "suite 0, general_global",
    "suite 0, identified",
    "suite 0, wrapped",
    "suite 1, one_pass",
    "suite 1, static",
    "suite 1, global, signed",
    "suite 1, wrapped, signed",
    "suite 2, one_pass, signed",
    "gmac, suite 1, dedicated key",
    "ecdsa, suite 2, dedicated key",
    "suite 0, general_global, dedicated key",
    "suite 1, general_global, signed, dedicated key",
    f"{SHORT}md5, global key",
    f"{SHORT}gmac, global key",
    f"{SHORT}gmac, suite 2, dedicated key",
    f"{SHORT}ecdsa, suite 1, global key",
)
modes = pytest.mark.parametrize("mode", MODES)
lossiness = pytest.mark.parametrize("lossy", [False, True], ids=["stream", "lossy"])
DEAR = {
    "suite 2": 11,
    "ecdsa": 7,
    "one_pass": 7,
    "signed": 7,
    "static": 5,
    "dedicated": 3,
    SHORT: 3,
}  # of these every so many bytes is tried


def honest(mode: str, lossy: bool = False, **more) -> Outcome:
    outcome = Line(context=mode, lossy=lossy, **more).run()
    assert outcome.completed, outcome.error
    assert outcome.breaches == []
    return outcome


def places(mode: str, frame: bytes) -> range:
    return range(0, len(frame), max((step for word, step in DEAR.items() if word in mode), default=1))


def flipped(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes((frame[at] ^ 1 << at % 8,)) + frame[at + 1 :]


@modes
def test_no_flipped_bit_delivers_executes_or_lowers_anything(mode):
    for name, frame in honest(mode).frames.items():
        for at in places(mode, frame):
            outcome = Line(context=mode, lossy=False).run(in_place(name, (flipped(frame, at),)))
            assert outcome.breaches == [], f"{name}, byte {at}: {outcome.breaches}"
            if outcome.completed:
                assert name not in SERVICES
                assert (name, locate(frame)[at]) in TOLERATED


@modes
@lossiness
def test_no_replayed_frame_is_good_again(mode, lossy):
    first = MemoryFloors()
    earlier = Line(context=mode, lossy=lossy, floors=first).run()
    used = dict(first._floors)
    true = honest(mode, lossy, floors=MemoryFloors(used), start=500)
    for name, what, forged in replays(true, earlier):
        line = Line(context=mode, lossy=lossy, floors=MemoryFloors(used), start=500)
        outcome = line.run(in_place(name, (forged,)))
        assert outcome.breaches == [], f"{name}, {what}: {outcome.breaches}"
        assert not outcome.completed, f"{name}: {what} went unnoticed"


@modes
def test_a_whole_earlier_session_played_back_opens_nothing(mode):
    floors = MemoryFloors()
    earlier = honest(mode, floors=floors)
    line = Line(context=mode, lossy=False, floors=floors, start=900)
    for name in FRAMES[::2]:
        line.server.receive(CLIENT, earlier.frames[name])
    assert line.meter.done == line.meter.asked == []
    fresh = Line(context=mode, lossy=False, start=900)  # a client that remembers no counter of the meter
    outcome = fresh.run(lambda name, frame: (earlier.frames[name],) if name in ANSWERS else (frame,))
    assert outcome.results == {}
    assert outcome.breaches == []


@modes
@lossiness
def test_no_plaintext_passes(mode, lossy):
    true = honest(mode, lossy)
    plain = {"GET response": b"\xc4\x01\xc2\x00" + ENERGY_NOW}
    for name, what, forged in plaintexts(true, lambda name: plain.get(name, b"\xc0\x01\xc2")):
        for attack in (in_place, before):
            outcome = Line(context=mode, lossy=lossy).run(attack(name, (forged,)))
            assert outcome.breaches == [], f"{name}, {what}: {outcome.breaches}"
            assert attack is before or not outcome.completed


@modes
def test_every_frame_sent_twice_does_everything_once(mode):
    for name in FRAMES:
        line = Line(context=mode, lossy=True)
        outcome = line.run(lambda at, frame, name=name: (frame, frame) if at == name else (frame,))
        assert outcome.breaches == []
        assert line.meter.done == COMMANDS


# --- downgrades: neither side is talked into less than it is configured for

DOWNGRADES = [  # what one side is configured for; what the other is, or is made to be
    *((mode, "none") for mode in MODES),
    *((mode, "low") for mode in MODES[:8]),
    ("ecdsa, suite 1, global key", "ecdsa, suite 1, plain services"),
    ("sha256, global key", "md5, global key"),
    ("sha256, global key", "sha1, global key"),
    ("gmac, suite 2, global key", "gmac, suite 1, global key"),
    ("gmac, suite 1, global key", "gmac, global key"),
    ("ecdsa, suite 2, global key", "gmac, suite 2, global key"),
    ("suite 1, global, signed", "suite 1, global"),
    ("suite 1, one_pass", "suite 1, identified"),
    ("suite 1, one_pass", "suite 1, global"),
    ("suite 1, static", "suite 1, wrapped"),
    ("suite 2, one_pass, signed", "suite 2, one_pass"),
    ("gmac, suite 1, dedicated key", "gmac, suite 1, plain services"),
    ("suite 1, general_global, signed, dedicated key", "suite 1, general_global, dedicated key"),
    ("suite 1, general_global, dedicated key", "gmac, suite 1, dedicated key"),
    *((f"{SHORT}gmac, global key", f"{SHORT}{less}") for less in ("none", "low", "gmac, plain services")),
    *((f"{SHORT}gmac, global key", less) for less in ("gmac, global key", "none")),
    ("gmac, global key", f"{SHORT}gmac, global key"),
    (f"{SHORT}ecdsa, suite 1, global key", f"{SHORT}gmac, suite 1, global key"),
]
downgrades = pytest.mark.parametrize(("more", "less"), DOWNGRADES, ids=[f"{a} / {b}" for a, b in DOWNGRADES])


@downgrades
@lossiness
def test_a_meter_that_offers_less_gets_nothing_from_the_client(more, less, lossy):
    outcome = Line(context=less, client_context=more, lossy=lossy).run()
    assert isinstance(outcome.error, DcuError)
    assert "GET request" not in outcome.results


@downgrades
@lossiness
def test_a_client_that_offers_less_gets_nothing_from_the_meter(more, less, lossy):
    line = Line(context=more, client_context=less, lossy=lossy)
    outcome = line.run()
    assert isinstance(outcome.error, DcuError)
    assert line.meter.done == line.meter.asked == []


def test_every_context_of_the_small_meter_is_attacked_or_its_like_is():
    """A way to protect that nobody attacks is found out here."""
    long = [mode for mode in MODES if not mode.startswith(SHORT)]
    kinds = {context_of(mode)[0] for mode in WHOLE if context_of(mode)[1].request}
    assert kinds == {context_of(mode)[0] for mode in (*long, "low, ciphered")}
    dedicated = {(context_of(mode)[2], context_of(mode)[3].suite) for mode in WHOLE}  # test_attack: suite 0
    assert dedicated == {(context_of(mode)[2], context_of(mode)[3].suite) for mode in long} | {(True, 0)}
    framings = {protection_of(mode)["framing"] for mode in long}
    assert framings == set(Framing) - {Framing.DEDICATED, Framing.GENERAL_DEDICATED}  # which these two stand for:
    assert any(context_of(mode)[2] for mode in long if protection_of(mode)["framing"] is Framing.GLOBAL)
    assert any(context_of(mode)[2] for mode in long if protection_of(mode)["framing"] is Framing.GENERAL_GLOBAL)


# --- canaries


def without_tags(cipher, control, nonce, content, header=b""):
    return cipher._keystream(nonce, content[: -security.TAG_SIZE])


@pytest.mark.parametrize(
    "mode", ["gmac, suite 2, global key", "suite 0, identified", "suite 1, static", f"{SHORT}gmac, global key"]
)
def test_canary_without_the_tag_check_flipped_bits_get_through(monkeypatch, mode):
    true = honest(mode)
    monkeypatch.setattr(Cipher, "open", without_tags)
    frame = true.frames["GET response"]
    outcomes = [
        Line(context=mode, lossy=False).run(in_place("GET response", (flipped(frame, at),)))
        for at in range(len(frame) - 16, len(frame) - 12)
    ]
    assert any("GET request delivered" in breach for outcome in outcomes for breach in outcome.breaches)


@pytest.mark.parametrize("mode", ["ecdsa, suite 1, global key", "suite 1, static"])
def test_canary_without_the_counter_check_replays_get_through(monkeypatch, mode):
    monkeypatch.setattr(ciphering.Ciphering, "require_above", staticmethod(lambda floor, counter: None))
    line = Line(context=mode, lossy=True)
    outcome = line.run(lambda at, frame: (frame, frame) if at == "ACTION request" else (frame,))
    assert any(breach.startswith("the meter executed") for breach in outcome.breaches)


def test_canary_without_the_signature_check_another_meters_proof_is_taken(monkeypatch):
    """Who holds the symmetric keys, and not the signing key, is the meter then."""
    mode = "ecdsa, suite 1, global key"

    def impostor():
        line = Line(context=mode, lossy=False)
        terms = line.server._associations[CLIENT]
        forged = replace(terms.keys, signing=replace(terms.keys.signing, private=terms.keys.agreement.private))
        line.server._associations = {CLIENT: replace(terms, keys=forged)}
        return line.run()

    assert not impostor().results
    monkeypatch.setattr(Suite, "verify", lambda *given: None)
    assert impostor().completed


def test_canary_without_the_check_of_the_framing_a_lesser_key_is_taken(monkeypatch):
    """A meter that answers under the global key, where a fresh one is agreed for each frame."""
    mode = "suite 1, one_pass"

    def lesser():
        pair = Pair(mode).associated()
        link = pair.server._links[CLIENT]
        honest = type(link.ciphering).seal_service

        def under_the_global_key(self, apdu, protection, framing, transaction=None):
            framing = Framing.GLOBAL if self is link.ciphering else framing
            return honest(self, apdu, protection, framing, transaction)

        monkeypatch.setattr(type(link.ciphering), "seal_service", under_the_global_key)
        return pair.run(pair.client.get(ENERGY))

    with pytest.raises(DcuError, match="GLOBAL ciphering"):
        lesser()
    monkeypatch.undo()
    framings = {0xC4: Framing.GLOBAL}
    lax = lambda self, plain: framings.get(plain[0], Framing.ONE_PASS)  # noqa: E731
    monkeypatch.setattr(conversation.Conversation, "_framing", lax)
    assert lesser() == ENERGY_NOW


def test_canary_without_the_signature_check_a_changed_signature_is_taken(monkeypatch):
    mode = "suite 1, global, signed"
    frame = honest(mode).frames["GET response"]
    attack = in_place("GET response", (flipped(frame, len(frame) - 1),))
    assert not Line(context=mode, lossy=False).run(attack).completed
    monkeypatch.setattr(general, "verify", lambda keys, signed: None)
    assert Line(context=mode, lossy=False).run(attack).completed
