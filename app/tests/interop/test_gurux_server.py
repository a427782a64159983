"""gurux-dlms as a server, asked by our client: it does not come so far that it answers. Its defects, in order."""

from itertools import count

import pytest
from gurux_dlms.enums import AccessMode, InterfaceType, MethodAccessMode, SourceDiagnostic
from gurux_dlms.GXServerReply import GXServerReply
from gurux_dlms.objects import GXDLMSRegister
from gurux_dlms.secure import GXDLMSSecureServer

from dcu.cosem.association import Association
from dcu.cosem.client import ClientSession
from dcu.link import wrapper
from tests.cosem.small_meter import CLIENT


def nothing(*_):
    """What its user may do before and after each service."""


class Meter(GXDLMSSecureServer):
    """As little as it asks of its user."""

    onPreGet = onPostGet = onPreRead = onPostRead = onPreWrite = onPostWrite = nothing  # noqa: N815
    onPreAction = onPostAction = onConnected = onInvalidConnection = onDisconnected = nothing  # noqa: N815
    onFindObject = nothing  # noqa: N815

    def isTarget(self, *_):  # noqa: N802
        return True

    def onValidateAuthentication(self, *_):  # noqa: N802
        return SourceDiagnostic.NONE

    def onGetAttributeAccess(self, _):  # noqa: N802
        return AccessMode.READ_WRITE

    def onGetMethodAccess(self, _):  # noqa: N802
        return MethodAccessMode.ACCESS


@pytest.mark.conforms(
    "Association",
    "without authentication",
    peer="gurux-dlms server",
    link="wrapper",
    defect="it does not start: its list of objects refuses itself, and its reply has no setReply",
)
def test_guruxs_server_neither_starts_nor_answers():
    meter = Meter(True, InterfaceType.WRAPPER)
    meter.items.append(GXDLMSRegister("1.0.1.8.0.255"))
    with pytest.raises(TypeError, match="item is not of type GXDLMSObject"):
        meter.initialize()
    request = next(ClientSession(Association(CLIENT, 1), counter=count(1).__next__).associate())
    with pytest.raises(AttributeError, match="setReply"):
        meter.handleRequest(GXServerReply(wrapper.encode(CLIENT, 1, request)))
