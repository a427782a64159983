"""Pushes, as requests and answers are attacked in `test_attack` and `test_modes`: over every way to protect them, at a
listener and inside of an association. Nothing but what the meter said is taken, each once, in order; and what was
refused does not keep out what comes next.

Ways with signatures and agreed keys are dear: there one bit of so many bytes is flipped. The canaries take one check
away.
"""

from dataclasses import replace

import pytest

from dcu.cosem import apdu, ciphering, conversation, general, security
from dcu.cosem.apdu import short
from dcu.cosem.ciphering import Ciphering
from dcu.cosem.security import KEYED, Cipher, Framing
from dcu.errors import CounterReplayed, DcuError, DecodeError, LinkClosed
from dcu.suites import Suite
from tests.cosem.small_meter import (
    CLIENT,
    CLIENT_TITLE,
    ENERGY,
    ENERGY_NOW,
    GENERAL_CONTEXTS,
    WHOLE,
    Pair,
    context_of,
    protection_of,
    protection_row,
)
from tests.cosem.suite_keys import METER_TITLE, keys
from tests.cosem.test_short import NAMES, ShortPair

from .pushed import (
    FIRST,
    LISTENED,
    OTHER_TITLE,
    STRANGER,
    Inside,
    Listener,
    answer,
    flips,
    foreign,
    lesser,
    matters,
    renamed,
    resized,
    said,
    sender,
    stripped,
    way,
)
from .test_modes import DEAR, without_tags

modes = pytest.mark.parametrize("mode", LISTENED)
kinds = pytest.mark.parametrize("kind", ["data", "event"])
INSIDE = tuple(mode for mode in WHOLE if context_of(mode)[1].response)
inside = pytest.mark.parametrize("context", INSIDE)


def step(mode):
    """0: every bit."""
    return max((every for word, every in DEAR.items() if word in mode), default=0)


def forgeries(mode, frame, plain):
    """Everything that is made of one frame."""
    yield from flips(frame, step(mode))
    yield from resized(frame, step(mode) or 1)
    yield from stripped(frame, plain)
    yield from renamed(frame)


# --- a listener


@pytest.mark.conforms("Service", lambda mode: f"push, {protection_row(mode).rpartition(', suite')[0]}", peer="ours")
@modes
@kinds
def test_a_listener_takes_what_the_meter_said_and_no_forgery_of_it(mode, kind):
    listener, meter, plain = Listener(mode), sender(mode), apdu.encode(said(1, kind))
    frame = meter.seal(plain, FIRST)
    for what, forged in forgeries(mode, frame, plain):
        assert forged != frame
        assert listener.put(forged) is not None, what
    assert (listener.taken, set(listener.floors.values())) == ([], {FIRST - 1})
    assert listener.put(frame) is None  # and none of them keeps out the true one
    assert listener.taken == [(METER_TITLE, said(1, kind))]


@modes
def test_a_push_is_taken_once_and_never_behind_a_later_one(mode):
    listener, meter = Listener(mode), sender(mode)
    frames = [meter.seal(apdu.encode(said(number)), FIRST + number) for number in range(4)]
    for at in (0, 2, 3):
        assert listener.put(frames[at]) is None
        for replayed in frames[: at + 1]:
            assert isinstance(listener.put(replayed), CounterReplayed)
    assert [notification for _, notification in listener.taken] == [said(0), said(2), said(3)]
    for counter in (0, FIRST, FIRST + 3):  # the meter's counter set back, or used for something else
        assert isinstance(listener.put(meter.seal(apdu.encode(said(9)), counter)), CounterReplayed)
    assert len(listener.taken) == 3


@modes
@kinds
def test_the_meters_own_keys_do_not_make_less_than_was_configured_acceptable(mode, kind):
    listener, plain = Listener(mode), apdu.encode(said(1, kind))
    tried = 0
    for what, forged in lesser(mode, plain, FIRST):
        assert isinstance(listener.put(forged), DcuError), what
        tried += 1
    assert tried > 3
    assert listener.taken == []


@modes
def test_each_key_that_matters_matters(mode):
    suite, _, _ = way(mode)
    held = keys(suite)[1]
    names = ["guek", "gak", "master", *(["signing", "agreement"] if suite else [])]
    for name in names:
        listener = Listener(mode)
        refused = listener.put(sender(mode, foreign(held, name)).seal(apdu.encode(said(1)), FIRST))
        assert (refused is not None) == (name in matters(mode)), name
        assert bool(listener.taken) == (name not in matters(mode))
    assert Listener(mode).put(sender(mode, foreign(held)).seal(apdu.encode(said(1)), FIRST)) is not None


@modes
def test_a_meter_is_not_taken_for_another(mode):
    """Another meter, which has keys of its own, and those of both where somebody gave two meters the same."""
    suite, _, _ = way(mode)
    held = keys(suite)[1]
    plain = apdu.encode(said(1))
    listener = Listener(mode)
    hostile = foreign(replace(keys(suite)[0], system_title=OTHER_TITLE))
    for title in (METER_TITLE, STRANGER, CLIENT_TITLE):
        assert listener.put(sender(mode, hostile, title=title).seal(plain, FIRST)) is not None
    assert listener.taken == []
    shared = Listener(mode, other=replace(keys(suite)[0], system_title=OTHER_TITLE))
    frame = sender(mode, held).seal(plain, FIRST)
    for what, forged in renamed(frame):
        assert shared.put(forged) is not None, what
    assert shared.taken == []
    assert shared.put(sender(mode, held, title=OTHER_TITLE).seal(plain, FIRST)) is None  # it says so itself
    assert shared.taken == [(OTHER_TITLE, said(1))]


@modes
def test_what_is_authentic_and_no_push_to_us_is_none(mode):
    """An answer of the meter's to us, a push of the meter's to somebody else, a request of our own."""
    suite, framing, signed = way(mode)
    listener = Listener(mode)
    assert isinstance(listener.put(answer(mode, FIRST)), DecodeError)
    ours = sender(mode, keys(suite)[0], title=CLIENT_TITLE, peer=METER_TITLE).seal(b"\xc0\x01\xc1", FIRST)
    assert listener.put(ours) is not None
    assert listener.put(ours.replace(CLIENT_TITLE, METER_TITLE)) is not None
    elsewhere = sender(mode, peer=STRANGER).seal(apdu.encode(said(1)), FIRST)
    addressed = framing in KEYED or signed  # general-glo-ciphering names its sender alone
    assert (listener.put(elsewhere) is not None) == addressed
    assert len(listener.taken) == (0 if addressed else 1)


# --- inside of an association


def only_the_true_one_is_taken_and_once(line, context, frame, said_):
    for what, forged in forgeries(context, frame, apdu.encode(said_)):
        line.put(forged)
        assert line.taken == [], what
    assert line.put(frame) is None
    assert isinstance(line.put(frame), CounterReplayed)
    assert line.taken == [said_]


@inside
@kinds
def test_inside_of_an_association_no_forgery_is_taken_and_none_ends_it(context, kind):
    line, said_ = Inside(context), said(1, kind)
    frame = line.pair.server.notification(CLIENT, said_)
    only_the_true_one_is_taken_and_once(line, context, frame, said_)
    assert line.pair.run(line.pair.client.get(ENERGY)) == ENERGY_NOW


@inside
def test_inside_of_an_association_pushes_are_taken_once_in_order_and_beside_answers(context):
    line = Inside(context)
    pair = line.pair
    frames = [pair.server.notification(CLIENT, said(number)) for number in range(3)]
    exchange = pair.client.get(ENERGY)
    request = next(exchange)
    for at in (0, 2, 0, 1, 2):  # 1 was withheld: it comes behind a later one
        assert exchange.send(frames[at]) is None
    with pytest.raises(StopIteration) as stop:
        exchange.send(pair.server.receive(CLIENT, request))
    assert stop.value.value == ENERGY_NOW
    for frame in frames:
        line.put(frame)
    assert line.taken == [said(0), said(2)]
    assert pair.client.refused.counter == 6


@pytest.mark.parametrize("context", GENERAL_CONTEXTS)
def test_inside_of_an_association_less_than_was_agreed_is_no_push(context):
    """Under the one global key it is no matter which tag it has; a key of its own for each frame cannot be left out."""
    _, framing, signed = way(context)
    line = Inside(context)
    for what, forged in lesser(context, apdu.encode(said(1, "event")), 10_000):
        _, other, as_well = way(what.removeprefix("in ")) if what.startswith("in suite ") else (0, KEYED[0], False)
        same = framing not in KEYED and other not in KEYED and signed == as_well
        line.put(forged)
        assert (line.taken == []) != same, what
        if same:
            line = Inside(context)


@pytest.mark.parametrize("context", ["gmac, global key", "suite 1, wrapped, signed", "gmac, suite 1, dedicated key"])
def test_on_a_stream_a_forged_push_ends_the_session_and_is_not_taken(context):
    frame = Pair(context).associated().server.notification(CLIENT, said(1))
    for what, forged in (*flips(frame, 5), *stripped(frame, apdu.encode(said(1)))):
        pair = Pair(context).associated()
        exchange = pair.client.get(ENERGY)
        next(exchange)
        with pytest.raises(DcuError):
            exchange.send(forged)
        assert not pair.client.notifications, what
        with pytest.raises(LinkClosed):
            pair.run(pair.client.get(ENERGY))


@pytest.mark.parametrize("suite", [0, 1, 2])
@pytest.mark.parametrize("framing", [Framing.DEDICATED, Framing.GENERAL_DEDICATED])
def test_a_push_under_the_dedicated_key_is_of_this_association_and_of_no_other(suite, framing):
    context = f"gmac, suite {suite}, dedicated key" if suite else "gmac, dedicated key"
    line, said_ = Inside(context), said(1, "event")
    link = line.pair.server._links[CLIENT].ciphering
    frame = link.seal(apdu.encode(said_), context_of(context)[1].response, framing)
    only_the_true_one_is_taken_and_once(line, context, frame, said_)
    for other in (Inside(context), Inside(context.replace("dedicated", "global"))):
        assert other.put(frame) is not None
        assert other.taken == []
    if framing is Framing.GENERAL_DEDICATED:
        assert Listener(f"suite {suite}, general_global").put(frame) is not None


@pytest.mark.parametrize("context", ["md5, global key", "gmac, dedicated key", "ecdsa, suite 1, global key"])
def test_by_short_names_a_forged_report_ends_the_session_and_is_not_taken(context):
    """An information-report has a tag of its own for ciphering; short names go over streams only."""
    report = short.InformationReport(b"", (short.Name(0x0108),), (ENERGY_NOW,))
    plain = short.encode(report)

    def met():
        pair = ShortPair(context, names=NAMES).associated()
        link = pair.server._links[CLIENT].ciphering
        return pair.client, link.seal_service(plain, context_of(context)[1].response, link.framing)

    client, frame = met()
    client.receive(frame)
    assert [told.notification for told in client.notifications] == [report]
    with pytest.raises(CounterReplayed):
        client.receive(frame)

    def made(frame):
        return [*flips(frame, max(step(context), 2)), *resized(frame, 5), *list(stripped(frame, plain))[::5]]

    for number in range(len(made(frame))):
        client, frame = met()  # of this session: another one has another dedicated key
        what, forged = made(frame)[number]
        with pytest.raises(DcuError):
            client.receive(forged)
        assert not client.notifications, what
        assert not client.associated


def test_every_way_to_protect_is_attacked():
    """A framing, a suite or a signature that nobody attacks is found out here."""
    ways = {way(mode) for mode in LISTENED}
    assert {framing for _, framing, _ in ways} == {Framing.GENERAL_GLOBAL, *KEYED}
    assert {(suite, framing) for suite, framing, _ in ways} >= {
        (suite, framing)
        for suite in (0, 1, 2)
        for framing in (Framing.GENERAL_GLOBAL, Framing.IDENTIFIED, Framing.WRAPPED)
    }
    assert {(suite, framing) for suite, framing, signed in ways if signed} == {
        (suite, framing) for suite in (1, 2) for framing in (Framing.GENERAL_GLOBAL, *KEYED)
    }
    assert {protection_of(mode)["framing"] for mode in INSIDE} == {Framing.GLOBAL, Framing.GENERAL_GLOBAL, *KEYED}


# --- canaries


def got_through(mode, made):
    listener = Listener(mode)
    return [what for what, forged in made if listener.put(forged) is None]


@pytest.mark.parametrize("mode", ["suite 0, general_global", "suite 0, identified", "suite 1, static"])
def test_canary_without_the_tag_check_flipped_bits_get_through(monkeypatch, mode):
    frame = sender(mode).seal(apdu.encode(said(1)), FIRST)
    assert not got_through(mode, flips(frame, 1))
    monkeypatch.setattr(Cipher, "open", without_tags)
    assert got_through(mode, flips(frame, 1))
    line = Inside(mode)
    frame = line.pair.server.notification(CLIENT, said(1))
    assert line.put(frame[:-1] + bytes((frame[-1] ^ 1,))) is None
    assert line.taken == [said(1)]


@pytest.mark.parametrize("mode", ["suite 0, general_global", "suite 2, wrapped, signed"])
def test_canary_without_the_counter_check_a_push_is_taken_twice(monkeypatch, mode):
    monkeypatch.setattr(Ciphering, "require_above", staticmethod(lambda floor, counter: None))
    listener, frame = Listener(mode), sender(mode).seal(apdu.encode(said(1)), FIRST)
    assert (listener.put(frame), listener.put(frame)) == (None, None)
    assert len(listener.taken) == 2
    line = Inside(mode)
    frame = line.pair.server.notification(CLIENT, said(1))
    assert (line.put(frame), line.put(frame)) == (None, None)
    assert len(line.taken) == 2


@pytest.mark.parametrize("mode", ["suite 0, general_global", "suite 1, one_pass"])
def test_canary_without_the_policy_check_less_protection_gets_through(monkeypatch, mode):
    plain = apdu.encode(said(1))
    frame = sender(mode).seal(plain, FIRST)
    assert not got_through(mode, stripped(frame, plain))
    for module, name in ((ciphering, "unprotect"), (general, "unprotect")):
        checked = getattr(module, name)

        def lax(*given, required, _checked=checked, **more):
            return _checked(*given, required=security.Protection.NONE, **more)

        monkeypatch.setattr(module, name, lax)
    listener = Listener(mode)
    listener.floors = dict.fromkeys(listener.floors, -1)
    sealed = sender(mode).seal(plain, FIRST, security.Protection.AUTHENTICATED)
    assert listener.put(sealed) is None


def test_canary_without_the_signature_check_one_that_was_changed_is_taken(monkeypatch):
    mode = "suite 1, general_global, signed"
    frame = sender(mode).seal(apdu.encode(said(1)), FIRST)
    forged = [("signature", frame[:-1] + bytes((frame[-1] ^ 1,)))]
    assert not got_through(mode, forged)
    monkeypatch.setattr(Suite, "verify", lambda *given: None)
    assert got_through(mode, forged) == ["signature"]
    line = Inside(mode)
    frame = line.pair.server.notification(CLIENT, said(1))
    assert line.put(frame[:-1] + bytes((frame[-1] ^ 1,))) is None


def test_canary_without_the_check_of_the_framing_a_lesser_key_is_taken(monkeypatch):
    mode = "suite 1, one_pass"
    made = list(lesser(mode, apdu.encode(said(1)), FIRST))
    assert not got_through(mode, made)
    monkeypatch.setattr(Ciphering, "require_framing", lambda self, framing, proof=False: None)
    assert got_through(mode, made) == ["in suite 1, general_global"]
    monkeypatch.setattr(conversation.Conversation, "_require_keyed", lambda self, framing: None)
    line = Inside(mode)
    for _, forged in lesser(mode, apdu.encode(said(1)), 10_000):
        line.put(forged)
    assert line.taken == [said(1)]


def test_canary_where_the_title_is_not_in_the_nonce_shared_keys_make_one_meter_another(monkeypatch):
    mode = "suite 0, general_global"
    shared = replace(keys(0)[0], system_title=OTHER_TITLE)
    honest = security.nonce
    monkeypatch.setattr(security, "nonce", lambda title, counter: honest(bytes(8), counter))
    listener = Listener(mode, other=shared)
    frame = sender(mode).seal(apdu.encode(said(1)), FIRST)
    assert listener.put(frame.replace(METER_TITLE, OTHER_TITLE)) is None
    assert listener.taken == [(OTHER_TITLE, said(1))]
