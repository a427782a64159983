"""gurux-dlms (PyPI, GPL-2.0) as a client reads our server: a stack that shares nothing with ours, framing included.

It is driven without I/O: its frames go to a ServerSession in the same process. Where a test meets a defect of gurux's
own, it says so: "(gurux)". Keys are the Green Book's examples.
"""

import random
from datetime import timedelta

import pytest
from gurux_dlms import GXDateTime
from gurux_dlms.GXDLMSException import GXDLMSException
from gurux_dlms.GXDLMSExceptionResponse import GXDLMSExceptionResponse
from gurux_dlms.GXSecure import GXSecure
from gurux_dlms.objects import GXDLMSClock, GXDLMSRegister

from dcu.cosem import axdr, data
from dcu.cosem.apdu import DataAccessResult
from tests.cosem.small_meter import CLIENT, DISCONNECT, LIMIT, association_row, protection_row

from .gurux_client import (
    ROWS,
    SETTINGS,
    SIGNING,
    START,
    Gurux,
    limit,
    load_profile,
    register,
    relay,
    rows_of,
)

everywhere = pytest.mark.parametrize("context", SETTINGS)


@pytest.mark.conforms("Association", association_row, peer="gurux-dlms client", link="wrapper")
@pytest.mark.conforms("Protection", protection_row, peer="gurux-dlms client", link="wrapper")
@pytest.mark.conforms("Service", "GET", peer="gurux-dlms client", link="wrapper")
@everywhere
def test_gurux_reads_a_register(context):
    gurux = Gurux(context).associate()
    energy = gurux.read(register(), 3, 2)
    assert (energy.value, energy.scaler) == (123_456_789, 1)
    assert gurux.server.refused.total == gurux.turned_down


@pytest.mark.conforms("Service", "GET with list", peer="gurux-dlms client", link="wrapper")
@everywhere
def test_gurux_reads_a_list(context):
    gurux = Gurux(context).associate()
    energy = register()
    reply = gurux.ask(gurux.client.readList([(energy, 2), (energy, 3)]))
    assert reply.value == [123_456_789, [0, 30]]


@pytest.mark.conforms("Service", "GET in blocks", peer="gurux-dlms client", link="wrapper")
@pytest.mark.parametrize("max_pdu", [80, 200, 0xFFFF])
@everywhere
def test_gurux_reads_a_profile_in_blocks(context, max_pdu):
    gurux = Gurux(context, room=max_pdu).associate()
    opening = len(gurux.answers)
    reply = gurux.ask(gurux.client.read(load_profile(), 2))
    assert rows_of(reply) == ROWS
    assert max(map(len, gurux.answers[opening:])) <= max_pdu


@everywhere
def test_gurux_reads_rows_by_entry(context):
    gurux = Gurux(context).associate()
    reply = gurux.ask(gurux.client.readRowsByEntry(load_profile(), 5, 3))
    assert rows_of(reply) == ROWS[4:7]


@everywhere
def test_gurux_reads_rows_by_range(context):
    gurux = Gurux(context).associate()
    buffer = load_profile()
    buffer.sortObject = GXDLMSClock("0.0.1.0.0.255")
    first, last = (GXDateTime(at) for at in (START + timedelta(hours=3), START + timedelta(hours=9)))
    reply = gurux.ask(gurux.client.readRowsByRange(buffer, first, last))
    assert rows_of(reply) == ROWS[3:10]


@pytest.mark.conforms("Service", "SET", peer="gurux-dlms client", link="wrapper")
@everywhere
def test_gurux_writes(context):
    gurux = Gurux(context).associate()
    assert gurux.ask(gurux.client.write(limit(2500), 2)).error == 0
    assert gurux.meter.done == [(LIMIT, axdr.encode(data.u32(2500)))]


@pytest.mark.conforms("Service", "ACTION", peer="gurux-dlms client", link="wrapper")
@everywhere
def test_gurux_calls(context):
    gurux = Gurux(context).associate()
    reply = gurux.ask(relay().remoteDisconnect(gurux.client))
    assert (reply.error, reply.value) == (0, 0)
    assert gurux.meter.done == [(DISCONNECT, axdr.encode(data.i8(0)))]


@everywhere
def test_gurux_is_told_why_it_may_not(context):
    gurux = Gurux(context).associate()
    missing = gurux.client.read(GXDLMSRegister("1.0.9.9.9.255"), 2)
    assert gurux.ask(missing).error == DataAccessResult.OBJECT_UNDEFINED
    assert gurux.value(register()) == 123_456_789


@everywhere
def test_gurux_releases_the_association(context):
    gurux = Gurux(context).associate()
    gurux.ask(gurux.client.releaseRequest())
    assert not gurux.server.associated(CLIENT)


def test_a_release_without_protection_is_refused_where_the_context_asks_for_it():
    """(gurux) Unless `useProtectedRelease` is set, it sends RLRQ bare in a ciphered association."""
    gurux = Gurux("gmac, global key").associate()
    gurux.client.useProtectedRelease = False
    with pytest.raises(GXDLMSExceptionResponse):
        gurux.ask(gurux.client.releaseRequest())
    assert gurux.server.associated(CLIENT)


def test_the_proof_is_taken_under_the_global_key_though_a_dedicated_one_was_agreed():
    """(gurux) It turns to its dedicated key only after HLS: what we answer follows it."""
    gurux = Gurux("gmac, dedicated key").associate()
    gurux.ask(gurux.client.read(GXDLMSRegister("1.0.1.8.0.255"), 2))
    assert [answer[0] for answer in gurux.answers] == [0x61, 0xCF, 0xD4]


@pytest.mark.conforms(
    "Association",
    association_row,
    peer="gurux-dlms client",
    link="wrapper",
    defect="its proof is taken; its challenge is too short, and it cannot check ours",
)
@pytest.mark.parametrize("context", SIGNING)
def test_guruxs_signature_is_taken_and_it_cannot_check_ours(context, monkeypatch, capsys):
    """(gurux) Its challenge has 16 bytes where HLS 7 takes 32 to 64; it prints its private key; and its arithmetic
    of the curve fails when it checks a signature, by an exception or by a wrong verdict that it then trips over."""
    with pytest.raises(GXDLMSException, match="Authentication failure"):
        Gurux(context).associate()
    gurux = Gurux(context)
    monkeypatch.setattr(GXSecure, "generateChallenge", lambda: bytes(random.randrange(256) for _ in range(32)))
    with pytest.raises((ValueError, UnboundLocalError), match=r"not invertible|cannot access"):
        gurux.associate()
    assert gurux.server.associated(CLIENT)
    assert "Private signed key" in capsys.readouterr().out


@pytest.mark.conforms(
    "Association", "HLS 7 ECDSA, suite 2", peer="gurux-dlms client", link="wrapper", defect="no P-384"
)
def test_gurux_cannot_sign_on_p_384(monkeypatch, capsys):
    """(gurux) Its arithmetic of the curve again, before anything is sent."""
    monkeypatch.setattr(GXSecure, "generateChallenge", lambda: bytes(random.randrange(256) for _ in range(32)))
    with pytest.raises(ValueError, match="Invalid"):
        Gurux("ecdsa, suite 2, global key").associate()
    assert "Private signed key" in capsys.readouterr().out


def test_gurux_asks_again_where_its_challenge_looks_like_an_apdu(monkeypatch):
    challenges = iter([b"\xc4\x01" * 8, b"P6wRJ21F" * 2])
    monkeypatch.setattr(GXSecure, "generateChallenge", lambda: next(challenges))
    gurux = Gurux("gmac, plain services").associate()
    assert [answer[0] for answer in gurux.answers] == [0x61, 0x61, 0xC7]


def test_gurux_with_a_wrong_authentication_key_is_refused():
    gurux = Gurux("gmac, global key")
    gurux.client.ciphering.authenticationKey = bytes(16)
    with pytest.raises(Exception, match=r"(?i)authentication.?failure"):
        gurux.associate()
    assert not gurux.server.associated(CLIENT)


def test_gurux_with_a_used_counter_is_refused():
    """(gurux) It starts its counter at 1 whenever it is made: a meter that remembers does not let it in twice."""
    gurux = Gurux("gmac, global key").associate()
    gurux.client.ciphering.invocationCounter = 1
    with pytest.raises(GXDLMSExceptionResponse):
        gurux.ask(gurux.client.aarqRequest())
    gurux.client.ciphering.invocationCounter = 100
    assert gurux.associate().value(register()) == 123_456_789
