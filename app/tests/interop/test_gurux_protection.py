"""How gurux-dlms protects what it asks: general-glo- and general-ded-ciphering, pre-established associations; and what
it cannot: general-ciphering, general-signing, broadcasts, compression.
"""

import zlib
from dataclasses import replace

import pytest
from gurux_dlms import GXReplyData
from gurux_dlms.compression import IGXCompressionNotifier
from gurux_dlms.enums import Authentication as GXAuthentication
from gurux_dlms.enums import InterfaceType
from gurux_dlms.GXDLMSExceptionResponse import GXDLMSExceptionResponse
from gurux_dlms.secure import GXDLMSSecureClient

from dcu.cosem import axdr, data
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, UNPROTECTED, ServerAssociation
from dcu.cosem.security import KEYED, Framing
from dcu.credentials import Secret
from dcu.errors import PolicyViolated
from dcu.link import wrapper
from tests.cosem.small_meter import (
    CLIENT,
    CLIENT_TITLE,
    DEDICATED_CONTEXTS,
    DISCONNECT,
    ENERGY,
    GENERAL_CONTEXTS,
    KEYS,
    LIMIT,
    Pair,
    context_of,
    protection_of,
    protection_row,
)

from .gurux_client import (
    GENERAL_PROTECTION,
    ROWS,
    SETTINGS,
    Gurux,
    Served,
    general_row,
    limit,
    load_profile,
    register,
    relay,
    rows_of,
    secured,
)

GLOBAL, DEDICATED = 0xDB, 0xDC
CIPHERED = [context for context in SETTINGS if context.startswith("gmac") and context_of(context)[1].request]
LIMITED = (LIMIT, axdr.encode(data.u32(2500)))


def claim(section, row, **more):
    return pytest.mark.conforms(section, row, peer="gurux-dlms client", link="wrapper", **more)


@claim("Protection", general_row)
@pytest.mark.parametrize(
    "terms", [{"conformance": GENERAL_PROTECTION}, {"framing": Framing.GENERAL_GLOBAL}], ids=["may", "must"]
)
@pytest.mark.parametrize("context", CIPHERED)
def test_gurux_reads_writes_and_calls_in_general_ciphering(context, terms):
    """(gurux) Its proof of HLS comes under its own tag, in glo-, though general ciphering was agreed on."""
    gurux = Gurux(context, room=400, **terms).associate()
    opening = len(gurux.answers)
    assert gurux.answers[-1][0] == 0xCF
    assert gurux.value(register()) == 123_456_789
    assert gurux.ask(gurux.client.write(limit(2500), 2)).error == 0
    assert gurux.ask(relay().remoteDisconnect(gurux.client)).error == 0
    assert rows_of(gurux.ask(gurux.client.read(load_profile(), 2))) == ROWS
    assert gurux.meter.done == [LIMITED, (DISCONNECT, axdr.encode(data.i8(0)))]
    assert {answer[0] for answer in gurux.answers[opening:]} == {DEDICATED if "dedicated" in context else GLOBAL}
    gurux.ask(gurux.client.releaseRequest())
    assert not gurux.server.associated(CLIENT)
    assert gurux.server.refused.total == gurux.turned_down


def test_a_meter_that_takes_nothing_but_general_ciphering_takes_gurux_with_a_password():
    gurux = Gurux("low, ciphered", framing=Framing.GENERAL_GLOBAL).associate()
    assert gurux.value(register()) == 123_456_789
    assert [answer[0] for answer in gurux.answers] == [0x61, GLOBAL]


# --- what it cannot open

FOREIGN = [
    context
    for context in (*GENERAL_CONTEXTS, *DEDICATED_CONTEXTS)
    if protection_of(context)["signed"] or protection_of(context)["framing"] in KEYED
]


def unless(what):
    """The row of a context of which `what` holds."""
    return lambda context: protection_row(context) if what(protection_of(context)) else None


@claim("Protection", unless(lambda how: how["signed"]), defect="it does not know general-signing")
@claim(
    "Protection",
    unless(lambda how: not how["signed"]),
    defect="it sends no general-ciphering, and opens none: its parameters have no setSystemTitle",
)
@pytest.mark.parametrize("context", FOREIGN)
def test_gurux_opens_neither_general_ciphering_nor_general_signing(context):
    """What our client is answered, handed to a gurux with the same keys. (gurux) None of its settings makes either."""
    pair, held = Pair(context).associated(), context_of(context)[3]
    pair.run(pair.client.get(ENERGY))
    client = GXDLMSSecureClient(True, CLIENT, 1, GXAuthentication.NONE, None, InterfaceType.WRAPPER)
    secured(client, held, CLIENT_TITLE).settings.sourceSystemTitle = held.system_title
    signed = protection_of(context)["signed"]
    assert pair.answered[-1][0] == (0xDF if signed else 0xDD)
    kind, says = (ValueError, "Invalid Command") if signed else (AttributeError, "setSystemTitle")
    with pytest.raises(kind, match=says):
        client.getData(wrapper.encode(1, CLIENT, pair.answered[-1]), GXReplyData(), GXReplyData())


class Compressing(GXDLMSSecureClient, IGXCompressionNotifier):
    """(gurux) It leaves V.44 to whoever uses it, and takes what he makes for it: here, what zlib makes."""

    def onCompression(self, args):  # noqa: N802
        args.outputData = zlib.compress(bytes(args.inputData))


@claim("Protection", "compression (V.44)", defect="it leaves V.44 to its user; what it marks as compressed is refused")
def test_what_gurux_marks_as_compressed_is_refused_by_name():
    gurux = Gurux("gmac, global key").associate()
    asking = Compressing(True, CLIENT, 1, GXAuthentication.NONE, None, InterfaceType.WRAPPER)
    asking.settings.cipher = gurux.client.ciphering
    asking.settings.negotiatedConformance = gurux.client.negotiatedConformance
    asking.settings.connected = gurux.client.settings.connected
    asking.compressionOptions.enableCompression = True
    (frame,) = asking.write(limit(2500), 2)
    assert wrapper.decode(bytes(frame)).apdu[2] == 0xB0  # of its security control, the bit of compression is set
    with pytest.raises(GXDLMSExceptionResponse):
        gurux.ask(frame)
    assert "compression (V.44) is not supported" in str(gurux.server.refused.last)
    assert gurux.meter.done == []
    assert gurux.value(register()) == 123_456_789


# --- pre-established


def standing(policy, *, keys=KEYS, held=KEYS, **terms):
    """A gurux client in an association that nobody opened; keys: the server's, and `held` gurux's."""
    client = GXDLMSSecureClient(True, CLIENT, 1, GXAuthentication.NONE, None, InterfaceType.WRAPPER)
    if policy.request:
        secured(client, held, CLIENT_TITLE).settings.sourceSystemTitle = held.system_title
    return Served(
        client,
        ServerAssociation(keys=keys, client_title=CLIENT_TITLE, policy=policy, pre_established=True, **terms),
    )


def asked_without_opening(gurux):
    assert gurux.value(register()) == 123_456_789
    assert gurux.ask(gurux.client.write(limit(2500), 2)).error == 0
    assert gurux.meter.done == [LIMITED]
    assert gurux.server.refused.total == 0
    return [answer[0] for answer in gurux.answers]


@claim("Association", "pre-established, plain")
def test_gurux_asks_in_an_association_that_stands():
    assert asked_without_opening(standing(UNPROTECTED)) == [0xC4, 0xC5]


@claim("Association", "pre-established, ciphered")
@pytest.mark.parametrize("general", [False, True], ids=["glo-", "general-glo"])
def test_gurux_asks_ciphered_in_an_association_that_stands(general):
    gurux = standing(AUTHENTICATED_ENCRYPTED)
    if general:
        gurux.client.serverSystemTitle = KEYS.system_title
    assert asked_without_opening(gurux) == ([GLOBAL, GLOBAL] if general else [0xCC, 0xCD])


@claim("Association", "pre-established, broadcast", defect="it never says that a frame is under the broadcast key")
def test_gurux_does_not_broadcast():
    """(gurux) Given the broadcast key in place of the other, it does not set the bit that says so."""
    keys = replace(KEYS, broadcast=Secret(bytes(range(16, 32))))
    gurux = standing(AUTHENTICATED_ENCRYPTED, keys=keys, held=replace(keys, guek=keys.broadcast), broadcast=True)
    (frame,) = gurux.client.write(limit(2500), 2)
    request = wrapper.decode(bytes(frame)).apdu
    assert request[2] == 0x30
    assert gurux.server.receive(CLIENT, request) is None
    assert isinstance(gurux.server.refused.last, PolicyViolated)
    assert gurux.meter.done == []
