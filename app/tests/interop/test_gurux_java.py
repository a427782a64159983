"""The Gurux Java library (org.gurux:gurux.dlms 4.0.47, GPL-2.0) as a client of our server: HLS 2 to 7, LN and SN.

Its program is ci/interop/gurux, built with Maven and run as a process of its own (`make interop`).

Keys are published or made up (tests/cosem/suite_keys). Where a test meets a defect of its own, it says so: "(gurux)".
"""

import os
import shutil
import socket
import subprocess
import threading
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dcu.cosem import axdr, data
from dcu.cosem.association import Authentication, ServerAssociation
from dcu.cosem.hls import aes_ecb
from dcu.cosem.server import ServerSession
from dcu.cosem.short_names import CURRENT
from dcu.link import wrapper
from dcu.model import AttributeRef
from tests.cosem.small_meter import CLIENT, CLIENT_TITLE, LIMIT, SmallMeter, association_row, context_of, protection_row
from tests.cosem.test_short import NAMES

PROGRAM = Path(__file__).parents[3] / "ci" / "interop" / "gurux"
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
    "gmac, suite 1, global key",
    "gmac, suite 2, global key",
    "ecdsa, suite 1, plain services",
    "ecdsa, suite 1, global key",
)
JAVA = {Authentication.NONE: "NONE", Authentication.LOW: "LOW", Authentication.HIGH: "HIGH"} | {
    kind: f"HIGH_{kind.name}"
    for kind in (
        Authentication.MD5,
        Authentication.SHA1,
        Authentication.GMAC,
        Authentication.SHA256,
        Authentication.ECDSA,
    )
}


@pytest.fixture(scope="module")
def jars():
    if not (shutil.which("java") and shutil.which("mvn")):
        pytest.skip("Java and Maven are not here: `make interop` needs both")
    subprocess.run(["mvn", "-q", "-B", "package"], cwd=PROGRAM, check=True, timeout=300)
    return os.pathsep.join((str(PROGRAM / "target/gurux-client.jar"), str(PROGRAM / "target/lib/*")))


class Door:
    """Our server on a socket, for one connection, in a thread."""

    def __init__(self, context, names=None):
        authentication, policy, _, _, meters = context_of(context)
        maker = aes_ecb if authentication is Authentication.HIGH else None
        terms = ServerAssociation(authentication, meters, CLIENT_TITLE, policy, manufacturer=maker, names=names)
        self.meter = SmallMeter()
        self.meter.values[AttributeRef(12, CURRENT, 2)] = NAMES.encode()
        self.server = ServerSession(self.meter, {CLIENT: terms}, counter=count(5000).__next__)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        connection, _ = self._listening.accept()
        decoder = wrapper.Decoder()
        with connection:
            while received := connection.recv(65536):
                for frame in decoder.feed(received):
                    answer = self.server.receive(frame.source, frame.apdu)
                    if answer is not None:
                        connection.sendall(wrapper.encode(frame.destination, frame.source, answer))

    def close(self):
        self._listening.close()
        self._thread.join(5)


CURVES = {1: ec.SECP256R1(), 2: ec.SECP384R1()}


def pkcs8(suite, private):
    key = ec.derive_private_key(int.from_bytes(private.reveal(), "big"), CURVES[suite])
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption()).hex()


def spki(suite, public):
    key = ec.EllipticCurvePublicKey.from_encoded_point(CURVES[suite], b"\x04" + public)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form).hex()


def run(jars, context, names=None):
    """What the program printed, what it complained of, and the door it went through."""
    authentication, policy, _, held, _ = context_of(context)
    door = Door(context, names)
    given = [str(door.port), JAVA[authentication], "sn" if names else "ln", "ciphered" if policy.request else "plain"]
    given += [str(held.suite), CLIENT_TITLE.hex(), held.guek.reveal().hex(), held.gak.reveal().hex()]
    if authentication is Authentication.ECDSA:
        given += [pkcs8(held.suite, held.signing.private), spki(held.suite, held.signing.peer)]
    try:
        done = subprocess.run(
            ["java", "-cp", jars, "interop.GuruxClient", *given], capture_output=True, text=True, timeout=60
        )
    finally:
        door.close()
    return done.stdout.split("\n"), done.stderr, door


def expect_all(said, wrong, door):
    assert "ASSOCIATED" in said, wrong
    assert "VALUE 123456789" in said, wrong
    assert "ROWS 40" in said, wrong
    assert "WRITTEN" in said, wrong
    assert door.meter.done == [(LIMIT, axdr.encode(data.u32(2500)))]


@pytest.mark.conforms("Association", association_row, peer="Gurux Java client", link="wrapper")
@pytest.mark.conforms("Protection", protection_row, peer="Gurux Java client", link="wrapper")
@pytest.mark.parametrize("context", CONTEXTS)
def test_gurux_java_reads_and_writes(jars, context):
    expect_all(*run(jars, context))


@pytest.mark.conforms(
    "Referencing",
    lambda context: f"SN, {association_row(context)}, {protection_row(context)}",
    peer="Gurux Java client",
    link="wrapper",
)
@pytest.mark.parametrize("context", ["none", "low"])
def test_gurux_java_reads_and_writes_by_short_names(jars, context):
    expect_all(*run(jars, context, NAMES))


@pytest.mark.conforms(
    "Association",
    "HLS 7 ECDSA, suite 2",
    peer="Gurux Java client",
    link="wrapper",
    defect="its P-384 signature is cut to 64 bytes",
)
def test_gurux_java_cuts_its_signature_on_p_384(jars):
    """(gurux) Each coordinate to 32 bytes, of 48. And it prints its private key."""
    said, wrong, door = run(jars, "ecdsa, suite 2, global key")
    assert "ASSOCIATED" not in said
    assert "error 3" in wrong
    assert "has 64 bytes, security suite 2 has 96" in str(door.server.refused.last)


@pytest.mark.conforms(
    "Referencing",
    "SN, LLS, glo-, suite 0",
    peer="Gurux Java client",
    link="wrapper",
    defect="it ciphers two requests by short names under one invocation counter",
)
def test_gurux_java_reuses_its_counter_by_short_names(jars):
    """(gurux) Two requests under one counter, which is one nonce used twice: the second one is refused."""
    said, wrong, door = run(jars, "low, ciphered", NAMES)
    assert "ASSOCIATED" in said
    assert "Invocation counter is invalid" in wrong
    assert door.server.refused.counter == 1
