"""The Gurux Java library (org.gurux:gurux.dlms 4.0.47, GPL-2.0) as a client of our server: HLS 2 to 7, ciphered.

Its program is ci/interop/gurux, built with Maven and run as a process of its own (`make interop`).

Keys are published or made up (tests/cosem/suite_keys). Where a test meets a defect of its own, it says so: "(gurux)".
"""

import pytest

from dcu.cosem import axdr, data
from tests.cosem.small_meter import ENERGY, LIMIT, PROFILE, association_row, protection_row

from .gurux_java import attempts, client, dotted, visitor
from .java import No

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
    "gmac, global key",
    "gmac, dedicated key",
    "gmac, suite 1, global key",
    "gmac, suite 1, dedicated key",
    "gmac, suite 2, global key",
    "gmac, suite 2, dedicated key",
    "ecdsa, suite 1, plain services",
    "ecdsa, suite 1, global key",
)


@pytest.mark.conforms("Association", association_row, peer="Gurux Java client", link="wrapper")
@pytest.mark.conforms("Protection", protection_row, peer="Gurux Java client", link="wrapper")
@pytest.mark.parametrize("context", CONTEXTS)
def test_gurux_java_reads_and_writes(gurux_client, context):
    for left in attempts(signs="ecdsa" in context):
        try:
            visit(gurux_client, context)
        except No:
            assert left
        else:
            return


def visit(gurux_client, context):
    with client(gurux_client, context) as peer:
        assert peer.say("get", dotted(ENERGY)) == "123456789"
        assert peer.say("get", dotted(PROFILE)).count("[") == 1 + 40
        peer.say("set", dotted(LIMIT), "u32:2500")
        assert peer.door.meter.done == [(LIMIT, axdr.encode(data.u32(2500)))]
        peer.say("release")
        assert not peer.door.server.associated(1)


@pytest.mark.conforms(
    "Association",
    "HLS 7 ECDSA, suite 2",
    peer="Gurux Java client",
    link="wrapper",
    defect="its P-384 signature is cut to 64 bytes",
)
def test_gurux_java_cuts_its_signature_on_p_384(gurux_client):
    """(gurux) Each coordinate to 32 bytes, of 48. And it prints its private key."""
    with visitor(gurux_client, "ecdsa, suite 2, global key") as peer:
        with pytest.raises(No, match="error 3"):
            peer.open()
        assert "has 64 bytes, security suite 2 has 96" in str(peer.door.server.refused.last)
