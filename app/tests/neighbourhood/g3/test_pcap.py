"""What tshark makes of a capture of the line: no malformed frame, and what G3 adds by our dissector."""

import io
import json
import shutil
import subprocess
from collections import Counter

import pytest

from neighbourhood.g3 import adp, frames, pcap, show
from neighbourhood.g3.frames import Frame, Kind, Segment
from neighbourhood.g3.line import PAN
from neighbourhood.g3.street import Scene

from .host import GMK, Street, datagram

pytestmark = pytest.mark.timeout(400)  # a foreign program, on a host that may be loaded
tshark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed (make test-deps)")
LOGICAL_NAME = bytes((1, 0, 1, 8, 0, 255))
GET = bytes.fromhex("00010010000100") + b"\x0d" + bytes.fromhex("c001c10003") + LOGICAL_NAME + b"\x02\x00"
RESPONSE = bytes.fromhex("00010001001000") + b"\x09" + bytes.fromhex("c401c100") + b"\x06" + bytes(4)
ERROR = "8388608"  # the severity, as tshark numbers it
CIPHERED = (
    bytes.fromhex("0001001000010019") + b"\xdb\x08" + b"DCU00001" + b"\x0e\x30" + (77).to_bytes(4, "big") + bytes(9)
)


def recorded(path, *, homes=24):
    """A street that joins; then a question and a long answer, a ciphered APDU, a path discovery, a route error."""
    street = Street(homes)
    street.line.start = 1_700_000_000
    with pcap.recording(path, street.line) as capture:
        street.join(1200)
        for device in street.devices:
            long = RESPONSE[:6] + (500).to_bytes(2, "big") + RESPONSE[8:12] + bytes(496)
            device.node.on_ipv6 = lambda packet, lqi, node=device.node, long=long: node.send_ipv6(
                0, datagram(node.short, 0, long), lambda status: None
            )
        for short in range(1, homes + 1):
            street.host.ask(adp.Data(short, 1, 0, datagram(0, short, GET if short % 2 else CIPHERED)), 30)
        street.host.ask(adp.PathDiscovery(homes, 15), 20)
        street.line.off(homes)
        street.host.ask(adp.Data(99, 1, 0, datagram(0, homes, GET)), 100)
    return capture, street


def shown(path, *arguments):
    command = [
        "tshark", "-X", f"lua_script:{pcap.DISSECTOR}", "--disable-heuristic", "classicstun_udp",
        "-o", f"6lowpan.context0:fe80::{PAN:x}:0:0:0/80", "-r", str(path), *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert "lua" not in done.stderr.lower(), done.stderr
    return done.stdout


FIELDS = (
    "frame.protocols", "frame.comment", "_ws.malformed", "g3_mesh.hops_left", "g3_mesh.rc_coord",
    "g3_lbp.code", "g3_lbp.eui64", "eap.code", "eap.type", "g3_loadng.type", "g3_tone_map.modulation",
    "ipv6.src", "ipv6.dst", "dlms_wrapper.apdu", "dlms_wrapper.class", "dlms_wrapper.obis", "dlms_wrapper.attribute",
    "dlms_wrapper.system_title", "dlms_wrapper.invocation_counter",
)  # fmt: skip


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """Capture and street, and what tshark says of each packet: the values that it has."""
    path = tmp_path_factory.mktemp("capture") / "street.pcapng"
    capture, street = recorded(path)
    said = shown(path, "-T", "fields", *(argument for field in FIELDS for argument in ("-e", field)))
    rows = [dict(zip(FIELDS, line.split("\t"), strict=True)) for line in said.splitlines()]
    return capture, street, [{field: value for field, value in row.items() if value} for row in rows]


@tshark
def test_tshark_finds_nothing_malformed(street):
    capture, _, rows = street
    assert len(rows) == capture.written > 500
    assert capture.undeciphered == 0
    assert capture.incomplete < 5  # a segment that was never heard by anybody
    assert not [row for row in rows if "_ws.malformed" in row]
    protocols = Counter(part for row in rows for part in row["frame.protocols"].split(":"))
    for expected in ("wpan", "6lowpan", "ipv6", "udp", "g3_lbp", "eap", "g3_loadng", "g3_mesh", "dlms_wrapper"):
        assert protocols[expected], expected
    assert not protocols.keys() - {
        "wpan", "6lowpan", "ipv6", "udp", "g3_lbp", "eap", "g3_loadng", "g3_mesh", "dlms_wrapper", "data"
    }  # fmt: skip


@tshark
def test_a_join_is_shown_message_by_message(street):
    _, line, rows = street
    eui64 = ":".join(f"{byte:02x}" for byte in line.devices[0].node.eui64)
    mine = [row for row in rows if row.get("g3_lbp.eui64") == eui64][-6:]
    assert [row["g3_lbp.code"] for row in mine] == ["0x01", "0x0a", "0x01", "0x0a", "0x01", "0x09"]
    assert [row.get("eap.code") for row in mine] == [None, "1", "2", "1", "2", "3"]
    assert [row.get("eap.type") for row in mine] == [None, "47", "47", "47", "47", None]
    assert sum("g3_lbp.code" in row and "g3_mesh.hops_left" in row for row in rows) > 10  # through agents


@tshark
def test_routing_addresses_and_application_are_shown(street):
    _, _, rows = street
    assert {row.get("g3_loadng.type") for row in rows} >= {"0x00", "0x01", "0xfc", "0xfd"}
    assert any("g3_tone_map.modulation" in row for row in rows)
    assert any(row.get("g3_mesh.rc_coord") == "0" for row in rows)
    spoken = [row for row in rows if "dlms_wrapper.apdu" in row]
    first = next(row for row in spoken if row["ipv6.dst"] == f"fe80::{PAN:x}:ff:fe00:1")
    assert first["ipv6.src"] == f"fe80::{PAN:x}:ff:fe00:0"
    shown = [first["dlms_wrapper." + name] for name in ("apdu", "class", "obis", "attribute")]
    assert shown == ["0xc0", "3", LOGICAL_NAME.hex(), "2"]
    ciphered = next(row for row in spoken if row["dlms_wrapper.apdu"] == "0xdb")
    assert ciphered["dlms_wrapper.system_title"] == b"DCU00001".hex()
    assert ciphered["dlms_wrapper.invocation_counter"] == "77"
    assert any(row["dlms_wrapper.apdu"] == "0xc4" for row in spoken)  # the long answer: fragments joined


@tshark
def test_comments_tell_what_the_deciphered_frame_hides(street):
    comments = [row["frame.comment"] for row in street[2]]
    assert any("RREQ, ROBO, received by" in comment for comment in comments)
    assert any("key 0, counter" in comment for comment in comments)
    assert any("segments" in comment for comment in comments)


@tshark
@pytest.mark.slow
def test_a_whole_demo_is_decoded_without_a_malformed_frame(tmp_path):
    path = tmp_path / "demo.pcapng"
    outcome = show.run(show.Options(Scene(), capture=path), lambda *_: None)
    assert outcome.good
    fields = ("_ws.malformed", "udp.checksum.status", "_ws.expert.severity", "frame.protocols")
    said = shown(path, "-o", "udp.check_checksum:TRUE", "-T", "fields", *(x for name in fields for x in ("-e", name)))
    rows = [line.split("\t") for line in said.splitlines()]
    assert len(rows) > 5000
    assert not [row for row in rows if row[0]]
    assert {row[1] for row in rows} == {"", "1"}  # good wherever there is one
    assert ERROR not in {severity for row in rows for severity in row[2].split(",")}
    protocols = Counter(part for row in rows for part in row[3].split(":"))
    for expected in ("wpan", "6lowpan", "ipv6", "udp", "eap", "g3_lbp", "g3_loadng", "g3_mesh", "dlms_wrapper"):
        assert protocols[expected] > 200, expected


@tshark
def test_the_canary_a_broken_message_is_found(tmp_path):
    path = tmp_path / "broken.pcapng"
    with path.open("wb") as file:
        writer = pcap.Writer(file)
        for payload in (b"\x40\x02\x10\x00\x01", b"\x40\x01\x00\x00\x01", b"\x41\x60\x00"):
            writer.packet(0.0, pcap.plain(Frame(Kind.DATA, 1, PAN, 0, 1, Segment(), b""), payload))
    packets = json.loads(shown(path, "-T", "json"))
    assert (
        sum("malformed" in json.dumps(packet).lower() or "cut short" in json.dumps(packet) for packet in packets) == 3
    )


def test_only_whole_messages_whose_key_is_known_are_written():
    capture = pcap.Capture(io.BytesIO(), lambda: [GMK])
    frame = Frame(Kind.DATA, 5, PAN, 0, 1, Segment(last=False), b"first ", key=0, counter=1)
    first = frames.encode(frame, GMK)
    frame.segment, frame.payload, frame.counter = Segment(number=1), b"second", 2
    second = frames.encode(frame, GMK)
    for raw in (first, first, second, second):
        capture.frame(0.0, raw)
    assert (capture.written, capture.undeciphered) == (1, 0)
    capture.frame(0.0, frames.encode(frame, bytes(16)))
    capture.frame(0.0, first[:-1])
    assert (capture.written, capture.undeciphered) == (1, 2)


def test_the_file_is_pcapng_in_microseconds():
    file = io.BytesIO()
    pcap.Writer(file, start=1_700_000_000).packet(1.5, b"\x01\x02\x03", "said")
    raw = file.getvalue()
    assert raw[:4].hex() == "0a0d0d0a"
    at = 28 + 32
    assert raw[28:32] == b"\x01\0\0\0"
    assert int.from_bytes(raw[36:38], "little") == 230
    packet = raw[at:]
    assert packet[:4] == b"\x06\0\0\0"
    assert int.from_bytes(packet[4:8], "little") == len(packet)
    high, low = int.from_bytes(packet[12:16], "little"), int.from_bytes(packet[16:20], "little")
    assert (high << 32 | low) == 1_700_000_001_500_000
    assert packet[28:31] == b"\x01\x02\x03"
    assert b"said" in packet
