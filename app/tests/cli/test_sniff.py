"""`dcu sniff`: what passes on a line, live."""

import json
import threading

import pytest

from dcu.cli import sniff
from dcu.cli.decoding import Decoder
from dcu.cli.sniff import Tap, _line
from dcu.link.hdlc import Address, Control, Frame, Kind, encode
from dcu.link.hdlc_parameters import Parameters, Reason, Rejection, encode_parameters
from neighbourhood.fleet import Addressing
from neighbourhood.wires import Wiring
from tests.cli.street import ENERGY
from tests.fuzz import seeds
from tests.link.pty import Pty

UP, DOWN = (Address(1, 17, 2), Address(16)), (Address(16), Address(1, 17, 2))


def frame(ends, kind, information=b"", *, final=True, **numbers):
    return encode(Frame(*ends, Control(kind, final, **numbers), information))


def records(wire, keys=None):
    tap = Tap(Decoder(keys))
    return [*tap.feed(wire), *tap.silence()]


def test_frames_are_named_with_what_they_say():
    terms = encode_parameters(Parameters(128, 256, 1, 7))
    rejected = Rejection(0x19, 1, 2, Reason.CONTROL).encode()
    wire = frame(UP, Kind.SNRM, terms) + frame(DOWN, Kind.FRMR, rejected) + frame(UP, Kind.RR, receive=3)
    found = records(wire)
    assert [(item["frame"], item["from"], item["to"]) for item in found] == [
        ("SNRM", "16", "1/17"), ("FRMR", "1/17", "16"), ("RR", "16", "1/17")
    ]  # fmt: skip
    assert found[0]["detail"] == "P/F, 22 B, information 128/256, window 1/7"
    assert found[1]["detail"] == "P/F, 3 B, rejects control 19: control"
    assert found[2]["detail"] == "P/F, N(R) 3"
    (other,) = records(frame(UP, Kind.OTHER, send=0xAF))
    assert (other["frame"], other["detail"]) == ("OTHER", "control BF, P/F")


def test_segments_are_put_together():
    found = records(b"".join(seeds.SEGMENTS) if isinstance(seeds.SEGMENTS, tuple) else seeds.SEGMENTS)
    assert "apdu" in found[-1]
    assert all("apdu" not in item for item in found[:-1])


def test_damage_is_named_and_what_follows_is_read():
    good = frame(UP, Kind.RR)
    bad = bytearray(good)
    bad[-2] ^= 1
    found = records(b"\x00\x01noise" + bytes(bad) + good)
    assert any("damage" in item for item in found)
    assert found[-1] == {"frame": "RR", "from": "16", "to": "1/17", "detail": "P/F, N(R) 0"}


def test_a_frame_cut_by_silence_is_given_up():
    tap = Tap(Decoder())
    assert list(tap.feed(frame(UP, Kind.RR)[:6])) == []
    assert list(tap.silence()) == [{"damage": "bytes that are no frame"}]
    assert [item["frame"] for item in tap.feed(frame(UP, Kind.RR))] == ["RR"]


def test_what_cannot_be_deciphered_is_shown_as_it_is():
    wire = frame(UP, Kind.I, b"\xe6\xe6\x00" + bytes.fromhex("c8193000000001") + bytes(20))
    (item,) = records(wire)
    assert item["apdu"]["raw"].startswith("c819")
    assert "give the keys with --keys" in item["note"]


@pytest.mark.parametrize("as_json", [True, False])
def test_a_reading_is_seen_on_the_line_as_it_passes(dcu, street, tmp_path, monkeypatch, as_json):
    """The sniffer has a port of its own; a third line carries what passes between the command and the meter. It listens
    before anything passes, and is ended by Ctrl-C when the line has fallen silent after the reading."""
    made = street(place=Addressing(wiring=Wiring(tmp_path / "bus")))
    tap = Pty()
    wires = made.fleet.wires
    heard, said = wires._answer, wires.say
    wires._answer = lambda data, now: (tap.write(data), heard(data, now))
    wires.say = lambda data, speed=0: (tap.write(data), said(data, speed))
    wires.bus.tick = lambda now: b""

    listening, read_all = threading.Event(), threading.Event()
    opened, silence = sniff.open_serial, sniff.Tap.silence

    async def told(port):
        stream = await opened(port)
        listening.set()
        return stream

    def ended(self):
        if read_all.is_set():
            raise KeyboardInterrupt
        return silence(self)

    monkeypatch.setattr(sniff, "open_serial", told)
    monkeypatch.setattr(sniff.Tap, "silence", ended)

    def read():
        listening.wait(60)
        from dcu.cli import main

        main.run(["read", "--serial", str(tmp_path / "bus"), "--physical", "17", "--client", "1", "--auth", "gmac",
                  "--keys", str(made.keys), ENERGY, "--json"])  # fmt: skip
        read_all.set()

    reading = threading.Thread(target=read)
    reading.start()
    more = ["--json"] if as_json else []
    done = dcu("sniff", "--serial", tap.path, "--keys", made.keys, *more)
    reading.join()
    tap.unplug()
    assert done.code == 130, done.err
    lines = [line for line in done.out.splitlines() if not line.startswith("[{")]
    if as_json:
        found = [json.loads(line) for line in lines]
        assert [item["frame"] for item in found[:2]] == ["SNRM", "UA"]
        services = [item["apdu"]["service"] for item in found if "apdu" in item]
        assert {"aarq", "aare", "get-request-normal", "get-response-normal", "rlrq", "rlre"} <= set(services)
        asked = [item["apdu"]["attribute"]["reference"] for item in found if "attribute" in item.get("apdu", {})]
        assert "3,1-0:1.8.0*255,2" in asked
        assert any(item.get("security", {}).get("protection") == "authenticated and encrypted" for item in found)
    else:
        assert "1 > 1/17  SNRM P/F" in done.out
        assert "get-request-normal invoke=" in done.out
        assert "3,1-0:1.8.0*255,2 (Active energy import (+A))" in done.out


def test_a_long_apdu_is_cut_for_people():
    from datetime import UTC, datetime

    item = {"frame": "I", "from": "1", "to": "2", "detail": "", "apdu": {"service": "x", "value": "y" * 5000}}
    assert len(_line(datetime.now(UTC), item)) < 800


def test_a_keys_file_that_is_none_is_told_before_the_line_is_opened(dcu, tmp_path):
    done = dcu("sniff", "--serial", "/dev/ttyDCU-none", "--keys", tmp_path / "none.toml")
    assert done.code == 3
    assert "none.toml" in done.err
