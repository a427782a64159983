"""Our client against a meter made of the Gurux Java library (org.gurux:gurux.dlms 4.0.47, GPL-2.0): HLS 2 to 7, LN, SN.

Its program is ci/interop/gurux, built with Maven and run as a process of its own (`make interop`).

Keys are published or made up (tests/cosem/suite_keys). Where a test meets a defect of its own, it says so: "(gurux)".
"""

import asyncio
import shutil
import subprocess
from contextlib import asynccontextmanager
from itertools import count

import pytest

from dcu.collect import associations
from dcu.collect.dialogue import converse
from dcu.cosem import axdr, data
from dcu.cosem.association import Association, Authentication
from dcu.errors import AccessDenied, AuthenticationFailed, CounterReplayed, MalformedAnswer, ServiceRefused
from dcu.link import tcp
from dcu.link.channel import StreamChannel
from dcu.model import AttributeRef
from tests.cosem.small_meter import (
    CLIENT,
    CLIENT_TITLE,
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    LIMIT,
    association_row,
    context_of,
    protection_row,
)
from tests.interop.test_gurux_java import JAVA, jars, pkcs8, spki

__all__ = ["jars"]
TEXT = AttributeRef.parse("1,0-0:96.1.1*255,2")
CONTEXTS = (
    "none",
    "low",
    "low, ciphered",
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
    "gmac, suite 2, global key",
)


class Meter:
    """The program; `said` is what it printed at its end."""

    def __init__(self, process, port):
        self.process = process
        self.port = port
        self.said = self.wrong = ""


@asynccontextmanager
async def meter(jars, context, *, short=False):
    authentication, policy, _, held, meters = context_of(context)
    given = [JAVA[authentication], "sn" if short else "ln", "ciphered" if policy.request else "plain"]
    given += [str(held.suite), held.system_title.hex(), CLIENT_TITLE.hex()]
    given += [held.guek.reveal().hex(), held.gak.reveal().hex()]
    if authentication is Authentication.ECDSA:
        given += [pkcs8(held.suite, meters.signing.private), spki(held.suite, meters.signing.peer)]
    process = await asyncio.create_subprocess_exec(
        shutil.which("java"), "-cp", jars, "interop.GuruxMeter", *given,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(30):
        while (line := await process.stdout.readline()).strip() and not line.startswith(b"PORT"):
            pass
    made = Meter(process, int(line.split()[1]) if line else 0)
    try:
        yield made
    finally:
        try:
            async with asyncio.timeout(10):
                said, wrong = await process.communicate()
        except TimeoutError:
            process.kill()
            said, wrong = await process.communicate()
        made.said, made.wrong = said.decode(), wrong.decode()


async def visit(port, context, *, short=False, call=True):
    """Associate; read, in one piece and in blocks; write and read back; command the relay; release."""
    authentication, policy, dedicated, held, _ = context_of(context)
    terms = Association(CLIENT, 1, authentication, held, CLIENT_TITLE, policy, dedicated, short=short)
    channel = StreamChannel(await tcp.connect("127.0.0.1", port), client=CLIENT, server=1)
    client = associations.session(terms, count(1).__next__, lossy=False)

    async def run(exchange):
        return await converse(exchange, channel, timeout=20)

    try:
        await run(client.associate())
        assert await run(client.get(ENERGY)) == ENERGY_NOW
        text = axdr.decode(await run(client.get(TEXT))).value
        assert text == bytes(at % 251 for at in range(3000))
        await run(client.set(LIMIT, axdr.encode(data.u32(2500))))
        assert axdr.decode(await run(client.get(LIMIT))).value == 2500
        if call:
            await run(client.action(DISCONNECT, axdr.encode(data.i8(0))))
        await run(client.release())
    finally:
        await channel.close()


@pytest.mark.conforms("Association", association_row, peer="Gurux Java server", link="wrapper")
@pytest.mark.conforms("Protection", protection_row, peer="Gurux Java server", link="wrapper")
@pytest.mark.parametrize("context", CONTEXTS)
async def test_a_gurux_java_meter_is_read_written_and_commanded(jars, context):
    async with meter(jars, context) as made:
        await visit(made.port, context)
    assert "LIMIT 2500 RELAY false" in made.said, made.wrong


def _short_row(context):
    return f"SN, {association_row(context)}, {protection_row(context)}"


@pytest.mark.conforms("Referencing", _short_row, peer="Gurux Java server", link="wrapper")
@pytest.mark.parametrize("context", ["none", "low"])
async def test_a_gurux_java_meter_is_read_and_written_by_short_names(jars, context):
    async with meter(jars, context, short=True) as made:
        await visit(made.port, context, short=True, call=False)
    assert "LIMIT 2500 RELAY true" in made.said, made.wrong


async def test_gurux_java_calls_no_method_by_short_names(jars):
    """(gurux) It answers each with read-write-denied, whatever its program grants."""
    async with meter(jars, "none", short=True) as made:
        with pytest.raises(AccessDenied, match="read-write-denied"):
            await visit(made.port, "none", short=True)
    assert "LIMIT 2500 RELAY true" in made.said, made.wrong


def _defect(section, row, defect):
    return pytest.mark.conforms(section, row, peer="Gurux Java server", link="wrapper", defect=defect)


@_defect("Referencing", "SN, LLS, glo-, suite 0", "it ciphers two answers by short names under one invocation counter")
async def test_gurux_java_reuses_its_counter_by_short_names(jars):
    """(gurux) Two answers under one nonce: the second one is refused."""
    async with meter(jars, "low, ciphered", short=True) as made:
        with pytest.raises(CounterReplayed):
            await visit(made.port, "low, ciphered", short=True)


@_defect("Referencing", "SN, HLS 3 MD5, none", "it answers the third pass with service-not-supported")
@_defect("Referencing", "SN, HLS 5 GMAC, glo-, suite 0", "it answers nobody's third pass")
@pytest.mark.parametrize(
    ("context", "refusal"), [("md5, plain services", ServiceRefused), ("gmac, global key", CounterReplayed)]
)
async def test_gurux_java_knows_no_hls_by_short_names(jars, context, refusal):
    """(gurux) Reply_to_HLS_authentication of class 12 is not served; ciphered, it reuses its counter even to say so."""
    async with meter(jars, context, short=True) as made:
        with pytest.raises(refusal):
            await visit(made.port, context, short=True)


@_defect("Association", "HLS 7 ECDSA, suite 1", "it takes our proof; its own is a signature of something else")
async def test_gurux_java_takes_our_signature_and_its_own_does_not_fit(jars):
    """(gurux) No order of titles and challenges verifies. And it prints its private key."""
    context = "ecdsa, suite 1, plain services"
    async with meter(jars, context) as made:
        with pytest.raises(AuthenticationFailed, match="the signature of system title"):
            await visit(made.port, context)
    assert "AE 55 41 4F" in made.said, "the published key that it was given"


@_defect("Association", "HLS 7 ECDSA, suite 2", "an AARE of 133 bytes says its length in one byte")
@pytest.mark.parametrize("suite", [1, 2])
async def test_gurux_java_writes_the_length_of_a_long_aare_in_one_byte(jars, suite):
    """(gurux) 61 85 where BER has 61 81 85: with the 32 bytes of an HLS 7 challenge and ciphering it is that long."""
    context = f"ecdsa, suite {suite}, global key"
    async with meter(jars, context) as made:
        with pytest.raises(MalformedAnswer, match="0x85 starts no length"):
            await visit(made.port, context)
