"""The Gurux Java library by short names, as a client of our server and as a meter for our client.

Where a test meets a defect of its own, it says so: "(gurux)".
"""

import pytest

from dcu.cosem import axdr, data
from dcu.cosem.apdu import Conformance, DataAccessResult
from dcu.cosem.apdu.short import InformationReport, Name
from dcu.errors import AccessDenied, CounterReplayed, LinkTimeout, MalformedAnswer, ServiceRefused
from tests.cosem.small_meter import (
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    LIMIT,
    PROFILE,
    association_row,
    context_of,
    protection_row,
)
from tests.cosem.test_short import NAMES

from .door import NOTE
from .gurux_java import TEXT, client, dotted, meter, visitor
from .java import No

SMALL = 200  # bytes that either side takes
SEVEN = axdr.encode(data.u32(7))
OPEN = ("none", "low")
PROVEN = (  # by HLS
    "md5, plain services",
    "md5, global key",
    "sha1, plain services",
    "sha1, global key",
    "sha256, plain services",
    "sha256, global key",
    "gmac, plain services",
    "gmac, global key",
    "gmac, dedicated key",
    "gmac, suite 2, dedicated key",
    "ecdsa, suite 1, plain services",
)


def refers(peer, defect=""):
    def row(context):
        return f"SN, {association_row(context)}, {protection_row(context)}"

    return pytest.mark.conforms("Referencing", row, peer=f"Gurux Java {peer}", link="wrapper", defect=defect)


def serves(row, peer, defect=""):
    return pytest.mark.conforms("Service", f"{row}, SN", peer=f"Gurux Java {peer}", link="wrapper", defect=defect)


# --- its client


@refers("client")
@serves("GET", "client")
@serves("GET with list", "client")
@serves("SET", "client")
@serves("ACTION", "client")
@pytest.mark.parametrize("context", OPEN)
def test_gurux_java_reads_writes_and_calls(gurux_client, context):
    with client(gurux_client, context, names=NAMES) as peer:
        assert peer.say("get", dotted(ENERGY)) == "123456789"
        assert peer.say("gets", dotted(ENERGY), dotted(LIMIT)) == "[123456789,1000]"
        assert peer.say("get", dotted(PROFILE)).count("[") == 1 + 40
        peer.say("set", dotted(LIMIT), "u32:2500")
        peer.say("act", dotted(DISCONNECT), "i8:0")
        zero = axdr.encode(data.i8(0))
        assert peer.door.meter.done == [(LIMIT, axdr.encode(data.u32(2500))), (DISCONNECT, zero)]


@serves("GET in blocks", "client", "it fetches them all, and takes the value for none")
def test_gurux_java_makes_nothing_of_the_blocks_that_it_reads(gurux_client):
    """(gurux) It expects the value alone in them; they hold the answer as it would be whole, from the number of results
    on (jDLMS, too, reads it so)."""
    with client(gurux_client, "none", "pdu=200", names=NAMES) as peer:
        heard = len(peer.door.heard)
        assert peer.say("get", dotted(PROFILE)) == "none"
        assert len(peer.door.heard) == heard + 3
        assert peer.door.server.refused.total == 0


@serves("SET with list", "client", "it says that it writes by 4, and then that it writes so many names")
def test_what_gurux_java_writes_in_a_list_is_not_to_be_read(gurux_client):
    """(gurux) A kind of access (4: parameterised) stands before the names, where there is none."""
    with client(gurux_client, "none", names=NAMES) as peer:
        with pytest.raises(No, match="Service not supported"):
            peer.say("sets", dotted(LIMIT), "u32:7")
        assert peer.door.heard[-1][:6].hex() == "060104020208"
        assert peer.door.meter.done == []


@serves("unconfirmed SET", "client", "it asks for an answer all the same")
def test_gurux_java_writes_nothing_unconfirmed(gurux_client):
    """(gurux) A write-request, where an unconfirmed-write-request is due."""
    with client(gurux_client, "none", names=NAMES) as peer:
        peer.say("unconfirmed", dotted(LIMIT), "u32:9")
        peer.say("get", dotted(LIMIT))
        assert peer.door.meter.done == [(LIMIT, axdr.encode(data.u32(9)))]
        heard = {apdu[0] for apdu in peer.door.heard}
        assert 0x06 in heard
        assert 0x16 not in heard


@serves("event-notification, information-report", "client")
@pytest.mark.parametrize("first", [True, False], ids=["before an answer", "by itself"])
def test_gurux_java_hears_a_report(gurux_client, first):
    with client(gurux_client, "none", names=NAMES) as peer:
        name = Name(NAMES.attribute(LIMIT))
        peer.door.tell(InformationReport(b"", (name,), (axdr.encode(data.u32(77)),)))
        if first:
            assert peer.say("get", dotted(LIMIT)) == "1000"
        assert peer.say("hear") == "0.0.94.91.0.255 2 77"


@refers("client", "it ciphers two requests by short names under one invocation counter")
@pytest.mark.parametrize("context", ["low, ciphered"])
def test_gurux_java_reuses_its_counter(gurux_client, context):
    """(gurux) Two requests under one counter, which is one nonce used twice: the second one is refused."""
    with client(gurux_client, context, names=NAMES) as peer:
        with pytest.raises(No, match="Invocation counter is invalid"):
            peer.say("get", dotted(ENERGY))
        assert peer.door.server.refused.counter == 1


@refers("client", "it writes its proof, and an answer to a write brings no proof back")
@pytest.mark.parametrize("context", PROVEN)
def test_gurux_java_writes_its_proof_where_it_has_to_be_read(gurux_client, context):
    """(gurux) Ours takes it; but what a method returns is got by reading it, with the parameter as its selection."""
    with visitor(gurux_client, context, names=NAMES) as peer:
        with pytest.raises(No, match="Server to Client do not match"):
            peer.open()
        assert peer.door.server.associated(1)
        if context_of(context)[1].request:
            assert peer.door.heard[-1][0] in (0x26, 0x46)  # glo- or ded-write-request
        else:
            assert (peer.door.heard[-1][0], peer.door.said[-1].hex()) == (0x06, "0d0100")


# --- its meter


@refers("server")
@serves("GET", "server")
@serves("GET in blocks", "server")
@serves("SET", "server")
@pytest.mark.parametrize("context", OPEN)
async def test_a_gurux_java_meter_is_read_and_written(gurux_meter, context):
    async with meter(gurux_meter, context, short=True, max_pdu=SMALL) as visit:
        assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW
        text = axdr.decode(await visit(lambda session: session.get(TEXT))).value
        assert text == bytes(at % 251 for at in range(3000))
        await visit(lambda session: session.set(LIMIT, axdr.encode(data.u32(2500))))
        assert axdr.decode(await visit(lambda session: session.get(LIMIT))).value == 2500
        await visit(lambda session: session.release())
    assert "LIMIT 2500 NOTE  RELAY true" in gurux_meter.say("state")


@serves("GET with list", "server")
@serves("SET with list", "server")
async def test_lists_are_read_and_written(gurux_meter):
    async with meter(gurux_meter, "none", short=True) as visit:
        results = await visit(
            lambda session: session.set_list([(LIMIT, SEVEN), (NOTE, axdr.encode(data.octets(b"7")))])
        )
        assert results == (DataAccessResult.SUCCESS,) * 2
        assert await visit(lambda session: session.get_list([(ENERGY, None), (LIMIT, None)])) == (ENERGY_NOW, SEVEN)
    assert "LIMIT 7 NOTE 37 " in gurux_meter.say("state")


@serves("GET with list", "server", "in blocks, it leaves out how many there are, and whether the first is a value")
async def test_a_list_in_blocks_is_not_to_be_read(gurux_meter):
    """(gurux) From the second value on it says that it is one."""
    with pytest.raises(MalformedAnswer, match="results for 2 attributes"):
        async with meter(gurux_meter, "none", short=True, max_pdu=SMALL) as visit:
            await visit(lambda session: session.get_list([(ENERGY, None), (TEXT, None)]))


@serves("SET in blocks", "server", "it does not have it, and says so")
async def test_it_takes_no_blocks(gurux_meter):
    async with meter(gurux_meter, "none", f"pdu={SMALL}", short=True) as visit:
        assert not visit.session.negotiated.conformance & Conformance.BLOCK_TRANSFER_WITH_SET
        with pytest.raises(ServiceRefused, match="and no blocks"):
            await visit(lambda session: session.set(NOTE, axdr.encode(data.octets(bytes(500)))))


@serves("unconfirmed SET", "server", "it does nothing, and answers with nonsense")
async def test_what_is_written_unconfirmed_is_answered_with_nonsense(gurux_meter):
    """(gurux) An error of its own, without a tag."""
    async with meter(gurux_meter, "none", short=True) as visit:
        await visit.channel.send(visit.session.unconfirmed([(LIMIT, SEVEN)]))
        assert (await visit.channel.receive()).hex() == "00010109"
    assert "LIMIT 1000 " in gurux_meter.say("state")


@serves("event-notification, information-report", "server")
async def test_its_report_is_heard_before_an_answer(gurux_meter):
    async with meter(gurux_meter, "none", short=True) as visit:
        await visit(lambda session: session.set(NOTE, axdr.encode(data.octets(b"told"))))
        assert gurux_meter.say("event") == "1"
        assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW
        (told,) = visit.session.notifications
    name = Name(visit.session.names.attribute(NOTE))
    assert told.notification == InformationReport(b"", (name,), (axdr.encode(data.octets(b"told")),))


@serves("ACTION", "server", "it denies every method")
async def test_gurux_java_calls_no_method(gurux_meter):
    """(gurux) It answers each with read-write-denied, whatever its program grants."""
    with pytest.raises(AccessDenied, match="read-write-denied"):
        async with meter(gurux_meter, "none", short=True) as visit:
            await visit(lambda session: session.action(DISCONNECT, axdr.encode(data.i8(0))))
    assert "RELAY true" in gurux_meter.say("state")


@refers("server", "it ciphers two answers by short names under one invocation counter")
@pytest.mark.parametrize("context", ["low, ciphered"])
async def test_a_gurux_java_meter_reuses_its_counter(gurux_meter, context):
    """(gurux) Two answers under one nonce: the second one is refused."""
    with pytest.raises(CounterReplayed):
        async with meter(gurux_meter, context, short=True) as visit:
            await visit(lambda session: session.get(ENERGY))


@refers("server", "it does not serve the third pass")
@pytest.mark.parametrize("context", PROVEN)
async def test_gurux_java_serves_no_third_pass(gurux_meter, context):
    """(gurux) Reply_to_HLS_authentication of class 12 is not there; ciphered, it reuses its counter even to say so, and
    where there is a dedicated key, it says nothing."""
    _, policy, dedicated, _, _ = context_of(context)
    with pytest.raises(LinkTimeout if dedicated else CounterReplayed if policy.request else ServiceRefused):
        async with meter(gurux_meter, context, short=True, patience=0.5 if dedicated else 5.0):
            pass
