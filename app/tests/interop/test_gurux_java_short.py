"""The Gurux Java library by short names, as a client of our server and as a meter for our client.

Where a test meets a defect of its own, it says so: "(gurux)".
"""

import pytest

from dcu.cosem import axdr, data
from dcu.errors import AccessDenied, CounterReplayed, LinkTimeout, ServiceRefused
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

from .gurux_java import TEXT, client, dotted, meter, visitor
from .java import No

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


# --- its client


@refers("client")
@pytest.mark.parametrize("context", OPEN)
def test_gurux_java_reads_writes_and_calls(gurux_client, context):
    with client(gurux_client, context, names=NAMES) as peer:
        assert peer.say("get", dotted(ENERGY)) == "123456789"
        assert peer.say("get", dotted(PROFILE)).count("[") == 1 + 40
        peer.say("set", dotted(LIMIT), "u32:2500")
        peer.say("act", dotted(DISCONNECT), "i8:0")
        zero = axdr.encode(data.i8(0))
        assert peer.door.meter.done == [(LIMIT, axdr.encode(data.u32(2500))), (DISCONNECT, zero)]


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
@pytest.mark.parametrize("context", OPEN)
async def test_a_gurux_java_meter_is_read_and_written(gurux_meter, context):
    async with meter(gurux_meter, context, short=True) as visit:
        assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW
        text = axdr.decode(await visit(lambda session: session.get(TEXT))).value
        assert text == bytes(at % 251 for at in range(3000))
        await visit(lambda session: session.set(LIMIT, axdr.encode(data.u32(2500))))
        assert axdr.decode(await visit(lambda session: session.get(LIMIT))).value == 2500
        await visit(lambda session: session.release())
    assert "LIMIT 2500 NOTE  RELAY true" in gurux_meter.say("state")


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
