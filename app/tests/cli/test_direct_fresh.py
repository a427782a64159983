"""Old answers and new ones, where no handshake proves the meter fresh; requests without handshake, or without answer.

A meter whose counter is set back stands for whoever plays a recorded session back: his frames are authentic, and old.
"""

import pytest

from dcu.collect import associations
from dcu.cosem.association import Authentication
from dcu.cosem.security import Framing
from neighbourhood.meter import BROADCASTING, ESTABLISHED
from neighbourhood.running import CLIENT_TITLE
from tests.cli.house import ONE
from tests.cli.street import ENERGY, NAME
from tests.cosem.small_meter import FRAMED

LIMIT = "1,0-0:94.91.0*255,2"
IMAGES = "18,0-0:44.0.0*255,5"  # whether images are taken


def floors(tmp_path):
    """What the user of the tests remembers of each key."""
    return [int(path.read_text()) for path in sorted((tmp_path / "state" / "dcu" / "floors").iterdir())]


def ciphered(here, auth="low"):
    return (*here.options(auth=auth), "--ciphered")


@pytest.mark.parametrize("auth", ["low", "gmac"])
@pytest.mark.parametrize("short", [False, True], ids=["ln", "sn"])
def test_the_meters_counter_is_remembered_with_what_it_proved(dcu, street, tmp_path, auth, short):
    here = street(authentication=Authentication[auth.upper()], ciphered=True, short=short)
    assert dcu("read", *ciphered(here, auth), *(["--sn"] if short else []), NAME).code == 0
    assert floors(tmp_path) == [here.meter.counter - 1]  # its last frame was the answer to the release


def test_an_old_answer_without_hls_is_refused(dcu, street):
    here = street(authentication=Authentication.LOW, ciphered=True)
    before = here.meter.counter
    assert dcu("read", *ciphered(here), NAME).code == 0
    assert dcu("read", *ciphered(here), NAME).code == 0
    here.meter.counter = before
    done = dcu("read", *ciphered(here), NAME)
    assert (done.code, done.out) == (7, "")
    assert "a frame was replayed, or the counter was set back" in done.err


def test_canary_without_the_floor_an_old_answer_without_hls_is_taken(dcu, street, monkeypatch):
    monkeypatch.setattr(associations, "fresh_by_floor", lambda settings: False)
    here = street(authentication=Authentication.LOW, ciphered=True)
    before = here.meter.counter
    assert dcu("read", *ciphered(here), NAME).code == 0
    here.meter.counter = before
    assert dcu("read", *ciphered(here), NAME).code == 0


def test_a_meter_that_proves_itself_may_have_been_set_back(dcu, street, tmp_path):
    here = street()
    before = here.meter.counter
    assert dcu("read", *here.options(), NAME).code == 0
    here.meter.counter = before - 100
    assert dcu("read", *here.options(), NAME).code == 0
    assert floors(tmp_path)[0] < before


def test_a_damaged_memory_of_the_counter_says_what_to_do(dcu, street, tmp_path):
    here = street(authentication=Authentication.LOW, ciphered=True)
    assert dcu("read", *ciphered(here), NAME).code == 0
    (path,) = (tmp_path / "state" / "dcu" / "floors").iterdir()
    path.write_text("many\n")
    done = dcu("read", *ciphered(here), NAME)
    assert (done.code, done.out) == (10, "")
    assert "is damaged: delete it, and associate with HLS once" in done.err


# --- without a handshake


def established(here, carrier="tcp"):
    keys = ["--ciphered", "--keys", here.keys]
    return [f"--{carrier}", here.at(carrier), "--client", ESTABLISHED, "--pre-established", *keys]


@pytest.mark.conforms(
    "Association", "pre-established, ciphered", peer="ours", link=lambda carrier: f"wrapper over {carrier.upper()}"
)
@pytest.mark.parametrize("carrier", ["tcp", "udp"])
def test_a_pre_established_association_is_used_once_the_meters_counter_is_known(dcu, street, carrier):
    here = street(pre_established=CLIENT_TITLE)
    unknown = dcu("read", *established(here, carrier), NAME)
    assert (unknown.code, unknown.out) == (3, "")
    assert "associate once with these keys and HLS (--auth gmac)" in unknown.err
    assert dcu("read", *here.options(carrier), NAME).code == 0
    frames = here.fleet.counts.frames
    done = dcu("read", *established(here, carrier), f"3,{ENERGY},2", "--json")
    assert (done.code, done.json[0]["unit"]) == (0, "Wh")
    assert here.fleet.counts.frames - frames == 2  # the value and its unit: nothing to open, nothing to release
    assert here.fleet.status()["refused"] == {}


def test_what_was_recorded_of_a_pre_established_association_is_refused(dcu, street):
    here = street(pre_established=CLIENT_TITLE)
    before = here.meter.counter
    assert dcu("read", *here.options(), NAME).code == 0
    here.meter.counter = before
    done = dcu("read", *established(here), NAME)
    assert (done.code, done.out) == (7, "")


@pytest.mark.conforms("Association", "pre-established, plain", peer="ours", link="wrapper over TCP")
def test_a_plain_pre_established_association_needs_nothing(dcu, street):
    here = street(authentication=Authentication.NONE, pre_established=CLIENT_TITLE)
    done = dcu("read", "--tcp", here.at(), "--client", ESTABLISHED, "--pre-established", NAME)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("option", [("--auth", "gmac"), ("--auth", "low")])
def test_what_proves_itself_has_a_handshake(dcu, street, option):
    here = street(pre_established=CLIENT_TITLE)
    done = dcu("read", *established(here), *option, NAME)
    assert done.code == 3
    assert "--pre-established: there is no handshake" in done.err


# --- without an answer


@pytest.mark.parametrize("short", [False, True], ids=["ln", "sn"])
@pytest.mark.parametrize("value", ["true", "false"])
def test_an_unconfirmed_write_is_read_back(dcu, street, short, value):
    here = street(short=short)
    options = [*here.options(), "--unconfirmed", *(["--sn"] if short else [])]
    done = dcu("write", *options, IMAGES, value, "--json")
    assert (done.code, done.json["confirmed"], done.json["after"]) == (0, True, value == "true")


@pytest.mark.parametrize("short", [False, True], ids=["ln", "sn"])
def test_an_unconfirmed_action_is_carried_out_and_nothing_is_waited_for(dcu, street, short):
    here = street(short=short)
    options = [*here.options(), *(["--sn"] if short else [])]
    done = dcu("action", *options, "--unconfirmed", "70,0-0:96.3.10*255,1", "i8:0")
    assert (done.code, done.out) == (0, "sent; nobody answers\n")
    shown = dcu("read", *options, "70,0-0:96.3.10*255,2", "--json")
    assert shown.json[0]["value"] is False


# --- broadcast


def broadcasting(here, carrier="tcp"):
    return [f"--{carrier}", here.at(carrier), "--client", BROADCASTING, "--broadcast", "--keys", here.keys]


@pytest.mark.conforms(
    "Association",
    "pre-established, broadcast",
    peer="ours",
    link=lambda carrier: f"wrapper over {carrier.upper()}",
)
@pytest.mark.parametrize("carrier", ["tcp", "udp"])
def test_a_broadcast_is_carried_out_and_waited_for_by_nobody(dcu, street, carrier):
    here = street(pre_established=CLIENT_TITLE)
    for value in ("false", "true", "false"):
        done = dcu("write", *broadcasting(here, carrier), IMAGES, f"bool:{value}")
        assert (done.code, done.err) == (0, "sent to all; nobody answers\n")
        shown = dcu("read", *here.options(carrier), IMAGES, "--json")
        assert shown.json[0]["value"] is (value == "true")
    done = dcu("action", *broadcasting(here, carrier), "70,0-0:96.3.10*255,1", "i8:0")
    assert (done.code, done.out) == (0, "sent; nobody answers\n")
    assert dcu("read", *here.options(carrier), "70,0-0:96.3.10*255,2", "--json").json[0]["value"] is False
    assert here.fleet.status()["refused"] == {}
    assert here.fleet.status()["counter_reuse"] == 0


def test_what_a_broadcast_cannot_do_is_said(dcu, street):
    here = street(pre_established=CLIENT_TITLE)
    untyped = dcu("write", *broadcasting(here), IMAGES, "false")
    assert (untyped.code, "say the type, as in u32:1000" in untyped.err) == (3, True)
    asked = dcu("read", *broadcasting(here), IMAGES)
    assert asked.code != 0
    assert asked.code == 2
    assert "--broadcast is for `dcu write` and `dcu action`" in asked.err
    short = dcu("write", *broadcasting(here), IMAGES, "bool:false", "--sn")
    assert short.code == 3
    assert "short names are the meter's own" in short.err
    hdlc = (*broadcasting(here), "--framing", "hdlc")
    one = dcu("write", *hdlc, "--physical", 17, IMAGES, "bool:true")
    assert (one.code, "is for all meters of the line" in one.err) == (3, True)
    short = dcu("write", *hdlc, "--address-size", 1, IMAGES, "bool:true")
    assert (short.code, "hdlc.address_size is 2 or 4" in short.err) == (3, True)
    keyless = here.keys.with_name("keyless.toml")
    keyless.write_text(
        "\n".join(each for each in here.keys.read_text().splitlines() if not each.startswith("broadcast_key"))
    )
    keyless.chmod(0o600)
    done = dcu("write", *broadcasting(here)[:-1], keyless, IMAGES, "bool:true")
    assert (done.code, "needs the broadcast key" in done.err) == (3, True)


def test_the_collector_asks_for_answers(run, house):
    done = run("write", "--meter", ONE, "--unconfirmed", LIMIT, "u32:1")
    assert done.code == 3
    assert "--unconfirmed: the collector asks for an answer" in done.err


# --- protection that a family asks for


@pytest.mark.conforms("Association", "HLS 7 ECDSA, suite 1", peer="ours", link="wrapper over TCP")
@pytest.mark.conforms(
    "Protection",
    lambda framing, signed: f"{FRAMED[associations.FRAMINGS[framing]]}{', general-signing' * signed}, suite 1",
    peer="ours",
    link="wrapper over TCP",
)
@pytest.mark.parametrize("signed", [False, True], ids=["", "signed"])
@pytest.mark.parametrize("framing", ["service", "general", "identified", "wrapped", "one-pass", "static"])
def test_a_meter_is_read_with_every_protection_of_a_family(dcu, street, tmp_path, framing, signed):
    how = associations.FRAMINGS[framing]
    here = street(authentication=Authentication.ECDSA, suite=1, framing=how, signed=signed)
    family = tmp_path / "protected.toml"
    said = f'authentication = "ecdsa"\nframing = "{framing}"\nsigned = {str(signed).lower()}\n'
    family.write_text(f'name = "protected"\n[security]\n{said}')
    done = dcu("read", "--tcp", here.at(), "--family", family, "--keys", here.keys, ENERGY, "--json")
    assert (done.code, done.json[0]["unit"]) == (0, "Wh")
    assert here.fleet.status()["refused"] == {}
    if how is not Framing.GLOBAL or signed:  # and less is refused
        less = dcu("read", *here.options(auth="ecdsa"), ENERGY)
        assert less.code != 0
