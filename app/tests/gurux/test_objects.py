"""Attribute values of many classes as objects and back. The bytes are written by hand from the Blue Book's types."""

import pytest

from dcu.errors import DecodeError, WorkerError

EXACT = {
    "data: a number": (1, 0, 2, "0600000005", "GXDLMSData"),
    "data: a structure": (1, 0, 2, "0202120001010211021103", "GXDLMSData"),
    "data: a float": (1, 0, 2, "173fc00000", "GXDLMSData"),
    "data: null": (1, 0, 2, "00", "GXDLMSData"),
    "register: scaler and unit": (3, 0, 3, "02020fff161e", "GXDLMSRegister"),
    "clock: time": (8, 0, 2, "090c07e60b0c0610360000ffc400", "GXDLMSClock"),
    "clock: time zone": (8, 0, 3, "10ffc4", "GXDLMSClock"),
    "script table": (9, 0, 2, "010102021200010101020516021200460906000060030aff0f020f00", "GXDLMSScriptTable"),
    "special days": (11, 0, 2, "010102031200010905ffff0c19ff1101", "GXDLMSSpecialDaysTable"),
    "activity calendar: seasons": (
        20, 0, 3, "01010203090131090cffff0101ffffffffff8000ff090131", "GXDLMSActivityCalendar",
    ),
    "activity calendar: weeks": (20, 0, 4, "01010208090131" + "1101" * 7, "GXDLMSActivityCalendar"),
    "activity calendar: days": (
        20, 0, 5, "010102021101" "0102" "02030904000000000906" "00000a0064ff" "120001"
        "02030904160000000906" "00000a0064ff" "120002", "GXDLMSActivityCalendar",
    ),
    "SAP assignment": (17, 0, 2, "01010202120001091047525858303030303030303030303031", "GXDLMSSapAssignment"),
    "single action schedule: script": (22, 0, 2, "0202090600000a006aff120001", "GXDLMSActionSchedule"),
    "push setup: objects": (40, 0, 2, "0101020412000109060000" "2a0000ff" "0f02120000", "GXDLMSPushSetup"),
    "push setup: destination": (40, 0, 3, "02031600090461626364" "1600", "GXDLMSPushSetup"),
    "profile: capture objects": (
        7, 1, 3, "0102" "020412000809060000010000ff0f02120000" "020412000309060100010800ff0f02120000",
        "GXDLMSProfileGeneric",
    ),
    "limiter: threshold": (71, 0, 3, "0600001388", "GXDLMSLimiter"),
    "limiter: emergency profile": (
        71, 0, 8, "0203120001090c07e60b0c0610360000ffc4000600000010", "GXDLMSLimiter",
    ),
    "disconnect control: state": (70, 0, 3, "1601", "GXDLMSDisconnectControl"),
    "register monitor: thresholds": (21, 0, 2, "01010600000010", "GXDLMSRegisterMonitor"),
    "IPv4 setup: address": (42, 0, 3, "060a000001", "GXDLMSIp4Setup"),
    "security setup: policy": (64, 1, 2, "1603", "GXDLMSSecuritySetup"),
    "account: mode and status": (111, 0, 2, "020216011601", "GXDLMSAccount"),
    "credit: amount": (112, 0, 2, "0500000010", "GXDLMSCredit"),
    "token gateway: token": (115, 0, 2, "090a00112233445566778899", "GXDLMSTokenGateway"),
    "G3-PLC MAC setup: short address": (91, 2, 2, "120001", "GXDLMSG3PlcMacSetup"),
    "G3-PLC 6LoWPAN: hops": (92, 2, 2, "1108", "GXDLMSG3Plc6LoWPan"),
    "port protection: mode": (124, 0, 2, "1601", "GXDLMSCommunicationPortProtection"),
    "a class it does not know": (9999, 0, 2, "0202120001010211021103", None),
}  # fmt: skip


@pytest.mark.parametrize(("class_id", "version", "attribute", "value", "name"), EXACT.values(), ids=EXACT)
def test_a_value_becomes_an_object_and_the_same_value_again(worker, class_id, version, attribute, value, name):
    raw = bytes.fromhex(value)
    found = worker.value_to_object(class_id, version, attribute, raw)
    assert (found.known, found.class_name) == (name is not None, name)
    assert found.fields
    assert found.exact
    assert worker.object_to_value(class_id, version, attribute, found.fields) == raw


def test_an_object_says_what_an_engineer_wants_to_know(worker):
    days = worker.value_to_object(11, 0, 2, bytes.fromhex(EXACT["special days"][3]))
    assert days.fields == {
        "entries": [
            {
                "object": "GXDLMSSpecialDay",
                "fields": {"index": {"uint16": 1}, "date": {"date": "ffff0c19ff"}, "dayId": {"uint8": 1}},
            }
        ]
    }
    clock = worker.value_to_object(8, 0, 2, bytes.fromhex("090c07e60b0c0610360000ffc400"))
    assert clock.fields == {"time": {"datetime": "07e60b0c0610360000ffc400", "text": "2022-11-12T16:54:00+01:00"}}


def test_a_changed_object_is_written_as_it_was_changed(worker):
    calendar = worker.value_to_object(20, 0, 4, bytes.fromhex(EXACT["activity calendar: weeks"][3]))
    calendar.fields["weekProfileTableActive"][0]["fields"]["sunday"] = {"uint8": 2}
    assert worker.object_to_value(20, 0, 4, calendar.fields).hex() == "01010208090131" + "1101" * 6 + "1102"


def test_what_it_cannot_keep_is_marked(worker):
    assert not worker.value_to_object(1, 0, 2, bytes.fromhex("0d12")).exact  # BCD comes back as a double-long
    assert not worker.value_to_object(8, 0, 2, bytes.fromhex("090c07e10f0f05052128ff800000")).exact  # month 15


def test_a_write_that_does_not_read_back_is_refused(worker):
    bits = worker.value_to_object(1, 0, 2, bytes.fromhex("040ba5e0"))
    with pytest.raises(WorkerError, match="does not read back"):
        worker.object_to_value(1, 0, 2, bits.fields)


@pytest.mark.parametrize("value", ["06000000", "060000000100", "0105", "ff", "02030600000001"])
def test_a_value_cut_short_or_overlong_is_a_decode_error(worker, value):
    with pytest.raises(DecodeError):
        worker.value_to_object(1, 0, 2, bytes.fromhex(value))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"no such field": 1},
        {"value": {"object": "os.system", "fields": {}}},
        {"value": {"object": "GXDLMSScript", "fields": {"no such field": 1}}},
        {"value": {"enum": "os", "value": 1}},
        {"value": {"no such type": 1}},
        {"value": {"uint8": "five"}},
        {"value": {"octets": "zz"}},
    ],
    ids=str,
)
def test_an_object_that_is_none_is_refused(worker, fields):
    with pytest.raises(WorkerError):
        worker.object_to_value(3, 0, 3 if not fields else 2, fields | ({"scaler": {}} if not fields else {}))
