"""HLS 2, 3, 4 and 6 against the published vectors of what they rest on: AES, MD5, SHA-1, SHA-256.

A standard's test message is cut into what HLS puts together (challenge, secret, system titles), so that the proof is
the digest that the standard prints.
"""

import pytest

from dcu.cosem.association import Authentication
from dcu.cosem.hls import Challenges, Hls, aes_ecb
from dcu.credentials import MeterKeys, Secret

LONG = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"  # FIPS 180's message of 448 bits


def proof(kind, secret, challenge, *, other=b"", title=b"", peer=b""):
    keys = MeterKeys(b"", Secret(bytes(16)), Secret(bytes(16)), Secret(secret))
    return Hls(kind, keys, title=title, peer=peer).prove(Challenges(other, challenge)).hex()


@pytest.mark.conforms("Association", "HLS 3 MD5", peer="published vector", link="RFC 1321")
@pytest.mark.parametrize(
    ("message", "digest"),
    [
        (b"abc", "900150983cd24fb0d6963f7d28e17f72"),
        (b"message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
        (b"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
    ],
)
def test_hls_3_is_the_md5_of_challenge_and_secret(message, digest):
    assert proof(Authentication.MD5, message[2:], message[:2]) == digest


@pytest.mark.conforms("Association", "HLS 4 SHA-1", peer="published vector", link="FIPS 180")
@pytest.mark.parametrize(
    ("message", "digest"),
    [(b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"), (LONG, "84983e441c3bd26ebaae4aa1f95129e5e54670f1")],
)
def test_hls_4_is_the_sha_1_of_challenge_and_secret(message, digest):
    assert proof(Authentication.SHA1, message[1:], message[:1]) == digest


@pytest.mark.conforms("Association", "HLS 6 SHA-256", peer="published vector", link="FIPS 180")
def test_hls_6_is_the_sha_256_of_secret_titles_and_challenges():
    made = proof(Authentication.SHA256, LONG[:8], LONG[24:40], other=LONG[40:], title=LONG[8:16], peer=LONG[16:24])
    assert made == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"


@pytest.mark.conforms("Association", "HLS 2 (AES-128, a maker's)", peer="published vector", link="FIPS 197")
def test_hls_2_by_aes_is_the_standards_block():
    key, block = bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")
    assert aes_ecb(Secret(key), block).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"
