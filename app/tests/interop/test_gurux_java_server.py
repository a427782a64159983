"""Our client against a meter made of the Gurux Java library (org.gurux:gurux.dlms 4.0.47, GPL-2.0): HLS 3 to 7.

Its program is ci/interop/gurux, built with Maven and run as a process of its own (`make interop`).

Keys are published or made up (tests/cosem/suite_keys). Where a test meets a defect of its own, it says so: "(gurux)".
"""

import pytest

from dcu.cosem import axdr, data
from dcu.errors import AuthenticationFailed, MalformedAnswer
from tests.cosem.small_meter import DISCONNECT, ENERGY, ENERGY_NOW, LIMIT, association_row, protection_row

from .gurux_java import TEXT, attempts, meter

CONTEXTS = (
    "none",
    "low",
    "low, ciphered",
    "high, plain services",
    "high, global key",
    "md5, plain services",
    "md5, global key",
    "sha1, plain services",
    "sha1, global key",
    "sha256, plain services",
    "sha256, global key",
    "gmac, plain services",
    "gmac, global key",
    "gmac, dedicated key",
    "gmac, suite 1, global key",
    "gmac, suite 1, dedicated key",
    "gmac, suite 2, global key",
    "gmac, suite 2, dedicated key",
)


@pytest.mark.conforms("Association", association_row, peer="Gurux Java server", link="wrapper")
@pytest.mark.conforms("Protection", protection_row, peer="Gurux Java server", link="wrapper")
@pytest.mark.parametrize("context", CONTEXTS)
async def test_a_gurux_java_meter_is_read_written_and_commanded(gurux_meter, context):
    async with meter(gurux_meter, context) as visit:
        assert await visit(lambda session: session.get(ENERGY)) == ENERGY_NOW
        text = axdr.decode(await visit(lambda session: session.get(TEXT))).value
        assert text == bytes(at % 251 for at in range(3000))
        await visit(lambda session: session.set(LIMIT, axdr.encode(data.u32(2500))))
        assert axdr.decode(await visit(lambda session: session.get(LIMIT))).value == 2500
        await visit(lambda session: session.action(DISCONNECT, axdr.encode(data.i8(0))))
        await visit(lambda session: session.release())
    assert "LIMIT 2500 NOTE  RELAY false" in gurux_meter.say("state")


def _defect(row, defect):
    return pytest.mark.conforms("Association", row, peer="Gurux Java server", link="wrapper", defect=defect)


@_defect("HLS 7 ECDSA, suite 1", "it takes our proof; its own is a signature of something else")
async def test_gurux_java_takes_our_signature_and_its_own_does_not_fit(gurux_meter):
    """(gurux) No order of titles and challenges verifies. And it prints its private key."""
    for left in attempts():
        with pytest.raises(AuthenticationFailed) as failed:
            async with meter(gurux_meter, "ecdsa, suite 1, plain services"):
                pass
        if "the signature of system title" in str(failed.value):
            break
        assert left
    assert "AE 55 41 4F" in gurux_meter.say("printed"), "the published key that it was given"


@_defect("HLS 7 ECDSA, suite 2", "an AARE of 133 bytes says its length in one byte")
@pytest.mark.parametrize("suite", [1, 2])
async def test_gurux_java_writes_the_length_of_a_long_aare_in_one_byte(gurux_meter, suite):
    """(gurux) 61 85 where BER has 61 81 85: with the 32 bytes of an HLS 7 challenge and ciphering it is that long."""
    with pytest.raises(MalformedAnswer, match="0x85 starts no length"):
        async with meter(gurux_meter, f"ecdsa, suite {suite}, global key"):
            pass
