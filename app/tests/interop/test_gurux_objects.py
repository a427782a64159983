"""gurux-dlms reads, writes and calls the objects of a simulated meter: their encoding is not only our own two sides'.

A meter of the street without authentication, over the wrapper, in one process. What gurux makes of a value stands in
its own typed objects, and is compared with what the meter was made with. Its own defects are named: "(gurux)".
"""

import pytest
from gurux_dlms import GXDLMSException
from gurux_dlms.enums import DataType
from gurux_dlms.objects import (
    GXDLMSActionSchedule,
    GXDLMSActivityCalendar,
    GXDLMSAssociationLogicalName,
    GXDLMSClock,
    GXDLMSDisconnectControl,
    GXDLMSImageTransfer,
    GXDLMSLimiter,
    GXDLMSPushSetup,
    GXDLMSRegisterActivation,
    GXDLMSRegisterMonitor,
    GXDLMSScriptTable,
    GXDLMSSpecialDaysTable,
    GXDLMSTokenGateway,
)

from dcu.cosem import apdu
from dcu.cosem.association import Association
from dcu.cosem.association_setup import AssociationSetup, User
from dcu.link import wrapper
from dcu.model import Obis
from neighbourhood.associations import NOTHING, Granted, Managed
from neighbourhood.image import ACTIVATING, VERIFYING, firmware
from neighbourhood.meter import CONCENTRATOR
from neighbourhood.relay import Relay
from neighbourhood.tokens import token
from neighbourhood.works import Monitor

from .gurux_client import House

TEMPORARY = 2


USERS = {7: "Anna", 8: "Otto"}


def with_users(meter):
    meter.managed[CONCENTRATOR] = Managed(users=dict(USERS))


def objects(name):
    return pytest.mark.conforms("Object", name, peer="gurux-dlms client", link="wrapper")


@objects("activity calendar, register activation")
def test_gurux_reads_the_calendar_and_its_rates():
    house = House()
    calendar = house.read(GXDLMSActivityCalendar(), *range(2, 11))
    (day,) = calendar.dayProfileTableActive
    shown = [(each.startTime.value.hour, each.scriptLogicalName, each.scriptSelector) for each in day.daySchedules]
    assert (day.dayId, shown) == (1, [(hour, "0.0.10.0.100.255", rate) for hour, rate in ((0, 2), (6, 1), (22, 2))])
    (week,) = calendar.weekProfileTableActive
    assert (bytes(week.name), week.monday, week.sunday) == (b"WEEK", 1, 1)
    rates = house.read(GXDLMSRegisterActivation("0.0.14.0.0.255"), 2, 3, 4)
    assert [each.logicalName for each in rates.registerAssignment] == [f"1.0.1.8.{rate}.255" for rate in (1, 2, 3, 4)]
    assert bytes(rates.activeMask) == b"RATE1"


@objects("script table, single action schedule")
def test_gurux_reads_and_runs_scripts():
    house = House()
    table = house.read(GXDLMSScriptTable("0.0.10.0.106.255"), 2)
    assert [(script.id, script.actions[0].target.objectType, script.actions[0].index) for script in table.scripts] == [
        (1, 70, 1),
        (2, 70, 2),
    ]
    house.ask(house.client.method(table, 1, 1, DataType.UINT16))
    assert house.meter.relay is Relay.DISCONNECTED
    schedule = house.read(GXDLMSActionSchedule("0.0.15.0.2.255"), 2, 3, 4)
    assert (schedule.target.logicalName, schedule.executedScriptSelector) == ("0.0.10.0.107.255", 1)


@objects("limiter")
def test_gurux_reads_the_limiter():
    limiter = House().read(GXDLMSLimiter("0.0.17.0.0.255"), *range(2, 12))
    assert limiter.thresholdNormal == limiter.thresholdActive == 0xFFFFFFFF
    assert (limiter.minOverThresholdDuration, limiter.emergencyProfileActive) == (60, False)
    assert limiter.actionOverThreshold.logicalName == "0.0.10.0.106.255"


@objects("register monitor")
def test_gurux_reads_the_register_monitor():
    house = House()
    watched = house.meter.works.monitor.watched
    action = (house.meter.works.limiter.over, house.meter.works.limiter.under)
    house.meter.works.monitor = Monitor(watched, (2_000, 3_000), (action, action))
    monitor = house.read(GXDLMSRegisterMonitor("0.0.16.0.1.255"), 2, 3, 4)
    assert list(monitor.thresholds) == [2_000, 3_000]
    assert (monitor.monitoredValue.logicalName, monitor.monitoredValue.attributeIndex) == ("1.0.1.7.0.255", 2)
    assert [each.actionUp.logicalName for each in monitor.actions] == ["0.0.10.0.106.255"] * 2


@objects("special days table")
def test_gurux_reads_special_days():
    house = House()
    house.meter.works.tariffs.special[3] = (b"\xff\xff\x0c\x19\xff", 1)
    (day,) = house.read(GXDLMSSpecialDaysTable("0.0.11.0.0.255"), 2).entries
    assert (day.index, day.date.value.month, day.date.value.day, day.dayId) == (3, 12, 25, 1)


@objects("push setup")
def test_gurux_reads_the_push_setup():
    setup = GXDLMSPushSetup("0.0.25.9.0.255")
    setup.version = 0
    push = House().read(setup, 2, 3, 5, 6, 7)
    assert [item[0].logicalName for item in push.pushObjectList] == ["0.0.42.0.0.255", "0.0.96.11.0.255"]


@objects("clock, daylight saving")
def test_gurux_reads_and_shifts_the_clock():
    house = House()
    clock = house.read(GXDLMSClock("0.0.1.0.0.255"), 2, 3, 5, 6, 7, 8, 9)
    assert (clock.time.value.hour, clock.enabled, clock.timeZone) == (12, False, 0)
    before = house.meter.shown()
    house.ask(house.client.method(clock, 6, -600, DataType.INT16))
    assert house.meter.shown() == before - 600


@objects("disconnect control, control modes")
def test_gurux_reads_the_relay_and_switches_it():
    house = House()
    relay = house.read(GXDLMSDisconnectControl("0.0.96.3.10.255"), 2, 3, 4)
    assert (relay.outputState, relay.controlState, relay.controlMode) == (True, 1, 4)
    house.ask(relay.remoteDisconnect(house.client))
    assert house.meter.relay is Relay.DISCONNECTED


@objects("association: users")
def test_gurux_says_which_user_it_is_and_reads_who_they_are():
    association = House(prepare=with_users, user=7).read(GXDLMSAssociationLogicalName(), 11)
    assert association.currentUser == (7, "Anna")
    association = House(prepare=with_users, user=8).read(GXDLMSAssociationLogicalName(), 10)
    assert association.userList == list(USERS.items())
    for nobody in (-1, 9):
        with pytest.raises(GXDLMSException):
            House(prepare=with_users, user=nobody)


@objects("association: users")
def test_gurux_enters_a_user_byte_for_byte_as_we_do():
    association, client = GXDLMSAssociationLogicalName(), House().client
    for theirs, ours, method in (
        (association.addUser(client, 7, "Anna"), AssociationSetup.add_user, 5),
        (association.removeUser(client, 7, "Anna"), AssociationSetup.remove_user, 6),
    ):
        sent = apdu.decode(wrapper.decode(bytes(theirs[0])).apdu)
        assert (sent.method.method, sent.parameter) == (method, parameter_of(ours))


def parameter_of(call):
    """What one of our calls sends."""

    class Session:
        association = Association(1, 1)

        def action(self, ref, parameter):
            sent.append(parameter)
            yield from ()

    sent = []
    list(call(AssociationSetup(Session()), User(7, "Anna")))
    return sent[0]


@objects("association: object list")
def test_gurux_sees_what_is_left_of_its_list():
    house = House()
    relay, limits = Obis.parse("0-0:96.3.10*255"), Granted(frozenset({3}), frozenset(), frozenset({2}))
    whole = house.read(GXDLMSAssociationLogicalName(), 2).objectList
    house.meter.managed[CONCENTRATOR] = Managed({Obis.parse("1-0:2.8.0*255"): NOTHING, relay: limits})
    left = house.read(GXDLMSAssociationLogicalName(), 2).objectList
    names = {each.logicalName for each in whole} - {each.logicalName for each in left}
    assert (names, len(whole) - len(left)) == ({"1.0.2.8.0.255"}, 1)
    (shown,) = [each for each in left if each.logicalName == "0.0.96.3.10.255"]
    assert [int(shown.getAccess(number)) for number in (2, 3, 4)] == [0, 1, 0]
    assert [int(shown.getMethodAccess(number)) for number in (1, 2)] == [0, 1]


@objects("token gateway")
def test_gurux_enters_a_token():
    house = House()
    gateway = GXDLMSTokenGateway("0.0.19.40.0.255")
    house.ask(house.client.method(gateway, 1, token(1, 1, 2, 700).encode(), DataType.OCTET_STRING))
    house.now += 5
    assert house.meter.works.prepayment.credit == 700
    house.read(gateway, 2, 3)
    assert bytes(gateway.token) == token(1, 1, 2, 700).encode()
    code, _ = house.ask(house.client.read(gateway, 6)).value
    assert int(code) == 3


@objects("image transfer")
def test_gurux_brings_an_image_into_the_meter():
    house, raw = House(), firmware("3.1.0", 30_100)
    image = house.read(GXDLMSImageTransfer(), 2, 5, 6)
    assert (image.imageBlockSize, image.imageTransferEnabled, int(image.imageTransferStatus)) == (800, True, 0)
    house.ask(image.imageTransferInitiate(house.client, "GDM-3.1.0", len(raw)))
    frames = image.imageBlockTransfer(house.client, raw, 0)
    for frame in frames:
        house.ask(frame)
    held = house.read(image, 3, 4)
    assert held.imageFirstNotTransferredBlockNumber == 38
    for start, seconds in ((image.imageVerify, VERIFYING), (image.imageActivate, ACTIVATING)):
        assert house.ask(start(house.client)).error == TEMPORARY
        house.now += seconds
    assert bytes(house.meter.works.image.image) == raw
    house.read(image, 6, 7)
    assert (int(image.imageTransferStatus), house.meter.works.image.version) == (6, "3.1.0")
