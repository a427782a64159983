"""gurux-dlms by short names, against our server and a meter of the street: names, services, users and secrets.

What it cannot do is shown with its cause: "(gurux)".
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from gurux_dlms import GXDateTime, GXReplyData
from gurux_dlms.enums import Command, DataType, ObjectType
from gurux_dlms.GXDLMSException import GXDLMSException
from gurux_dlms.objects import GXDLMSAssociationShortName, GXDLMSClock

from dcu.cosem import axdr, data
from dcu.cosem.apdu.short import InformationReport, Name
from dcu.cosem.association import Authentication
from dcu.cosem.short_names import CURRENT
from dcu.credentials import Secret
from dcu.link import wrapper
from dcu.model import AttributeRef
from neighbourhood.associations import Managed
from neighbourhood.meter import CONCENTRATOR
from tests.cosem.small_meter import CLIENT, CONNECTED, DISCONNECT, LIMIT, PROFILE, association_row, protection_row
from tests.cosem.test_short import NAMES

from .gurux_client import ROWS, START, Gurux, House, rows_of

ENERGY_NAME, LIMIT_NAME, PROFILE_NAME, RELAY_NAME = 0x0100, 0x0200, 0x0300, 0x0400
short = pytest.mark.parametrize("context", ["none", "low"])


def claim(section, row, **more):
    return pytest.mark.conforms(section, row, peer="gurux-dlms client", link="wrapper", **more)


def referencing(context):
    return f"SN, {association_row(context)}, {protection_row(context)}"


def made(context, **more):
    gurux = Gurux(context, names=NAMES, **more)
    gurux.meter.values[AttributeRef(12, CURRENT, 2)] = NAMES.encode()
    return gurux


def listed(asking):
    """The objects by what the meter lists of them."""
    return asking.client.parseObjects(asking.ask(asking.client.getObjectsRequest()).data, True)


@claim("Referencing", referencing)
@claim("Service", "GET, SN")
@claim("Service", "GET with list, SN")
@claim("Service", "SET, SN")
@claim("Service", "ACTION, SN")
@short
def test_gurux_reads_writes_and_calls(context):
    gurux = made(context).associate()
    objects = listed(gurux)
    energy, limit = objects.findBySN(ENERGY_NAME), objects.findBySN(LIMIT_NAME)
    assert str(energy.logicalName) == "1.0.1.8.0.255"
    assert gurux.ask(gurux.client.read(energy, 2)).value == 123_456_789
    assert gurux.ask(gurux.client.readList([(energy, 2), (limit, 2)])).value == [123_456_789, 1000]
    limit.value = 2500
    limit.setDataType(2, DataType.UINT32)
    assert gurux.ask(gurux.client.write(limit, 2)).error == 0
    assert gurux.ask(objects.findBySN(RELAY_NAME).remoteDisconnect(gurux.client)).error == 0
    zero = axdr.encode(data.i8(0))
    assert gurux.meter.done == [(LIMIT, axdr.encode(data.u32(2500))), (DISCONNECT, zero)]
    assert axdr.decode(gurux.meter.values[CONNECTED]).value is False
    assert rows_of(gurux.ask(gurux.client.read(objects.findBySN(PROFILE_NAME), 2))) == ROWS
    assert gurux.server.refused.total == 0


@claim("Service", "parameterised access, SN")
@short
def test_gurux_selects_rows_by_parameterised_access(context):
    gurux = made(context).associate()
    profile = listed(gurux).findBySN(PROFILE_NAME)
    assert rows_of(gurux.ask(gurux.client.readRowsByEntry(profile, 5, 3))) == ROWS[4:7]
    profile.sortObject = GXDLMSClock("0.0.1.0.0.255")
    first, last = (GXDateTime(at) for at in (START + timedelta(hours=3), START + timedelta(hours=9)))
    assert rows_of(gurux.ask(gurux.client.readRowsByRange(profile, first, last))) == ROWS[3:10]
    asked = [selection for ref, selection in gurux.meter.asked if ref == PROFILE]
    assert [selection.selector for selection in asked] == [2, 1]


@claim("Service", "GET in blocks, SN", defect="it has no setTotalCount, which it calls with the first block")
@short
def test_gurux_takes_no_blocks_by_short_names(context):
    gurux = made(context, room=200).associate()
    profile = listed(gurux).findBySN(PROFILE_NAME)
    with pytest.raises(AttributeError, match="setTotalCount"):
        gurux.ask(gurux.client.read(profile, 2))
    assert gurux.answers[-1].hex().startswith("0c01020000")  # the first of several


@claim("Service", "SET in blocks, SN", defect="it takes more than there is of the value, and sends no block")
@claim("Service", "ACTION in blocks, SN", defect="it takes more than there is of the parameter, and sends no block")
@short
def test_gurux_cuts_nothing_by_short_names(context):
    """(gurux) It falls over itself before anything is sent."""
    gurux = made(context, max_pdu=120).associate()
    objects = listed(gurux)
    limit, relay = objects.findBySN(LIMIT_NAME), objects.findBySN(RELAY_NAME)
    limit.value = bytes(200)
    limit.setDataType(2, DataType.OCTET_STRING)
    with pytest.raises(ValueError, match="position"):
        gurux.client.write(limit, 2)
    with pytest.raises(ValueError, match="position"):
        gurux.client.method(relay, 1, bytes(200), DataType.OCTET_STRING)
    assert gurux.meter.done == []


@claim("Service", "event-notification, information-report, SN", defect="its parseReport trips over its own pairs")
@short
def test_gurux_does_not_take_a_report_apart(context):
    gurux = made(context).associate()
    listed(gurux)
    values = axdr.encode(data.u32(7)), axdr.encode(data.u32(8))
    report = InformationReport(b"", (Name(ENERGY_NAME + 8), Name(LIMIT_NAME + 8)), values)
    told, taken = GXReplyData(), []
    said = wrapper.encode(1, CLIENT, gurux.server.notification(CLIENT, report))
    assert gurux.client.getData(said, GXReplyData(), told) is False
    assert told.command == Command.INFORMATION_REPORT
    with pytest.raises(AttributeError, match="key"):
        gurux.client.parseReport(told, taken)
    assert [(str(each.logicalName), number) for each, number in taken] == [("1.0.1.8.0.255", 2), ("0.0.94.91.0.255", 2)]


CIPHERED = [
    "low, ciphered",
    *(f"{kind}, global key" for kind in ("md5", "sha1", "sha256", "gmac")),
    "gmac, dedicated key",
    "gmac, suite 2, dedicated key",
]


def opened_and_listed(gurux):
    return listed(gurux.associate())


@claim("Referencing", referencing, defect="it trips over its own request by short names once it is ciphered")
@pytest.mark.parametrize("context", CIPHERED)
def test_gurux_cannot_cipher_what_it_asks_by_short_names(context):
    """(gurux) An assertion of its own, before anything is sent: of its proof of HLS, or else of its first request."""
    gurux = made(context)
    with pytest.raises(AssertionError):
        opened_and_listed(gurux)
    assert {answer[0] for answer in gurux.answers} == {0x61}
    assert gurux.server.refused.total == gurux.turned_down


@claim(
    "Referencing",
    referencing,
    defect="its proof is taken; it sends it in a write, whose answer has no room for ours",
)
@pytest.mark.parametrize("context", [f"{kind}, plain services" for kind in ("high", "md5", "sha1", "sha256", "gmac")])
def test_gurux_proves_itself_by_a_write_and_so_gets_no_proof_back(context):
    """(gurux) A method that returns something is to be called by a read, whose answer holds it."""
    gurux = made(context)
    with pytest.raises(Exception, match="Server to Client do not match"):
        gurux.associate()
    assert gurux.answers[-1].hex() == "0d0100"  # written
    assert gurux.server.associated(CLIENT)


# --- a meter of the street

USERS = {7: "Anna", 8: "Otto"}


def with_users(meter):
    meter.managed[CONCENTRATOR] = Managed(users=dict(USERS))


@claim("Object", "association: users, SN")
def test_gurux_says_which_user_it_is_and_reads_who_they_are():
    association = GXDLMSAssociationShortName()
    for number, name in USERS.items():
        house = House(short=True, prepare=with_users, user=number)
        users, current = (house.ask(house.client.read(association, attribute)).value for attribute in (5, 6))
        assert (users, current) == ([list(each) for each in USERS.items()], [number, name])
    for nobody in (-1, 9):
        with pytest.raises(GXDLMSException, match="permanently rejected"):
            House(short=True, prepare=with_users, user=nobody)


@claim("Object", "association: users, SN", defect="it knows eight methods of class 12: it can enter no user")
def test_gurux_enters_no_users():
    house = House(short=True)
    with pytest.raises(ValueError, match="methodIndex"):
        house.client.method(GXDLMSAssociationShortName(), 9, b"\x02\x02\x11\x09\x0a\x01a", DataType.STRUCTURE)


@claim("Object", "association: secret, SN")
def test_a_secret_that_gurux_changed_opens_the_next_association_and_the_old_one_does_not():
    house, new = House(Authentication.LOW, short=True), Secret(b"another secret")
    change = house.client.method(GXDLMSAssociationShortName(), 5, new.reveal(), DataType.OCTET_STRING)
    assert house.ask(change).error == 0
    assert house.meter.keys(CONCENTRATOR).password == new
    with pytest.raises(GXDLMSException, match="Authentication failure"):
        house.open()
    house.open(replace(house.meter.shipped_keys(), password=new))
    energy = listed(house).findByLN(ObjectType.REGISTER, "1.0.1.8.0.255")
    assert house.value(energy) == house.meter.registers(house.now).active_import
