"""General protection between us and the Gurux Java library, both ways: what it can do, and what it says that it can.

Where a test meets a defect of its own, it says so: "(gurux)". HLS 7 is not what is tried here: associations are opened
by LLS, or by HLS 5.
"""

import pytest

from dcu.cosem import axdr, data
from dcu.cosem.association import Authentication
from dcu.cosem.security import KEYED, Framing
from dcu.errors import DcuError, LinkClosed, LinkTimeout, PolicyViolated
from tests.cosem.small_meter import (
    DEDICATED_CONTEXTS,
    ENERGY,
    ENERGY_NOW,
    GENERAL_CONTEXTS,
    LIMIT,
    context_of,
    protection_of,
    protection_row,
)

from .gurux_java import attempts, client, dotted, meter
from .java import No


def framing(context):
    return protection_of(context)["framing"]


def scheme(context):
    return [f"scheme={KEYED_BY[framing(context)]}"] if framing(context) in KEYED_BY else []


GENERAL = [f"suite {suite}, general_global{how}" for suite in (0, 1, 2) for how in ("", ", dedicated key")]
SIGNED = "suite 1, global, signed"
KEYED_BY = {Framing.ONE_PASS: "ONE_PASS_DIFFIE_HELLMAN", Framing.STATIC: "STATIC_UNIFIED_MODEL"}
ALL = (*GENERAL_CONTEXTS, *DEDICATED_CONTEXTS)
UNSIGNED = [each for each in GENERAL_CONTEXTS if framing(each) in KEYED and not protection_of(each)["signed"]]
OTHERS = [each for each in ALL if protection_of(each)["signed"] and each != SIGNED]
SIGNS = "scheme=GENERAL_SIGNING"
kinds = pytest.mark.parametrize("kind", [Authentication.LOW, Authentication.GMAC])


def protects(peer, defect="", row=protection_row):
    return pytest.mark.conforms("Protection", row, peer=f"Gurux Java {peer}", link="wrapper", defect=defect)


# --- its client


@protects("client")
@kinds
@pytest.mark.parametrize("context", GENERAL)
def test_its_client_reads_and_writes(gurux_client, context, kind):
    """(gurux) Its proof of HLS comes under a tag of its own still, and under the global key."""
    with client(gurux_client, context, kind=kind) as peer:
        opened = len(peer.door.heard)
        assert peer.say("get", dotted(ENERGY)) == "123456789"
        peer.say("set", dotted(LIMIT), "u32:2500")
        assert peer.door.meter.done == [(LIMIT, axdr.encode(data.u32(2500)))]
        tag = 0xDC if context_of(context)[2] else 0xDB
        assert {apdu[0] for apdu in (*peer.door.heard[opened:], *peer.door.said[opened:])} == {tag}


@protects("client", row=protection_row(SIGNED))
def test_its_client_signs_and_verifies(gurux_client):
    for left in attempts():
        with client(gurux_client, SIGNED, SIGNS, kind=Authentication.LOW) as peer:
            try:
                assert peer.say("get", dotted(ENERGY)) == "123456789"
                peer.say("set", dotted(LIMIT), "u32:2500")
            except No:
                assert left, peer.door.server.refused
                continue
            assert peer.door.meter.done == [(LIMIT, axdr.encode(data.u32(2500)))]
            assert {apdu[0] for apdu in (*peer.door.heard[1:], *peer.door.said[1:])} == {0xDF}
            return


@protects("client", "it cannot ask for it")
@pytest.mark.parametrize("context", UNSIGNED)
def test_its_client_sends_general_glo_ciphering_whatever_key_it_was_told_to_agree_on(gurux_client, context):
    """(gurux) What makes general-ciphering is never reached; the keys and the scheme are taken, and not used."""
    with client(gurux_client, context, *scheme(context), kind=Authentication.LOW) as peer:
        with pytest.raises(No, match="Service not allowed"):
            peer.say("get", dotted(ENERGY))
        assert peer.door.heard[-1][0] == 0xDB
        assert peer.door.server.refused.policy == 1


@protects("client", "it signs what is under a tag of its own only, on P-256")
@pytest.mark.parametrize("context", OTHERS)
def test_its_client_signs_nothing_else(gurux_client, context):
    """(gurux) General-signing holds glo- or ded-, never general protection; and a signature on P-384 is cut."""
    why = "64 bytes, security suite 2 has 96" if "suite 2" in context else "is required"
    for left in attempts():
        with client(gurux_client, context, SIGNS, kind=Authentication.LOW) as peer:
            with pytest.raises(No, match="Service not allowed"):
                peer.say("get", dotted(ENERGY))
            assert peer.door.heard[-1][0] == 0xDF
            if why in str(peer.door.server.refused.last):
                return
            assert left


# --- its server


@protects("server")
@kinds
@pytest.mark.parametrize("context", GENERAL)
async def test_its_meter_is_read_and_written(gurux_meter, context, kind):
    async with meter(gurux_meter, context, kind=kind) as visit:
        assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW
        await visit(lambda session: session.set(LIMIT, axdr.encode(data.u32(2500))))
        await visit(lambda session: session.release())
    assert "LIMIT 2500 " in gurux_meter.say("state")


@protects("server", row=protection_row(SIGNED))
async def test_its_meter_verifies_and_signs(gurux_meter):
    for left in attempts():
        try:
            async with meter(gurux_meter, SIGNED, SIGNS, kind=Authentication.LOW) as visit:
                assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW
                await visit(lambda session: session.set(LIMIT, axdr.encode(data.u32(2500))))
        except DcuError:
            assert left
        else:
            break
    assert "LIMIT 2500 " in gurux_meter.say("state")


@protects("server", "it answers in general-glo-ciphering, with an error")
@pytest.mark.parametrize("context", UNSIGNED)
async def test_its_meter_opens_no_general_ciphering(gurux_meter, context):
    """(gurux) It wants an agreed key where another is named, fails over our ephemeral key before it uses it, and leaves
    the header out of what the tag covers."""
    with pytest.raises(PolicyViolated, match="an answer in GENERAL_GLOBAL ciphering"):
        async with meter(gurux_meter, context, *scheme(context), kind=Authentication.LOW) as visit:
            await visit(lambda session: session.get(ENERGY))


@protects("server", "it takes a signature over a tag of its own only, on P-256")
@pytest.mark.parametrize("context", OTHERS)
async def test_its_meter_takes_nothing_else_that_is_signed(gurux_meter, context):
    """(gurux) It looks for general protection inside of the signature in vain, fails, and fails over its own answer."""
    with pytest.raises((LinkClosed, LinkTimeout, PolicyViolated)):
        async with meter(gurux_meter, context, SIGNS, kind=Authentication.LOW, patience=0.5) as visit:
            await visit(lambda session: session.get(ENERGY))
