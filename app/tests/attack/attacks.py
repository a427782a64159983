"""What an attacker without a key can put on the line in place of a frame, or beside it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace

from dcu.cosem import acse, apdu, axdr, data, security
from dcu.cosem.acse import ApplicationContext, AssociationResult, Mechanism, UserDiagnostic
from dcu.cosem.apdu import Conformance, InitiateRequest, InitiateResponse
from dcu.cosem.security import Cipher
from dcu.credentials import Secret
from tests.cosem.small_meter import CLIENT_TITLE, KEYS, LIMIT, METER_TITLE

from .exchange import FRAMES, SERVICES, Attack, Outcome

Forgery = tuple[str, str, bytes]  # which frame, what was done to it, what it became

DEDICATED_KEY_AT = 1  # the second thing that the client's random source gives

_LESS = Conformance.GET | Conformance.SET | Conformance.ACTION
_FORGED_VALUES = {  # what each service would carry if the attacker had his way
    "GET request": apdu.GetRequestNormal(0xC2, LIMIT),
    "GET response": apdu.GetResponseNormal(0xC2, axdr.encode(data.u32(1))),
    "SET request": apdu.SetRequestNormal(0xC3, LIMIT, None, axdr.encode(data.u32(9999))),
    "SET response": apdu.SetResponseNormal(0xC3, apdu.DataAccessResult.READ_WRITE_DENIED),
    "ACTION response": apdu.ActionResponseNormal(0xC4, apdu.ActionResult.SUCCESS, axdr.encode(data.i8(1))),
}


def in_place(name: str, forged: Sequence[bytes]) -> Attack:
    return lambda at, frame: forged if at == name else (frame,)


def before(name: str, forged: Sequence[bytes]) -> Attack:
    """The forged frames arrive first, the true one right behind."""
    return lambda at, frame: (*forged, frame) if at == name else (frame,)


def flips(honest: Outcome) -> Iterator[tuple[str, int, bytes]]:
    """Every bit of every frame: its frame's name, the byte it stands in, the frame with that bit flipped."""
    for name in FRAMES:
        frame = honest.frames[name]
        for at, byte in enumerate(frame):
            for bit in range(8):
                yield name, at, frame[:at] + bytes((byte ^ 1 << bit,)) + frame[at + 1 :]


def resized(honest: Outcome) -> Iterator[Forgery]:
    for name in FRAMES:
        frame = honest.frames[name]
        for size in range(len(frame)):
            yield name, f"cut to {size}", frame[:size]
        for tail in (b"\x00", b"\xff", bytes(12), frame, b"\x0f" * 40):
            yield name, f"followed by {tail.hex()}", frame + tail


def replays(honest: Outcome, earlier: Outcome) -> Iterator[Forgery]:
    """Every frame of an earlier session, and of this one, where another of the same direction is due."""
    for at, name in enumerate(FRAMES):
        for other in FRAMES[at % 2 :: 2]:
            yield name, f"the {other} of an earlier session", earlier.frames[other]
            if FRAMES.index(other) < at:
                yield name, f"the {other} of this session", honest.frames[other]


def reflections(honest: Outcome) -> Iterator[Forgery]:
    """What the other side sent, sent back to it."""
    for request, answer in zip(FRAMES[::2], FRAMES[1::2], strict=True):
        yield answer, "the request itself", honest.frames[request]
        yield request, "an answer", honest.frames[answer]


def plaintexts(honest: Outcome, plain: Callable[[str], bytes]) -> Iterator[Forgery]:
    """Services in the clear, as they were and as the attacker would have them; and errors, which are never ciphered."""
    for name in SERVICES:
        yield name, "the same in the clear", plain(name)
        if name in _FORGED_VALUES:
            yield name, "another in the clear", apdu.encode(_FORGED_VALUES[name])
        yield name, "an exception-response", bytes.fromhex("d80101")
        yield name, "a counter error", bytes.fromhex("d8010600000001")
        yield name, "a confirmed-service-error", bytes.fromhex("0e010603")


def weakened(honest: Outcome, plain: Callable[[str], bytes]) -> Iterator[Forgery]:
    """Less protection claimed: every SC byte; and without a tag, where known plaintext gives any other text."""
    for name in SERVICES:
        frame = honest.frames[name]
        at = frame.index(b"\x30", 2) if len(frame) < 0x80 + 2 else 3
        for control in set(range(256)) - {frame[at]}:
            yield name, f"security control {control:02X}", frame[:at] + bytes((control,)) + frame[at + 1 :]
        counter, sealed = frame[at + 1 : at + 5], frame[at + 5 : -security.TAG_SIZE]
        known = plain(name)
        wanted = apdu.encode(_FORGED_VALUES[name]) if name in _FORGED_VALUES else known
        keystream = bytes(a ^ b for a, b in zip(sealed, known, strict=True))
        enciphered = bytes(a ^ b for a, b in zip(keystream, wanted, strict=False))
        for control, text in ((0x20, enciphered), (0x10, wanted + bytes(12)), (0x00, wanted)):
            body = bytes((control,)) + counter + text
            yield name, f"forged under security control {control:02X}", frame[:1] + axdr.encode_length(len(body)) + body


def downgraded(honest: Outcome) -> Iterator[Forgery]:
    """AARQ and AARE with every field set to less, or to something else, or left out."""
    for name, kind in (("AARQ", acse.Aarq), ("AARE", acse.Aare)):
        true = acse.decode(honest.frames[name])
        assert isinstance(true, kind)
        other = {
            "context": [ApplicationContext.LN, ApplicationContext.SN, ApplicationContext.SN_CIPHERED],
            "mechanism": [None, *(m for m in Mechanism if m is not Mechanism.HIGH_GMAC)],
            "calling_title": [None, METER_TITLE, b"MALLORY1"],
            "user": [7],
            "responding_title": [None, CLIENT_TITLE, b"MALLORY1"],
            "authentication_value": [None, b"", b"12345678", bytes(16)],
            "result": [AssociationResult.REJECTED_PERMANENT],
            "diagnostic": [UserDiagnostic.NULL, UserDiagnostic.AUTHENTICATION_FAILURE],
            "user_information": [
                None,
                b"",
                apdu.encode(InitiateRequest(_LESS, 0xFFFF)),
                apdu.encode(InitiateResponse(_LESS, 0xFFFF)),
                apdu.encode(InitiateRequest(_LESS, 0xFFFF, Secret(bytes(16)))),
            ],
        }
        for field in fields(kind):
            for value in other[field.name]:
                yield name, f"{field.name} {value!r}", acse.encode(replace(true, **{field.name: value}))
        bare = {"mechanism": None, "authentication_value": None, "context": ApplicationContext.LN}
        for initiate in (InitiateRequest(_LESS, 0xFFFF), InitiateResponse(_LESS, 0xFFFF)):
            yield name, "all of it", acse.encode(replace(true, **bare, user_information=apdu.encode(initiate)))
    for name in ("RLRQ", "RLRE"):
        for release in (acse.Rlrq(0), acse.Rlre(0)):
            yield name, "without user information", acse.encode(release)
            for initiate in (InitiateRequest(_LESS, 0xFFFF), InitiateResponse(_LESS, 0xFFFF)):
                information = apdu.encode(initiate)
                yield name, "with plain user information", acse.encode(replace(release, user_information=information))


def plain_of(honest: Outcome, dedicated_key: Secret | None) -> Callable[[str], bytes]:
    """What the frames hold: the attacker may know it, he only cannot make it."""

    def plain(name: str) -> bytes:
        cipher = Cipher(dedicated_key or KEYS.guek, KEYS.gak)
        title = CLIENT_TITLE if FRAMES.index(name) % 2 == 0 else METER_TITLE
        return security.unprotect(cipher, honest.frames[name], title=title).apdu

    return plain
