"""The command over HDLC: a serial line (a pseudo-terminal), TCP and UDP."""

import time

import pytest

from dcu.link import sign_on
from neighbourhood.fleet import Addressing
from neighbourhood.meter import BROADCASTING
from neighbourhood.optical import State
from neighbourhood.running import CLIENT_TITLE
from neighbourhood.wires import Wiring
from tests.cli.street import ENERGY, LOAD, NAME

IMAGES = "18,0-0:44.0.0*255,5"  # whether images are taken
ACTION = 0xCB  # glo-action-request
PROOF = 1  # the first ACTION of an association is the HLS one


@pytest.fixture
def wired(street, tmp_path):
    """A street whose meters share one line; yields the line's name."""

    def make(**options):
        wiring = Wiring(tmp_path / "bus", **options)
        made = street(place=Addressing(wiring=wiring), count=3)
        return made, tmp_path / "bus"

    return make


def imported(made):
    """Wh that the first meter has counted by now: more before long."""
    return made.meter.registers(made.meter.now()).active_import


def options(made, line, number=1):
    return ["--serial", line, "--physical", 16 + number, "--client", 1, "--auth", "gmac", "--keys", made.keys]


def test_a_register_is_read_over_a_serial_line(dcu, wired):
    made, line = wired()
    before = imported(made)
    done = dcu("read", *options(made, line), ENERGY, "--json")
    assert done.code == 0, done.err
    assert before <= done.json[0]["value"] <= imported(made)


@pytest.mark.conforms("Link", "HDLC, several meters on one line", peer="ours", link="serial")
def test_the_public_client_reads_each_meter_of_the_line(dcu, wired):
    made, line = wired()
    for number, meter in enumerate(made.fleet.meters, 1):
        done = dcu("read", "--serial", f"{line}:19200", "--physical", 16 + number, NAME, "--json")
        assert done.json[0]["value"] == meter.device_name


@pytest.mark.parametrize("size", [2, 4])
def test_addresses_of_two_and_four_bytes(dcu, wired, size):
    _, line = wired()
    done = dcu("read", "--serial", line, "--physical", 17, "--address-size", size, NAME)
    assert done.code == 0, done.err


def test_a_noisy_line_with_an_echo_and_a_slow_meter_gives_the_truth(dcu, wired):
    made, line = wired(noise=0.0005, turnaround=0.05, echo=True)
    done = dcu("read", *options(made, line), LOAD, "--last", 100, "--json")
    assert done.code == 0, done.err
    assert len(done.json[0]["rows"]) == 100


def test_a_profile_at_the_pace_of_the_line(dcu, wired):
    made, line = wired(pace=10 / 57600)
    done = dcu("read", *options(made, line), LOAD, "--last", 24, "--json")
    assert done.code == 0, done.err
    assert len(done.json[0]["rows"]) == 24


def test_a_long_answer_is_not_given_up_while_it_comes_in_on_a_slow_line(dcu, wired):
    made, line = wired(pace=10 / 19200)
    done = dcu("objects", *[f"{line}:19200" if each == line else each for each in options(made, line)], "--timeout", 1)
    assert done.code == 0, done.err
    assert ENERGY in done.out


def test_nobody_at_that_address_is_a_link_error(dcu, wired):
    _, line = wired()
    done = dcu("read", "--serial", line, "--physical", 99, NAME)
    assert done.code == 5
    assert "no answer from the meter over HDLC (connecting, 3 times asked)" in done.err


@pytest.mark.conforms("Link", "HDLC", peer="ours", link="TCP, UDP")
@pytest.mark.parametrize("carrier", ["tcp", "udp"])
def test_hdlc_over_tcp_and_udp(dcu, street, carrier):
    made = street(place=Addressing("127.0.0.1", 0, 0, hdlc=True))
    before = imported(made)
    done = dcu("read", *made.options(carrier), "--framing", "hdlc", ENERGY, "--json")
    assert done.code == 0, done.err
    assert before <= done.json[0]["value"] <= imported(made)


def test_the_wrapper_where_hdlc_is_spoken_is_a_link_error(dcu, street):
    made = street(place=Addressing("127.0.0.1", 0, 0, hdlc=True))
    assert dcu("read", "--tcp", made.at(), NAME, "--timeout", 1).code == 5


def test_hdlc_where_the_wrapper_is_spoken_is_asked_about(dcu, street):
    done = dcu("read", "--tcp", street().at(), "--framing", "hdlc", NAME)
    assert (done.code, "does the meter speak HDLC there?" in done.err) == (5, True), done


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--serial", "/dev/ttyDCU-none"], "there is no such device"),
        (["--serial", "x:1234"], "1234 baud: one of 300,"),
        (["--serial", "x", "--framing", "wrapper"], "on a serial line meters speak HDLC"),
        (["--tcp", "127.0.0.1:1", "--rs485", "rts"], "--rs485 is for --serial"),
        (["--serial", "x", "--sign-on", "17"], "--sign-on is for --mode-e"),
        (["--serial", "x", "--mode-e", "--sign-on", "1-2"], "1 to 32 letters and digits"),
        (["--tcp", "127.0.0.1:1", "--physical", "17"], "say --framing hdlc"),
        (["--serial", "x", "--physical", "300", "--address-size", "2"], "does not fit 2 bytes"),
        (["--serial", "x", "--tcp", "127.0.0.1:1"], "say which meter: one of"),
        (["--meter", "x", "--physical", "17"], "--physical: a meter of the collector"),
    ],
)
def test_what_does_not_fit_together_is_told(dcu, arguments, told):
    done = dcu("read", *arguments, NAME)
    assert done.code in (2, 3, 5)
    assert told in done.err


def test_a_port_that_another_has_is_told(dcu, wired):
    import fcntl
    import os

    _, line = wired()
    descriptor = os.open(line, os.O_RDWR | os.O_NOCTTY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        done = dcu("read", "--serial", line, NAME)
    finally:
        os.close(descriptor)
    assert done.code == 5
    assert "another program has locked it, the collector perhaps" in done.err


@pytest.mark.parametrize("done", [True, False], ids=["the answer is lost", "the command is lost"])
@pytest.mark.parametrize("head", [False, True], ids=["on a bus", "behind a head"])
def test_a_command_on_which_the_link_broke_down_is_read_back_over_a_new_one(
    dcu, wired, street, monkeypatch, tmp_path, done, head
):
    """The meter falls silent on the command, until the link was given up; then it is there again.

    Behind a head it is still in the HDLC of before, at the speed that was agreed then, and is looked for there first.
    """
    family = tmp_path / "quick.toml"
    family.write_text('name = "quick"\n[hdlc]\ntimeout = 0.3\nretries = 1\ninformation = 128\n')
    if head:
        made, line = street(place=Addressing(wiring=Wiring(tmp_path / "bus", head="E"))), tmp_path / "bus"
        monkeypatch.setattr(sign_on, "REACTION", 0.3)
        monkeypatch.setattr(made.fleet.wires.head, "_baud", 4800)
    else:
        made, line = wired()
    wires, talk, silent = made.fleet.wires, made.fleet.talk, 1.8 if head else 0.8
    heard, muted, speeds = [], [], []

    def muting(meter, peer, *, lossy=False):
        handler = talk(meter, peer, lossy=lossy)

        def handle(client, server, apdu):
            heard.append(apdu[0])
            if heard.count(ACTION) == PROOF + 1 and not muted:
                muted.append(time.monotonic())
                if not done:
                    return None
            return handler(client, server, apdu)

        return handle

    say, feed = wires.say, wires.bus.feed
    deaf = lambda: bool(muted) and time.monotonic() < muted[0] + silent  # noqa: E731 - it is asked twice
    monkeypatch.setattr(made.fleet, "talk", muting)
    monkeypatch.setattr(wires, "say", lambda wire, speed=0: None if deaf() else say(wire, speed))
    monkeypatch.setattr(wires.bus, "feed", lambda data, now: b"" if deaf() else feed(data, now))
    if head:
        listen = wires.head.feed
        monkeypatch.setattr(wires.head, "feed", lambda data, at, now: (speeds.append(at), listen(data, at, now))[1])
    ended = dcu("disconnect", *options(made, f"{line}:115200"), "--family", family, *(["--mode-e"] if head else []))
    assert [at for at, before in zip(speeds, [0, *speeds], strict=False) if at != before] == [300, 4800] * 3 * head
    assert heard.count(ACTION) == 2 * PROOF + 1  # the second association's proof, and no second command
    if done:
        assert (ended.code, ended.out) == (0, "supply disconnected, relay disconnected\n")
    else:
        assert ended.code == 9
        assert "the relay was read back, and did not move" in ended.err


# --- through an optical head


@pytest.mark.conforms("Link", "HDLC after a sign-on in mode E", peer="ours", link="serial")
def test_mode_e_goes_on_in_hdlc(dcu, street, tmp_path):
    made = street(place=Addressing(wiring=Wiring(tmp_path / "head", head="E")))
    for _ in range(2):  # it signs off and on again
        before = imported(made)
        done = dcu("read", *options(made, tmp_path / "head"), "--mode-e", ENERGY, "--json")
        assert done.code == 0, done.err
        assert before <= done.json[0]["value"] <= imported(made)
    assert made.fleet.wires.head.garbled == 0


@pytest.mark.parametrize("baud", [9600, 1200])
def test_a_meter_that_was_left_in_hdlc_is_found_there(dcu, street, tmp_path, monkeypatch, baud):
    """A command that was killed leaves the meter waiting in HDLC for two minutes: it hears no sign-on there."""
    monkeypatch.setattr(sign_on, "REACTION", 0.3)
    monkeypatch.setattr(sign_on, "TRIAL", 0.3)
    made = street(place=Addressing(wiring=Wiring(tmp_path / "head", head="E")))
    head = made.fleet.wires.head
    head.state, head.speed, head._heard_at = State.HDLC, baud, time.monotonic()
    done = dcu("read", *options(made, tmp_path / "head"), "--mode-e", ENERGY, "--json")
    assert done.code == 0, done.err
    assert head.garbled > 0  # the sign-on
    assert head.speed in (baud, 300)  # it was spoken with at that speed, and has signed off since


def test_a_sign_on_names_the_meter_where_several_hear_it(dcu, street, tmp_path, monkeypatch):
    monkeypatch.setattr(sign_on, "REACTION", 0.3)
    made = street(place=Addressing(wiring=Wiring(tmp_path / "head", head="E")))
    here = (*options(made, tmp_path / "head"), "--mode-e", ENERGY, "--json", "--sign-on")
    done = dcu("read", *here, made.meter.serial.removeprefix("GDM"))
    assert done.code == 0, done.err
    monkeypatch.setattr(made.fleet.wires.head, "_address", "4711")  # it is another's number now
    monkeypatch.setattr(sign_on, "TRIAL", 0.1)
    done = dcu("read", *here, made.meter.serial.removeprefix("GDM"))
    assert done.code == 5
    assert "no meter identifies itself" in done.err
    assert "9600, 4800, 2400, 1200, 600, 300 baud" in done.err  # where it may have been left


def test_without_the_sign_on_the_head_hears_nothing(dcu, street, tmp_path):
    made = street(place=Addressing(wiring=Wiring(tmp_path / "head", head="E")))
    assert dcu("read", *options(made, tmp_path / "head"), NAME, "--json").code == 5
    assert made.fleet.wires.head.garbled > 0


@pytest.mark.conforms("Link", "read-out in mode C", peer="ours", link="serial")
def test_a_meter_that_refuses_mode_e_is_read_out(dcu, street, tmp_path):
    made = street(place=Addressing(wiring=Wiring(tmp_path / "head", head="C")))
    done = dcu("read", *options(made, tmp_path / "head"), "--mode-e", NAME)
    assert done.code == 5
    assert "refuses mode E and reads out: `dcu readout` reads what it shows" in done.err
    before = imported(made)
    done = dcu("readout", "--serial", f"{tmp_path / 'head'}:1200", "--json")
    assert done.code == 0, done.err
    assert done.json["meter"] == {"maker": "GDM", "identification": "SIM000700001", "mode": "C", "baud": 9600}
    shown = {row["object"]: (row["name"], row["value"], row["unit"]) for row in done.json["values"]}
    name, value, unit = shown["1.8.0"]
    assert (name, unit, len(value)) == ("Active energy import (+A)", "kWh", 10)
    assert before <= round(float(value) * 1000) <= imported(made)
    assert made.fleet.wires.head.speed == 1200
    done = dcu("readout", "--serial", tmp_path / "head")
    assert "1.8.0" in done.out
    assert "mode C, up to 9600 baud" in done.err


def test_a_read_out_of_nobody_is_a_link_error(dcu, wired):
    _, line = wired()
    done = dcu("readout", "--serial", line)
    assert done.code == 5
    assert "no meter identifies itself" in done.err


# --- broadcast


@pytest.mark.conforms("Association", "pre-established, broadcast", peer="ours", link="HDLC")
@pytest.mark.parametrize("size", [(), ("--address-size", 4)], ids=["2 bytes", "4 bytes"])
def test_a_broadcast_reaches_every_meter_of_the_line(dcu, street, tmp_path, size):
    line = tmp_path / "bus"
    made = street(place=Addressing(wiring=Wiring(line, pace=10 / 9600)), count=3, pre_established=CLIENT_TITLE)
    for meter in made.fleet.meters:
        meter.given = made.meter.given  # a broadcast key is one for all
    to_all = ["--serial", line, "--client", BROADCASTING, "--broadcast", "--keys", made.keys, *size]
    for value in (False, True, False):
        done = dcu("write", *to_all, IMAGES, f"bool:{str(value).lower()}")
        assert (done.code, done.err) == (0, "sent to all; nobody answers\n")
        shown = dcu("read", *options(made, line), IMAGES, "--json")  # behind it on the same line
        assert shown.json[0]["value"] is value
        assert {meter.works.image.enabled for meter in made.fleet.meters} == {value}
    assert made.fleet.status()["refused"] == {}
