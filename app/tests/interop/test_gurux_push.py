"""Pushes between us and gurux-dlms: our listener takes what its notifier sends, its client reads what our meter sends.

In one process, over the wrapper. Its own defects are named: it opens general-ciphering with nothing, and does not know
general-signing.
"""

import contextlib
import io

import pytest
from gurux_dlms import GXByteBuffer, GXReplyData
from gurux_dlms.enums import Authentication, InterfaceType, Security
from gurux_dlms.objects import GXDLMSRegister
from gurux_dlms.objects.enums import SecuritySuite
from gurux_dlms.secure.GXDLMSSecureClient import GXDLMSSecureClient
from gurux_dlms.secure.GXDLMSSecureNotify import GXDLMSSecureNotify

from dcu.cosem import apdu, axdr
from dcu.cosem.apdu import DataNotification, EventNotification
from dcu.cosem.push import PushReceiver
from dcu.cosem.security import KEYED, Framing
from dcu.errors import CounterReplayed, DcuError, PolicyViolated
from dcu.link import wrapper
from dcu.model import AttributeRef, Obis
from tests.attack.pushed import FIRST, LISTENED, Listener, said, sender, way
from tests.cosem.small_meter import protection_row
from tests.cosem.suite_keys import CLIENT_TITLE, METER_TITLE, keys

BODY = bytes.fromhex("0202 06 00000005 0903 616263")
suites = pytest.mark.parametrize("suite", [0, 1, 2])


def row(mode):
    """Of docs/conformance.md: all suites in one."""
    return f"push, {protection_row(mode).rpartition(', suite')[0]}"


def secured(made, suite, title):
    held = keys(suite)[0]
    ciphering = made.ciphering
    ciphering.security = Security.AUTHENTICATION_ENCRYPTION
    ciphering.systemTitle = title
    ciphering.blockCipherKey, ciphering.authenticationKey = held.guek.reveal(), held.gak.reveal()
    ciphering.securitySuite = SecuritySuite(suite)
    ciphering.invocationCounter = FIRST
    return made


def notifier(suite):
    return secured(GXDLMSSecureNotify(True, 1, 1, InterfaceType.WRAPPER), suite, METER_TITLE)


def apdu_of(messages):
    (message,) = messages
    return wrapper.decode(bytes(message)).apdu


@pytest.mark.conforms(
    "Service", lambda suite: row(f"suite {suite}, general_global"), peer="gurux-dlms notifier", link="wrapper"
)
@suites
def test_what_guruxs_notifier_pushes_is_taken_once_and_no_bit_of_it_may_be_another(suite):
    frame = apdu_of(notifier(suite).generateDataNotificationMessages(None, GXByteBuffer(BODY)))
    listener = Listener(f"suite {suite}, general_global")
    for at in range(len(frame)):
        assert isinstance(listener.put(frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :]), DcuError)
    assert listener.put(frame) is None
    assert isinstance(listener.put(frame), CounterReplayed)
    ((title, notification),) = listener.taken
    assert isinstance(notification, DataNotification)
    assert (title, notification.body) == (METER_TITLE, BODY)


def test_its_event_notification_is_taken_where_plain_pushes_are_for_it_ciphers_none():
    register, made = GXDLMSRegister("1.0.1.8.0.255"), notifier(0)
    register.value = 12_345
    with pytest.raises(Exception, match="Invalid GLO command"):
        made.generateReport(None, [(register, 2)])
    made.ciphering.security = Security.NONE
    frame = apdu_of(made.generateReport(None, [(register, 2)]))
    push = PushReceiver(lambda title: None, lambda title: -1, plain=True).receive(frame)
    assert isinstance(push.notification, EventNotification)
    assert push.notification.attribute == AttributeRef(3, Obis.parse("1-0:1.8.0*255"), 2)
    assert axdr.decode(push.notification.value).value == 12_345
    assert isinstance(Listener("suite 0, general_global").put(frame), PolicyViolated)


def read(mode, notification):
    """What gurux's client makes of a push of our meter."""
    suite, _, _ = way(mode)
    client = GXDLMSSecureClient(True, 1, 1, Authentication.NONE, None, InterfaceType.WRAPPER)
    secured(client, suite, CLIENT_TITLE).settings.sourceSystemTitle = METER_TITLE
    frame = wrapper.encode(1, 1, sender(mode).seal(apdu.encode(notification), FIRST))
    told = GXReplyData()
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        client.getData(GXByteBuffer(frame), GXReplyData(), told)
    return told


@pytest.mark.conforms(
    "Service", lambda suite: row(f"suite {suite}, general_global"), peer="gurux-dlms client", link="wrapper"
)
@suites
def test_gurux_reads_what_our_meter_pushes(suite):
    mode = f"suite {suite}, general_global"
    assert [bytes(each) if isinstance(each, bytearray) else each for each in read(mode, said(5)).value] == [
        5,
        b"a push",
    ]
    event = said(5, "event")
    whole = bytes(read(mode, event).data.array())
    assert whole.endswith(event.value)
    assert event.attribute.obis.raw in whole
    assert axdr.decode(event.value).value[0].value == 5


@pytest.mark.conforms(
    "Service",
    lambda mode: row(mode) if way(mode)[1] in KEYED and not way(mode)[2] else None,
    peer="gurux-dlms client",
    defect="it opens no general-ciphering: its parameters have no setSystemTitle",
)
@pytest.mark.conforms(
    "Service",
    lambda mode: row(mode) if way(mode)[2] else None,
    peer="gurux-dlms client",
    defect="it does not know general-signing",
)
@pytest.mark.parametrize("mode", [mode for mode in LISTENED if way(mode)[1:] != (Framing.GENERAL_GLOBAL, False)])
def test_gurux_does_not_read_what_else_protects_a_push(mode):
    kind, says = (ValueError, "Invalid Command") if way(mode)[2] else (AttributeError, "setSystemTitle")
    with pytest.raises(kind, match=says):
        read(mode, said(5))
