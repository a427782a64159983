"""jDLMS (org.openmuc:jdlms 1.8.0, GPL-3.0) as a client of our server: LLS and HLS 5, by logical and by short names.

And what it has not, on either side, by its own account. Where a test meets a defect of its own, it says so: "(jDLMS)".
"""

from dataclasses import replace

import pytest

from dcu.collect.dialogue import converse
from dcu.cosem import acse, apdu, axdr, data
from dcu.cosem.apdu import AccessGet, Conformance
from dcu.cosem.apdu.short import InformationReport, Name
from dcu.cosem.security import Framing
from dcu.cosem.short import ShortSession
from dcu.errors import LinkClosed, MalformedAnswer, PolicyViolated, ServiceRefused
from dcu.link import tcp
from dcu.link.channel import StreamChannel
from tests.cosem.small_meter import (
    CLIENT,
    DEDICATED_CONTEXTS,
    DISCONNECT,
    ENERGY,
    FRAMED,
    GENERAL_CONTEXTS,
    LIMIT,
    PROFILE,
    RECONNECT,
    association_row,
    protection_of,
    protection_row,
)
from tests.cosem.suite_keys import keys
from tests.cosem.test_short import NAMES

from .gurux_java import dotted
from .java import No
from .jdlms import ASSOCIATIONS, GUEK, METER_TITLE, SECURED, counter, session, visitor

PEERS = ("jDLMS server", "jDLMS client")
GENERAL = [each for each in GENERAL_CONTEXTS if protection_of(each) != {"framing": Framing.GLOBAL, "signed": False}]
contexts = pytest.mark.parametrize("context", ["none", "low", "gmac, global key"])


def reads_writes_and_calls(client, door):
    assert client.say("get", dotted(ENERGY)) == "123456789"
    assert client.say("get", dotted(PROFILE)).count("[") == 1 + 40
    assert client.say("get", dotted(ENERGY), dotted(LIMIT)) == "123456789 1000"
    assert client.say("set", dotted(LIMIT), "u32:7") == "[SUCCESS]"
    assert client.say("act", dotted(DISCONNECT), "i8:0") == "SUCCESS=0"
    assert door.meter.done == [(LIMIT, axdr.encode(data.u32(7))), (DISCONNECT, axdr.encode(data.i8(0)))]
    assert door.server.refused.total == 0


@pytest.mark.conforms("Association", association_row, peer="jDLMS client", link="wrapper")
@pytest.mark.conforms("Protection", protection_row, peer="jDLMS client", link="wrapper")
@contexts
def test_jdlms_visits_our_meter(jdlms_client, context):
    with visitor(jdlms_client, context) as door:
        reads_writes_and_calls(jdlms_client, door)


# --- by short names


def short_row(context):
    return f"SN, {association_row(context)}, {protection_row(context)}"


def served(row, defect=""):
    return pytest.mark.conforms("Service", f"{row}, SN", peer="jDLMS client", link="wrapper", defect=defect)


@pytest.mark.conforms("Referencing", short_row, peer="jDLMS client", link="wrapper")
@served("GET")
@served("GET in blocks")
@served("GET with list")
@served("SET")
@served("ACTION")
@served("parameterised access")
@contexts
def test_jdlms_visits_our_meter_by_short_names(jdlms_client, context):
    """Its proof of HLS, and every call of a method, is a read with the parameter as its selection."""
    with visitor(jdlms_client, context, NAMES, takes=200) as door:
        reads_writes_and_calls(jdlms_client, door)


@served("SET with list")
@contexts
def test_jdlms_writes_a_list_by_short_names(jdlms_client, context):
    with visitor(jdlms_client, context, NAMES) as door:
        assert jdlms_client.say("set", dotted(LIMIT), "u32:7", dotted(LIMIT), "u32:8") == "[SUCCESS, SUCCESS]"
        assert door.meter.done == [(LIMIT, axdr.encode(data.u32(7))), (LIMIT, axdr.encode(data.u32(8)))]


@served("ACTION with list")
@contexts
def test_jdlms_calls_methods_of_a_list_by_short_names(jdlms_client, context):
    """In one read, each with its parameter."""
    with visitor(jdlms_client, context, NAMES) as door:
        jdlms_client.say("get", dotted(LIMIT))  # before which it reads the object list
        before = len(door.heard)
        assert jdlms_client.say("act", dotted(DISCONNECT), "i8:0", dotted(RECONNECT), "i8:0") == "SUCCESS=0 SUCCESS=0"
        zero = axdr.encode(data.i8(0))
        assert door.meter.done == [(DISCONNECT, zero), (RECONNECT, zero)]
        assert len(door.heard) == before + 1


@served("event-notification, information-report", "it leaves them unheard")
def test_jdlms_hears_no_report(jdlms_client):
    """(jDLMS) It is decoded and dropped."""
    with visitor(jdlms_client, "none", NAMES) as door:
        door.tell(InformationReport(b"", (Name(NAMES.attribute(LIMIT)),), (axdr.encode(data.u32(77)),)))
        assert jdlms_client.say("get", dotted(LIMIT)) == "1000"
    assert "report" not in jdlms_client.say("offers").lower()


@pytest.mark.conforms(
    "Referencing",
    lambda name: {
        "none": "SN, without authentication, none",
        "low": "SN, LLS, none",
        SECURED: "SN, HLS 5 GMAC, glo-, suite 0",
    }[name],
    peer="jDLMS server",
    link="wrapper",
    defect="its AARE says that it goes by logical names",
)
@pytest.mark.parametrize("name", ASSOCIATIONS)
async def test_a_jdlms_meter_says_that_it_goes_by_logical_names(jdlms_meter, name):
    """(jDLMS) VAA name 0x0007, where by short names it is 0xFA00; with LLS, the context of ciphered logical names."""
    terms = replace(ASSOCIATIONS[name], short=True)
    stream = await tcp.connect("127.0.0.1", jdlms_meter.short)
    channel = StreamChannel(stream, client=terms.client_sap, server=1)
    try:
        with pytest.raises((MalformedAnswer, PolicyViolated), match=r"VAA name 0x7|the meter gave LN_CIPHERED"):
            await converse(ShortSession(terms, counter=counter).associate(), channel, timeout=5)
    finally:
        await channel.close()


# --- what it has not


LACKS = {
    Conformance.ACCESS: "ACCESS",
    Conformance.GENERAL_BLOCK_TRANSFER: "general-block-transfer",
    Conformance.EVENT_NOTIFICATION: "event-notification, information-report",
    Conformance.DATA_NOTIFICATION: "push, none",
}


@pytest.fixture(scope="module")
def proposed(jdlms_client):
    """What its client says that it can do."""
    with visitor(jdlms_client, "none") as door:
        said = apdu.decode(acse.decode(door.heard[0]).user_information).conformance
    assert said & Conformance.GET
    return said


@pytest.fixture
async def granted(jdlms_meter):
    """What its meter says that it can do; and what that does not, our client does not ask for."""
    everything = ~Conformance(0)
    async with session(jdlms_meter.wrapper, replace(ASSOCIATIONS["none"], conformance=everything)) as meter:
        with pytest.raises(ServiceRefused, match="did not negotiate ACCESS"):
            await meter.do(meter.client.access([AccessGet(ENERGY)]))
        return meter.client.negotiated.conformance


def lacks(section, row, *peers):
    def mark(test):
        for peer in peers or PEERS:
            test = pytest.mark.conforms(section, row, peer=peer, defect="it does not have it, and says so")(test)
        return test

    return mark


@lacks("Service", lambda lacking: LACKS[lacking])
@pytest.mark.parametrize("lacking", LACKS)
def test_neither_side_says_that_it_could(proposed, granted, lacking):
    assert not (proposed | granted) & lacking


@lacks("Association", association_row)
@pytest.mark.parametrize(
    "context",
    [
        *(f"{kind}, plain services" for kind in ("high", "md5", "sha1", "sha256")),
        *(f"ecdsa, suite {suite}, plain services" for suite in (1, 2)),
    ],
)
def test_of_hls_it_has_the_fifth_only(jdlms_client, context):
    assert "[NONE, LOW, HLS5_GMAC]" in jdlms_client.say("offers")


def numbered(peer):
    defect = "AES-256 is suite 1 to it, and there is no other"
    return pytest.mark.conforms(
        "Protection", lambda suite: f"glo-, suite {suite}", peer=peer, link="wrapper", defect=defect
    )


@numbered("jDLMS client")
@pytest.mark.parametrize("suite", [1, 2])
def test_its_client_numbers_suites_otherwise(jdlms_client, suite):
    """(jDLMS) The security control byte says 0 for keys of 128 bits, and 1 for those of 256."""
    with pytest.raises(No, match="REJECTED_PERMANENT"), visitor(jdlms_client, f"gmac, suite {suite}, global key"):
        pytest.fail("associated")


@numbered("jDLMS server")
@pytest.mark.parametrize("suite", [1, 2])
async def test_its_meter_numbers_suites_otherwise(jdlms_meter, suite):
    held = replace(keys(suite)[0], system_title=METER_TITLE)
    terms = replace(ASSOCIATIONS[SECURED], client_sap={1: 18, 2: 20}[suite], keys=held)
    with pytest.raises(LinkClosed):
        async with session(jdlms_meter.wrapper, terms):
            pytest.fail("associated")


@lacks("Protection", "ded-, suite 0", "jDLMS client")
def test_its_client_gives_no_dedicated_key(jdlms_client):
    with visitor(jdlms_client, "gmac, global key") as door:
        assert door.server._links[CLIENT].ciphering.framing is Framing.GLOBAL


@lacks("Protection", protection_row)
@pytest.mark.parametrize("context", [*GENERAL, *DEDICATED_CONTEXTS])
def test_neither_side_knows_general_protection(proposed, granted, context):
    assert not (proposed | granted) & Conformance.GENERAL_PROTECTION


@pytest.mark.conforms(
    "Protection",
    lambda framing: f"{FRAMED[framing]}, suite 0",
    peer="jDLMS server",
    link="wrapper",
    defect="it closes the connection",
)
@pytest.mark.parametrize("framing", [Framing.GENERAL_GLOBAL, Framing.IDENTIFIED, Framing.WRAPPED])
async def test_its_meter_closes_the_connection_over_general_protection(jdlms_meter, framing):
    """(jDLMS) It deciphers what it takes for a tag of a service."""
    terms = ASSOCIATIONS[SECURED]
    with pytest.raises(LinkClosed):
        async with session(jdlms_meter.wrapper, replace(terms, keys=replace(terms.keys, master=GUEK), framing=framing)):
            pytest.fail("associated")
