"""The Gurux Java library over HDLC, as a client of our server and as a meter for our client; over TCP.

Where a test meets a defect of its own, it says so: "(gurux)".
"""

import pytest

from dcu.cosem import axdr, data
from dcu.errors import LinkTimeout
from dcu.link.hdlc_parameters import Parameters
from tests.cosem.small_meter import ENERGY, ENERGY_NOW, LIMIT, PROFILE, association_row, protection_row

from .door import NOTE
from .gurux_java import TEXT, client, dotted, meter

LONG = bytes(at % 251 for at in range(500))
contexts = pytest.mark.parametrize("context", ["none", "low", "gmac, global key"])


def links(row, peer, defect=""):
    return pytest.mark.conforms("Link", row, peer=f"Gurux Java {peer}", link="TCP", defect=defect)


@links("HDLC", "client")
@links("HDLC, segmentation", "client")
@pytest.mark.conforms("Association", association_row, peer="Gurux Java client", link="HDLC")
@pytest.mark.conforms("Protection", protection_row, peer="Gurux Java client", link="HDLC")
@contexts
def test_its_client_visits_our_meter(gurux_client, context):
    """A profile and a note go in segments of 128 bytes."""
    with client(gurux_client, context, hdlc=True) as peer:
        assert peer.say("get", dotted(ENERGY)) == "123456789"
        assert peer.say("get", dotted(PROFILE)) == f"[{','.join(f'[{row},{row}]' for row in range(40))}]"
        peer.say("set", dotted(NOTE), f"octets:{LONG.hex()}")
        assert peer.door.meter.done == [(NOTE, axdr.encode(data.octets(LONG)))]
        peer.say("release")
        assert not peer.door.server.associated(1)


@links("HDLC", "server")
@links("HDLC, segmentation", "server")
@pytest.mark.conforms("Association", association_row, peer="Gurux Java server", link="HDLC")
@pytest.mark.conforms("Protection", protection_row, peer="Gurux Java server", link="HDLC")
@pytest.mark.parametrize("size", [128, 1024])
@contexts
async def test_our_client_visits_its_meter(gurux_meter, context, size):
    async with meter(gurux_meter, context, "pdu=2000", hdlc=Parameters(size, size, 1, 1)) as visit:
        assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW
        assert len(await visit(lambda session: session.get(TEXT))) == 3004
        await visit(lambda session: session.set(LIMIT, axdr.encode(data.u32(2500))))
        await visit(lambda session: session.set(NOTE, axdr.encode(data.octets(LONG))))
        await visit(lambda session: session.release())
    assert f"LIMIT 2500 NOTE {LONG.hex()} " in gurux_meter.say("state")


@links("HDLC, segmentation", "server", "it agrees to a window of several frames, and takes the first of them")
async def test_of_a_window_of_frames_it_takes_the_first(gurux_meter):
    """(gurux) Of five frames in a row it confirms one, and that only when it is asked: an APDU takes as many polls."""
    with pytest.raises(LinkTimeout):
        async with meter(gurux_meter, "none", "pdu=2000", hdlc=Parameters(128, 128, 7, 7), patience=1.0) as visit:
            await visit(lambda session: session.set(NOTE, axdr.encode(data.octets(LONG))))
    assert "LIMIT 1000 NOTE  " in gurux_meter.say("state")
