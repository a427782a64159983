import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import AuthenticationFailed, DecodeError, SecurityError, TagMismatch
from neighbourhood.g3 import eap_psk
from neighbourhood.g3.eap_psk import Code, LongTerm, Packet, Peer, Server, State, decode

PSK = bytes.fromhex("0123456789abcdef0123456789abcdef")
ID_S, ID_P = b"server-1", b"meter-01"


def pair(psk_p=PSK, **peer):
    return Server(PSK, ID_S, os.urandom, extension=lambda id_p: b"\x02carried"), Peer(psk_p, ID_P, os.urandom, **peer)


def run(server, peer):
    said = [server.start()]
    while (answer := peer.receive(said[-1])) is not None:
        said += [answer, server.receive(answer)]
    return said


def test_keys_are_those_that_hostapd_derives():
    keys = LongTerm.of(PSK)
    assert keys.ak.hex() == "2556085a46cd39f33416fad1e9844cff"
    assert keys.kdk.hex() == "68f957081ecc6bb6b3316883db809f80"


@pytest.mark.parametrize(
    ("key", "nonce", "header", "plain", "sealed"),
    [
        (
            "233952dee4d5ed5f9b9c6d6ff80ff478",
            "62ec67f9c3a4a407fcb2a8c49031a8b3",
            "6bfb914fd07eae6b",
            "",
            "e037830e8389f27b025a2d6527e79d01",
        ),
        (
            "91945d3f4dcbee0bf45ef52255f095a4",
            "becaf043b0a23d843194ba972c66debd",
            "fa3bfd4806eb53fa",
            "f7fb",
            "19dd5c4c9331049d0bdab0277408f67967e5",
        ),
    ],
)
def test_eax_gives_the_vectors_of_its_paper(key, nonce, header, plain, sealed):
    ciphered, tag = eap_psk.eax(*map(bytes.fromhex, (key, nonce, header, plain)))
    assert (ciphered + tag).hex() == sealed


def test_both_sides_end_with_the_same_keys_and_what_the_channel_carried():
    carried = []
    server, peer = pair(extension=lambda data: (carried.append(data), (b"answer", True))[1])
    said = run(server, peer)
    assert [len(data) for data in said] == [30, 62, 67, 49, 4]
    assert (server.state, peer.state) == (State.SUCCESS, State.SUCCESS)
    assert server.session == peer.session
    assert carried == [b"\x02carried"]
    assert (server.answered, server.id_p, peer.id_s) == (b"answer", ID_P, ID_S)


def test_a_device_with_another_key_is_refused():
    server, peer = pair(bytes(16))
    with pytest.raises(AuthenticationFailed):
        server.receive(peer.receive(server.start()))
    assert server.state is State.FAILURE


def test_a_server_with_another_key_is_refused():
    server, peer = pair(bytes(16))
    server.keys = LongTerm.of(bytes(16))
    answer = server.receive(peer.receive(server.start()))
    peer.keys = LongTerm.of(PSK)
    with pytest.raises(AuthenticationFailed):
        peer.receive(answer)
    assert peer.state is State.PROVING


def test_a_device_that_refuses_what_it_is_given_ends_in_failure_on_both_sides():
    server, peer = pair(extension=lambda data: (b"no", False))
    said = run(server, peer)
    assert decode(said[-1]).code is Code.FAILURE
    assert (server.state, peer.state) == (State.FAILURE, State.FAILURE)


@given(st.integers(0, 3), st.integers(0, 7), st.data())
def test_a_flipped_bit_anywhere_never_leads_to_success(which, bit, data):
    server, peer = pair()
    said = server.start()
    for step in range(4):
        if step == which:
            altered = bytearray(said)
            altered[data.draw(st.integers(0, len(said) - 1))] ^= 1 << bit
            said = bytes(altered)
        try:
            said = server.receive(said) if step % 2 else peer.receive(said)
        except (DecodeError, SecurityError):
            break
        if said is None:
            break
    assert server.state is not State.SUCCESS


def test_a_repeated_message_is_answered_as_before():
    server, peer = pair()
    first = server.start()
    second = peer.receive(first)
    assert peer.receive(first) == second
    third = server.receive(second)
    assert server.receive(second) == third
    fourth = peer.receive(third)
    assert peer.receive(third) == fourth
    assert server.receive(fourth) == server.receive(fourth)


def test_a_channel_of_another_run_is_refused():
    server, peer = pair()
    third = server.receive(peer.receive(server.start()))
    other, _ = pair()
    again = other.start()
    peer.receive(again)
    with pytest.raises(DecodeError, match="another run"):
        peer.receive(third)
    with pytest.raises((AuthenticationFailed, TagMismatch)):
        peer.receive(Packet(Code.REQUEST, 9, 2, other.rand_s + third[22:]).encode())


@given(st.binary(max_size=200))
def test_noise_gives_decode_errors_only(noise):
    for side in pair():
        try:
            side.receive(noise)
        except DecodeError:
            continue
