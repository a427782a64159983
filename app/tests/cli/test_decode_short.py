"""`dcu decode` of sessions by short names: plain and ciphered, blocks put together both ways."""

from itertools import chain
from xml.etree import ElementTree

import pytest

from dcu.cli.decoding_short import Blocks
from dcu.cosem import axdr, data
from dcu.cosem.apdu import DataAccessResult, short
from dcu.cosem.apdu.short import (
    InformationReport,
    Name,
    ReadBlock,
    ReadRequest,
    ReadResponse,
    RequestBlock,
    WriteRequest,
    WriteResponse,
)
from dcu.errors import DecodeError
from dcu.link import wrapper
from tests.cli.captured import keys_file
from tests.cosem.small_meter import CLIENT_TITLE, DISCONNECT, ENERGY, KEYS, LIMIT, PROFILE, text
from tests.cosem.test_short import NAMES, ShortPair

LONG = text(400)


@pytest.fixture
def meter_keys(tmp_path):
    return keys_file(
        tmp_path / "meter.toml",
        system_title=KEYS.system_title.hex(),
        client_title=CLIENT_TITLE.hex(),
        guek=KEYS.guek.reveal().hex(),
        gak=KEYS.gak.reveal().hex(),
    )


def session(context):
    """(what the client sent, what the meter answered), each in its wrapper, of reads, a long write and a long call."""
    pair = ShortPair(context, max_pdu=160, takes=160, names=NAMES).associated()
    before = len(pair.sent) if context == "none" else 0  # the AARQ tells the titles and the dedicated key
    pair.meter.action = lambda sap, method, parameter: parameter
    pair.run(pair.client.get(ENERGY))
    pair.run(pair.client.get(PROFILE))
    pair.run(pair.client.set(LIMIT, LONG))
    pair.run(pair.client.action(DISCONNECT, LONG))
    asked = (wrapper.encode(1, 16, frame) for frame in pair.sent[before:])
    answered = (wrapper.encode(16, 1, frame) for frame in pair.answered[before:])
    return list(chain.from_iterable(zip(asked, answered, strict=True)))


def of(found, service):
    return [item["apdu"] for item in found if item["apdu"]["service"] == service]


@pytest.mark.parametrize("context", ["none", "gmac, global key", "gmac, dedicated key"])
def test_a_session_is_shown_with_its_blocks_put_together(decode_json, decode, meter_keys, context):
    frames = b"".join(session(context)).hex()
    options = () if context == "none" else ("--keys", meter_keys)
    found = decode_json(frames, *options)
    [written] = of(found, "write-request")
    assert written["variables"] == [{"short_name": "0208"}]
    assert written["values"][0]["value"] == LONG[4:].hex()
    calls = [each for each in of(found, "read-request") if each["variables"][0].get("short_name") == "0420"]
    assert [each["variables"][0]["parameter"]["value"] for each in calls] == [LONG[4:].hex()]
    values = [each["results"][0] for each in of(found, "read-response")]
    assert {"type": "double-long-unsigned", "value": 123_456_789} in values
    assert [len(each["value"]) for each in values if each.get("type") == "array"] == [40]
    assert {"block_taken": 1} in values
    assert of(found, "write-response")[0]["results"] == [{"block_taken": 1}]
    assert of(found, "write-response")[-1]["results"] == ["success (0)"]
    if options:
        assert {item["security"]["system_title"] for item in found if item["security"]} == {
            KEYS.system_title.hex().upper(),
            CLIENT_TITLE.hex().upper(),
        }
    code, out, _ = decode(frames, *options)
    assert code == 0
    assert out.count("<WriteRequest") == 1
    assert f'<OctetString Value="{LONG[4:].hex().upper()}"' in out


def test_what_is_asked_by_short_names_is_opened_with_the_client_s_title_where_no_aarq_tells_it(decode_json, meter_keys):
    frames = [frame for frame in session("gmac, global key") if frame[8] not in (0x60, 0x61)]
    assert of(decode_json(b"".join(frames).hex(), "--keys", meter_keys), "write-request")[0]["values"]


def write_block(last, number, raw):
    return short.encode(WriteRequest((RequestBlock(last, number),), (axdr.encode(data.octets(raw)),)))


def read_block(last, number, raw):
    return short.encode(ReadResponse((ReadBlock(last, number, raw),)))


BODY = short.encode(WriteRequest((Name(0x0208),), (LONG,)))[1:]
FIRST, SECOND, LAST = (
    write_block(False, 1, BODY[:100]),
    write_block(False, 2, BODY[100:200]),
    write_block(True, 3, BODY[200:]),
)


def test_a_block_that_was_sent_again_or_anew_counts_once(decode_json):
    found = decode_json("\n".join(frame.hex() for frame in (FIRST, FIRST, SECOND, SECOND, LAST)))
    assert [each["values"][0]["value"] for each in of(found, "write-request")] == [LONG[4:].hex()]


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ((FIRST, LAST), "write-request: block 3 came where block 2 is due"),
        ((SECOND,), "write-request: block 2 came where block 1 is due"),
        ((write_block(False, 0, b""),), "write-request: block 0 came where block 1 is due"),
        ((FIRST, write_block(False, 0, b"")), "write-request: block 0 came where block 2 is due"),
        ((FIRST, SECOND, write_block(True, 2, BODY[100:])), "write-request: block 2 came where block 3 is due"),
        ((FIRST, SECOND), "the write-request ends after 2 blocks, the last one is missing"),
        ((FIRST, read_block(False, 2, b"ab")), "read-response: block 2 came where block 1 is due"),
        ((bytes.fromhex("06010700000101131203010203"),), "LONG_UNSIGNED ends early"),
        ((bytes.fromhex("0c0100131203010203"),), "LONG_UNSIGNED ends early"),
        ((bytes.fromhex("050104030802131203010203"),), "LONG_UNSIGNED ends early"),
        ((bytes.fromhex("060107000001011105"),), "a block of a write-request is an octet-string"),
        ((write_block(True, 1, BODY[:-1]),), "ends early"),
        ((read_block(True, 1, b"\xff\xff"),), "after the end"),
    ],
)
def test_blocks_that_do_not_add_up_are_said(decode, frames, complaint):
    code, _, err = decode(b"".join(wrapper.encode(1, 16, frame) for frame in frames).hex())
    assert code == 8
    assert complaint in err


def test_blocks_add_up_to_so_much_and_no_more_and_what_is_wrong_ends_them():
    blocks = Blocks(len(BODY))
    assert [blocks.take(short.decode(frame)) for frame in (FIRST, SECOND)] == [None, None]
    assert blocks.take(short.decode(LAST)) == WriteRequest((Name(0x0208),), (LONG,))
    blocks = Blocks(len(BODY) - 1)
    for frame in (FIRST, SECOND):
        blocks.take(short.decode(frame))
    with pytest.raises(DecodeError, match="more than"):
        blocks.take(short.decode(LAST))
    blocks.finish()
    blocks.take(short.decode(FIRST))
    with pytest.raises(DecodeError, match="block 3 came"):
        blocks.take(short.decode(LAST))
    blocks.finish()
    with pytest.raises(DecodeError, match="block 2 came where block 1"):
        blocks.take(short.decode(SECOND))


def test_a_refusal_ends_what_it_refuses(decode_json):
    refused = short.encode(WriteResponse((DataAccessResult.LONG_SET_ABORTED,)))
    found = decode_json(b"".join(wrapper.encode(1, 16, each) for each in (FIRST, refused)).hex())
    assert of(found, "write-response")[0]["results"] == ["long-set-aborted (17)"]


@pytest.mark.parametrize("head", [b"\x01\x00", b""], ids=["as meters do", "as Gurux does"])
def test_an_answer_in_blocks_is_read_with_and_without_what_stands_before_the_value(decode_json, head):
    frames = (read_block(False, 1, (head + LONG)[:100]), read_block(True, 2, (head + LONG)[100:]))
    [found] = decode_json("\n".join(frame.hex() for frame in frames))
    assert found["apdu"]["results"] == [{"type": "octet-string", "value": LONG[4:].hex()}]


def test_a_report_and_a_list_are_shown_with_what_they_name(decode_json):
    report = InformationReport(b"20261130120000Z", (Name(0x0108), Name(0x0110)), (b"\x11\x05", b"\x00"))
    asked = ReadRequest((Name(0x0308, 2, b"\x11\x01"), Name(0x0108)))
    found = decode_json(f"{short.encode(report).hex()}\n{short.encode(asked).hex()}")
    assert found[0]["apdu"] == {
        "service": "information-report",
        "date_time": "20261130120000Z",
        "variables": [{"short_name": "0108"}, {"short_name": "0110"}],
        "values": [{"type": "unsigned", "value": 5}, {"type": "null", "value": None}],
    }
    assert found[1]["apdu"]["variables"] == [
        {"short_name": "0308", "selector": 2, "parameter": {"type": "unsigned", "value": 1}},
        {"short_name": "0108"},
    ]


def test_the_gurux_translator_reads_our_blocks(decode):
    """A foreign decoder of the frames themselves, which are given to it one by one."""
    from dcu.cli.worker import Worker

    with Worker() as worker:
        written = ElementTree.fromstring(worker.apdu_to_xml(FIRST))
        read = ElementTree.fromstring(worker.apdu_to_xml(short.encode(ReadRequest((RequestBlock(True, 2, b"ab"),)))))
    block = written.find(".//WriteDataBlockAccess")
    assert (block.find("LastBlock").get("Value"), block.find("BlockNumber").get("Value")) == ("00", "0001")
    assert written.find("ListOfData/OctetString").get("Value") == BODY[:100].hex().upper()
    block = read.find("ReadDataBlockAccess")
    assert (block.find("LastBlock").get("Value"), block.find("BlockNumber").get("Value")) == ("01", "0002")
