"""general-ciphering and general-signing: any APDU, protected under a key that the frame itself tells of.

    general-ciphering  DD | header | 01 key-info | length | SC | IC | text | tag
    general-signing    DF | header | length | APDU | length | signature
    header             transaction-id, originator's and recipient's title, date-time, other-information: octet-strings

The key is named (identified: the GUEK), brought along (wrapped under the master key) or agreed: C(1e,1s), with a fresh
key pair of the originator whose public half he signs, or C(0e,2s), from both parties' static keys and the transaction.
The header is in the tag's input and in what is signed, lengths included; the length of what is signed is not.

Where a new key might begin to count at 0, we go on counting: one counter space for the global key and all that is
wrapped or agreed, or else a whole frame could be replayed together with its key. A peer that begins anew is refused.

Source: IEC 62056-5-3 (DLMS Green Book 9.2.3.4.6, 9.2.7.2.4, 9.5); NIST SP 800-56A. The examples of tables 41 and C.2
are met but for their tags, which no input that we tried gives.
"""

from dataclasses import dataclass, field

from dcu.cosem.apdu.wire import Reader, octets
from dcu.cosem.security import (
    HEADER,
    KEYED,
    TAG_SIZE,
    TITLE_SIZE,
    Cipher,
    Framing,
    Protection,
    SecurityControl,
    hex_title,
    nonce,
)
from dcu.credentials import MeterKeys, Secret
from dcu.errors import AuthenticationFailed, DecodeError, PolicyViolated, TagMismatch
from dcu.suites import SUITES, Use

CIPHERING, SIGNING = 0xDD, 0xDF
_MAX_FIELD = 64  # bytes of a header's field: a transaction-id has 8, a title 8, a date-time 12
_IDENTIFIED, _WRAPPED, _AGREED = range(3)  # the choice of key-info
_ONE_PASS, _STATIC = b"\x01", b"\x02"  # key-parameters
_HEADER_ROOM = 4 * (1 + TITLE_SIZE)  # what the header takes at most of those that we make


@dataclass(frozen=True, slots=True)
class Header:
    transaction: bytes
    originator: bytes
    recipient: bytes
    date_time: bytes = b""
    information: bytes = b""

    def encoded(self) -> bytes:
        parts = self.transaction, self.originator, self.recipient, self.date_time, self.information
        return b"".join(map(octets, parts))

    def require(self, originator: bytes, recipient: bytes) -> None:
        """Raises AuthenticationFailed."""
        if (self.originator, self.recipient) != (originator, recipient):
            raise AuthenticationFailed(
                f"the frame names system titles {hex_title(self.originator)} and {hex_title(self.recipient)}, "
                f"expected are {hex_title(originator)} and {hex_title(recipient)}"
            )


@dataclass(frozen=True, slots=True)
class Ciphered:
    """A general-ciphering APDU taken apart, nothing verified. key: what it brings along of its key."""

    header: Header
    framing: Framing
    broadcast: bool
    key: bytes = field(repr=False)
    control: SecurityControl
    counter: int
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Signed:
    """A general-signing APDU taken apart, nothing verified."""

    header: Header
    apdu: bytes = field(repr=False)
    signature: bytes


def parse(frame: bytes) -> Ciphered:
    """Raises DecodeError."""
    reader = Reader(frame)
    if reader.u8() != CIPHERING:
        raise DecodeError("no general-ciphering", 0)
    header = _header(reader)
    framing, broadcast, key = _key_info(reader) if reader.flag("key-info") else (Framing.IDENTIFIED, False, b"")
    body = reader.octets()
    reader.end()
    if len(body) < HEADER:
        raise DecodeError(f"general-ciphering: {len(body)} bytes do not hold SC and invocation counter")
    control, content = SecurityControl.read(body[0]), body[HEADER:]
    if len(content) <= (TAG_SIZE if control.protection.authentic else 0):
        raise DecodeError("general-ciphering holds nothing")
    counter = int.from_bytes(body[1:HEADER], "big")
    return Ciphered(header, framing, broadcast or control.broadcast, key, control, counter, content)


def parse_signed(frame: bytes) -> Signed:
    """Raises DecodeError."""
    reader = Reader(frame)
    if reader.u8() != SIGNING:
        raise DecodeError("no general-signing", 0)
    signed = Signed(_header(reader), reader.octets(), reader.octets())
    reader.end()
    if not signed.apdu or signed.apdu[0] == SIGNING:
        raise DecodeError("general-signing holds nothing, or another of its kind")
    return signed


def protect(
    keys: MeterKeys, apdu: bytes, *, framing: Framing, header: Header, protection: Protection, counter: int
) -> bytes:
    """Return `apdu` in general-ciphering. Raises ValueError where `keys` lacks what the framing needs."""
    key, told = _new_key(keys, framing, header)
    cipher = Cipher(key, keys.gak, suite=keys.suite)
    control = cipher.control(protection)
    sealed = cipher.seal(control, nonce(header.originator, counter), apdu, header.encoded())
    body = bytes((control.byte,)) + counter.to_bytes(4, "big") + sealed
    return bytes((CIPHERING,)) + header.encoded() + b"\x01" + told + octets(body)


def unprotect(keys: MeterKeys, ciphered: Ciphered, *, required: Protection) -> bytes:
    """The APDU inside, its titles already checked. Raises AuthenticationFailed, PolicyViolated, TagMismatch."""
    control, header = ciphered.control, ciphered.header
    if not control.protection or not control.protection.covers(required):
        raise PolicyViolated(f"the frame is {control.protection}, required is: {required}")
    if control.suite != keys.suite:
        raise PolicyViolated(f"the frame is of security suite {control.suite}, configured is {keys.suite}")
    if ciphered.broadcast:
        raise PolicyViolated("the frame uses the broadcast key where the unicast key is required")
    cipher = Cipher(_key(keys, ciphered), keys.gak, suite=keys.suite)
    text = cipher.open(control, nonce(header.originator, ciphered.counter), ciphered.content, header.encoded())
    if text is None:
        raise TagMismatch(
            f"the tag of a frame from system title {hex_title(header.originator)}, invocation counter "
            f"{ciphered.counter}, does not fit: check the GAK, the master or agreement keys and the system title"
        )
    return text


def sign(keys: MeterKeys, apdu: bytes, header: Header) -> bytes:
    assert keys.signing
    signature = SUITES[keys.suite].sign(keys.signing.private, header.encoded() + apdu)
    return bytes((SIGNING,)) + header.encoded() + octets(apdu) + octets(signature)


def verify(keys: MeterKeys, signed: Signed) -> None:
    """Raises AuthenticationFailed."""
    assert keys.signing
    who = f"system title {hex_title(signed.header.originator)}"
    SUITES[keys.suite].verify(keys.signing.peer, signed.header.encoded() + signed.apdu, signed.signature, who)


def check_keys(keys: MeterKeys | None, framing: Framing, *, signed: bool) -> None:
    """Raises ValueError where the keys for a framing, or for signing, are not there."""
    if framing is Framing.WRAPPED and not (keys and keys.master):
        raise ValueError("general-ciphering with wrapped keys needs the master key")
    if framing in (Framing.ONE_PASS, Framing.STATIC) and not (keys and keys.suite and keys.agreement):
        raise ValueError("general-ciphering with agreed keys needs security suite 1 or 2 and agreement keys")
    if (signed or framing is Framing.ONE_PASS) and not (keys and keys.suite and keys.signing):
        raise ValueError("general-signing and C(1e,1s) need security suite 1 or 2 and signing keys")


def overhead(framing: Framing, suite: int, *, signed: bool) -> int:
    """Bytes that a frame has at most beside its APDU, beyond what a service of its own tag has."""
    width = SUITES[suite].signature_size
    size = 3 + _HEADER_ROOM + width if signed else 0
    if framing is Framing.GENERAL_GLOBAL:
        size += 1 + TITLE_SIZE  # the sender's, in front
    if framing in KEYED:
        size += _HEADER_ROOM + 8 + {Framing.ONE_PASS: 2 * width, Framing.WRAPPED: 40}.get(framing, 0)
    return size


# --- the key


def _new_key(keys: MeterKeys, framing: Framing, header: Header) -> tuple[Secret, bytes]:
    """The key to send under, and key-info."""
    check_keys(keys, framing, signed=False)
    suite = SUITES[keys.suite]
    if framing is Framing.IDENTIFIED:
        return keys.guek, bytes((_IDENTIFIED, 0))
    if framing is Framing.WRAPPED:
        assert keys.master
        key = suite.new_key()
        return key, bytes((_WRAPPED, 0)) + octets(suite.wrap(keys.master, key))
    assert keys.agreement
    if framing is Framing.STATIC:
        return _static(keys, header), bytes((_AGREED,)) + octets(_STATIC) + octets(b"")
    assert keys.signing
    ephemeral = suite.new_private()
    public = suite.public(ephemeral)
    shared = suite.agree(ephemeral, keys.agreement.peer)
    told = public + suite.sign(keys.signing.private, public)
    key = suite.derive(shared, Use.CIPHERING, header.originator, header.recipient)
    return key, bytes((_AGREED,)) + octets(_ONE_PASS) + octets(told)


def _key(keys: MeterKeys, ciphered: Ciphered) -> Secret:
    """The key that a frame was sent under."""
    suite, header = SUITES[keys.suite], ciphered.header
    try:
        check_keys(keys, ciphered.framing, signed=False)
    except ValueError as error:
        raise PolicyViolated(str(error)) from None
    if ciphered.framing is Framing.IDENTIFIED:
        return keys.guek
    if ciphered.framing is Framing.WRAPPED:
        assert keys.master
        return suite.unwrap(keys.master, ciphered.key)
    if ciphered.framing is Framing.STATIC:
        return _static(keys, header)
    assert keys.agreement
    assert keys.signing
    public, signature = ciphered.key[: 2 * suite.width], ciphered.key[2 * suite.width :]
    suite.verify(keys.signing.peer, public, signature, f"system title {hex_title(header.originator)}")
    shared = suite.agree(keys.agreement.private, public)
    return suite.derive(shared, Use.CIPHERING, header.originator, header.recipient)


def _static(keys: MeterKeys, header: Header) -> Secret:
    """C(0e,2s): the nonce that makes it a new key is the transaction-id, length and value."""
    assert keys.agreement
    suite = SUITES[keys.suite]
    shared = suite.agree(keys.agreement.private, keys.agreement.peer)
    return suite.derive(shared, Use.CIPHERING, header.originator + octets(header.transaction), header.recipient)


# --- on the wire


def _header(reader: Reader) -> Header:
    fields = tuple(reader.octets() for _ in range(5))
    if max(map(len, fields)) > _MAX_FIELD or {len(fields[1]), len(fields[2])} != {TITLE_SIZE}:
        raise DecodeError(
            f"general protection: system titles have {TITLE_SIZE} bytes, other fields at most {_MAX_FIELD}"
        )
    return Header(*fields)


def _key_info(reader: Reader) -> tuple[Framing, bool, bytes]:
    """The framing that it stands for, whether it is the broadcast key, and what it brings of the key."""
    choice = reader.u8()
    if choice == _IDENTIFIED:
        known = reader.u8()
        if known > 1:
            raise DecodeError(f"general-ciphering: key {known} is neither the unicast nor the broadcast key")
        return Framing.IDENTIFIED, known == 1, b""
    if choice == _WRAPPED:
        if kek := reader.u8():
            raise DecodeError(f"general-ciphering: wrapped under key {kek}, which is not the master key")
        return Framing.WRAPPED, False, reader.octets()
    if choice != _AGREED:
        raise DecodeError(f"general-ciphering: {choice} is no choice of key-info")
    parameters, key = reader.octets(), reader.octets()
    if parameters == _ONE_PASS:
        return Framing.ONE_PASS, False, key
    if parameters != _STATIC or key:
        raise DecodeError(f"general-ciphering: key-parameters {parameters[:8].hex()} are none of ours")
    return Framing.STATIC, False, b""


def is_general(frame: bytes) -> bool:
    return frame[:1] in (bytes((CIPHERING,)), bytes((SIGNING,)))
