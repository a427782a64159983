"""ACSE: the four APDUs that open and close an association (AARQ, AARE, RLRQ, RLRE), in BER.

Strict where the meaning is at stake (a field twice, a field cut short, an unknown context), tolerant of what real
meters add or leave out: protocol-version, requirements, titles of the called party, and RLRE whose lengths lie.
Not authenticated by anybody, so never worth a security decision: protocol-version, requirements, reason, diagnostic.

Source: IEC 62056-5-3 / ISO 8650-1 (DLMS Green Book 9.4.2): tags, object identifiers of contexts and mechanisms.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from dcu.cosem import axdr
from dcu.cosem.named import Open
from dcu.errors import DecodeError

_ARC = bytes.fromhex("60857405 08")  # 2.16.756.5.8: country, Switzerland, DLMS UA
_CONTEXT, _MECHANISM = 1, 2
_REQUIRES_AUTHENTICATION = b"\x07\x80"  # a bit string with bit 0: the functional unit `authentication`

_USER = 0xA9  # calling-AE-invocation-identifier

_NAMES = {0x60: "aarq", 0x61: "aare", 0x62: "rlrq", 0x63: "rlre"}
_MAX_REASON = 0xFF


class ApplicationContext(IntEnum):
    """Last arc of 2.16.756.5.8.1.x: the referencing, and whether APDUs may be ciphered."""

    LN = 1
    SN = 2
    LN_CIPHERED = 3
    SN_CIPHERED = 4

    @property
    def ciphered(self) -> bool:
        return self >= ApplicationContext.LN_CIPHERED


class Mechanism(IntEnum):
    """Last arc of 2.16.756.5.8.2.x: how the parties prove who they are."""

    NONE = 0
    LOW = 1
    HIGH = 2
    HIGH_MD5 = 3
    HIGH_SHA1 = 4
    HIGH_GMAC = 5
    HIGH_SHA256 = 6
    HIGH_ECDSA = 7


class AssociationResult(Open):
    ACCEPTED = 0
    REJECTED_PERMANENT = 1
    REJECTED_TRANSIENT = 2


class UserDiagnostic(Open):
    """Why, as the ACSE service user (the DLMS server) says it."""

    NULL = 0
    NO_REASON_GIVEN = 1
    APPLICATION_CONTEXT_NAME_NOT_SUPPORTED = 2
    CALLING_AP_TITLE_NOT_RECOGNIZED = 3
    CALLING_AP_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 4
    CALLING_AE_QUALIFIER_NOT_RECOGNIZED = 5
    CALLING_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 6
    CALLED_AP_TITLE_NOT_RECOGNIZED = 7
    CALLED_AP_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 8
    CALLED_AE_QUALIFIER_NOT_RECOGNIZED = 9
    CALLED_AE_INVOCATION_IDENTIFIER_NOT_RECOGNIZED = 10
    AUTHENTICATION_MECHANISM_NAME_NOT_RECOGNISED = 11
    AUTHENTICATION_MECHANISM_NAME_REQUIRED = 12
    AUTHENTICATION_FAILURE = 13
    AUTHENTICATION_REQUIRED = 14


class ProviderDiagnostic(Open):
    """Why, as the ACSE service provider says it."""

    NULL = 0
    NO_REASON_GIVEN = 1
    NO_COMMON_ACSE_VERSION = 2


Diagnostic = UserDiagnostic | ProviderDiagnostic


@dataclass(frozen=True, slots=True)
class Aarq:
    """The client asks for an association. user_information: an InitiateRequest, plain or ciphered, encoded.

    user: who of the client's users asks (calling-AE-invocation-identifier), 0..255.
    """

    context: ApplicationContext
    calling_title: bytes | None = None
    mechanism: Mechanism | None = None
    authentication_value: bytes | None = field(default=None, repr=False)
    user_information: bytes | None = field(default=None, repr=False)
    user: int | None = None


@dataclass(frozen=True, slots=True)
class Aare:
    """The server's answer. HLS goes on after `accepted` with AUTHENTICATION_REQUIRED."""

    context: ApplicationContext
    result: AssociationResult
    diagnostic: Diagnostic
    responding_title: bytes | None = None
    mechanism: Mechanism | None = None
    authentication_value: bytes | None = field(default=None, repr=False)
    user_information: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Rlrq:
    """The client ends the association. reason: 0 normal, 1 urgent, 30 user-defined."""

    reason: int | None = None
    user_information: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Rlre:
    """The server's answer. reason: 0 normal, 1 not finished, 30 user-defined."""

    reason: int | None = None
    user_information: bytes | None = field(default=None, repr=False)


Acse = Aarq | Aare | Rlrq | Rlre


def encode(apdu: Acse) -> bytes:
    """Return `apdu` as it goes on the wire. Raises ValueError where a field cannot be sent."""
    if isinstance(apdu, Aarq):
        return _tlv(0x60, _aarq_fields(apdu))
    if isinstance(apdu, Aare):
        return _tlv(0x61, _aare_fields(apdu))
    if apdu.reason is not None and not 0 <= apdu.reason <= _MAX_REASON:
        raise ValueError(f"a release reason is 0..{_MAX_REASON}, not {apdu.reason}")
    reason = b"" if apdu.reason is None else bytes((0x80, 1, apdu.reason))
    return _tlv(0x62 if isinstance(apdu, Rlrq) else 0x63, reason + _information(apdu.user_information))


def decode(raw: bytes) -> Acse:
    """Read one whole ACSE APDU. Raises DecodeError."""
    if not raw or raw[0] not in _NAMES:
        found = f"{raw[0]:02X}" if raw else "nothing"
        raise DecodeError(f"an ACSE APDU begins with 60, 61, 62 or 63, not with {found}", 0)
    size, at = axdr.decode_length(raw, 1)
    if raw[0] in (0x62, 0x63):
        return _release(raw, at)
    if size != len(raw) - at:
        raise DecodeError(f"{_NAMES[raw[0]]} announces {size} bytes, {len(raw) - at} follow", at)
    fields = _Fields(raw, at)
    return _aarq(fields) if raw[0] == 0x60 else _aare(fields)


def _aarq_fields(apdu: Aarq) -> bytes:
    return b"".join(
        (
            _tlv(0xA1, _oid(_CONTEXT, apdu.context)),
            _title(0xA6, apdu.calling_title),
            b"" if apdu.user is None else _tlv(_USER, bytes((0x02, 1, apdu.user))),
            _mechanism(0x8A, apdu.mechanism),
            _authentication(0xAC, apdu.authentication_value),
            _information(apdu.user_information),
        )
    )


def _aare_fields(apdu: Aare) -> bytes:
    choice = 0xA1 if isinstance(apdu.diagnostic, UserDiagnostic) else 0xA2
    return b"".join(
        (
            _tlv(0xA1, _oid(_CONTEXT, apdu.context)),
            _tlv(0xA2, bytes((0x02, 1, apdu.result))),
            _tlv(0xA3, _tlv(choice, bytes((0x02, 1, apdu.diagnostic)))),
            _title(0xA4, apdu.responding_title),
            _mechanism(0x88, apdu.mechanism),
            _authentication(0xAA, apdu.authentication_value),
            _information(apdu.user_information),
        )
    )


def _tlv(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + axdr.encode_length(len(content)) + content


def _oid(branch: int, number: int) -> bytes:
    return _tlv(0x06, _ARC + bytes((branch, number)))


def _title(tag: int, title: bytes | None) -> bytes:
    return b"" if title is None else _tlv(tag, _tlv(0x04, title))


def _mechanism(requirements: int, mechanism: Mechanism | None) -> bytes:
    """The requirements (8A or 88), and the mechanism's name, whose tag is the next one; none where there is none."""
    if mechanism is None:
        return b""
    return _tlv(requirements, _REQUIRES_AUTHENTICATION) + _tlv(requirements + 1, _ARC + bytes((_MECHANISM, mechanism)))


def _authentication(tag: int, value: bytes | None) -> bytes:
    return b"" if value is None else _tlv(tag, _tlv(0x80, value))


def _information(content: bytes | None) -> bytes:
    return b"" if content is None else _tlv(0xBE, _tlv(0x04, content))


_Number = TypeVar("_Number", bound=IntEnum)


class _Fields:
    """The fields of an AARQ or AARE by tag. Unknown ones are left alone; one that comes twice is refused."""

    def __init__(self, raw: bytes, at: int) -> None:
        self._name = _NAMES[raw[0]]
        self._by_tag: dict[int, bytes] = {}
        for tag, content in _elements(raw, at):
            if tag in self._by_tag:
                raise DecodeError(f"{self._name}: field {tag:02X} comes twice")
            self._by_tag[tag] = content

    def get(self, tag: int, *inner: int) -> bytes | None:
        """The content of field `tag`, below the tags `inner`, each of which must be all that is there; None: absent."""
        content = self._by_tag.get(tag)
        for expected in inner:
            if content is None:
                break
            content = self._only(content, expected, tag)
        return content

    def need(self, tag: int, what: str, *inner: int) -> bytes:
        content = self.get(tag, *inner)
        if content is None:
            raise DecodeError(f"{self._name} without {what} (field {tag:02X})")
        return content

    def number(self, tag: int, what: str, *inner: int) -> int:
        content = self.need(tag, what, *inner, 0x02)
        value = int.from_bytes(content, "big")
        if not 1 <= len(content) <= 4 or value > 0xFF:
            raise DecodeError(f"{self._name}: {what} is no number of one byte")
        return value

    def arc(self, content: bytes, branch: int, kind: type[_Number], what: str) -> _Number:
        """The last arc of 2.16.756.5.8.`branch`.x."""
        if len(content) != len(_ARC) + 2 or content[:-1] != _ARC + bytes((branch,)):
            raise DecodeError(f"{self._name}: {content[:16].hex()} is not the object identifier of a DLMS {what}")
        try:
            return kind(content[-1])
        except ValueError:
            raise DecodeError(f"{self._name}: {what} {content[-1]} is unknown") from None

    def tags(self, tag: int) -> bytes:
        """The tag inside field `tag`, as one byte; empty where there is none."""
        return (self._by_tag.get(tag) or b"")[:1]

    def _only(self, content: bytes, expected: int, field_tag: int) -> bytes:
        elements = list(_elements(content, 0))
        if len(elements) != 1 or elements[0][0] != expected:
            raise DecodeError(f"{self._name}: field {field_tag:02X} does not hold one element {expected:02X}")
        return elements[0][1]


def _elements(raw: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """The BER elements of raw[at:]: tags of one byte, definite lengths."""
    while at < len(raw):
        tag = raw[at]
        if tag & 0x1F == 0x1F:
            raise DecodeError(f"BER tag {tag:02X} goes on in further bytes: none does in ACSE", at)
        size, start = axdr.decode_length(raw, at + 1)
        if size > len(raw) - start:
            raise DecodeError(f"BER element {tag:02X} announces {size} bytes, {len(raw) - start} are left", at)
        at = start + size
        yield tag, raw[start:at]


def _aarq(fields: _Fields) -> Aarq:
    return Aarq(
        context=_context(fields),
        calling_title=fields.get(0xA6, 0x04),
        mechanism=_read_mechanism(fields, 0x8B),
        authentication_value=fields.get(0xAC, 0x80),
        user_information=fields.get(0xBE, 0x04),
        user=_user(fields),
    )


def _user(fields: _Fields) -> int | None:
    """Other software counts its invocations in this field: what is no user's number is left alone."""
    content = fields.get(_USER)
    return content[2] if content and content[:2] == b"\x02\x01" and len(content) == 3 else None


def _aare(fields: _Fields) -> Aare:
    result = AssociationResult(fields.number(0xA2, "result"))
    diagnostic: Diagnostic
    if fields.tags(0xA3) == b"\xa2":
        diagnostic = ProviderDiagnostic(fields.number(0xA3, "diagnostic", 0xA2))
    else:
        diagnostic = UserDiagnostic(fields.number(0xA3, "diagnostic", 0xA1))
    return Aare(
        context=_context(fields),
        result=result,
        diagnostic=diagnostic,
        responding_title=fields.get(0xA4, 0x04),
        mechanism=_read_mechanism(fields, 0x89),
        authentication_value=fields.get(0xAA, 0x80),
        user_information=fields.get(0xBE, 0x04),
    )


def _context(fields: _Fields) -> ApplicationContext:
    return fields.arc(
        fields.need(0xA1, "application context", 0x06), _CONTEXT, ApplicationContext, "application context"
    )


def _read_mechanism(fields: _Fields, tag: int) -> Mechanism | None:
    content = fields.get(tag)
    return None if content is None else fields.arc(content, _MECHANISM, Mechanism, "authentication mechanism")


def _release(raw: bytes, at: int) -> Rlrq | Rlre:
    """RLRQ or RLRE. Gurux's Java server counts the lengths around the user information short: they are not believed;
    what is inside has its own length, and its own tag where it is ciphered."""
    reason: int | None = None
    information: bytes | None = None
    while at < len(raw) and information is None:
        tag = raw[at]
        size, at = axdr.decode_length(raw, at + 1)
        if tag == 0xBE:
            if raw[at : at + 1] != b"\x04":
                raise DecodeError(f"{_NAMES[raw[0]]}: user-information is no octet string", at)
            size, at = axdr.decode_length(raw, at + 1)
            information = raw[at : at + size]
        elif tag == 0x80:
            reason = int.from_bytes(raw[at : at + size], "big")
        at += size
        if at > len(raw):
            raise DecodeError(f"{_NAMES[raw[0]]}: element {tag:02X} is cut short", len(raw))
    if reason is not None and reason > _MAX_REASON:
        raise DecodeError(f"{_NAMES[raw[0]]}: the reason is no number of one byte")
    return Rlrq(reason, information) if raw[0] == 0x62 else Rlre(reason, information)
