"""xDLMS initiate: what client and server agree on, and the error that stands in its place.

A-XDR: an optional or default field is preceded by 01 (present) or 00. Conformance stands as the BER-tagged bit string
``5F 1F 04 00 xx xx xx``; meters exist that leave out the 5F. Source: IEC 62056-5-3 (DLMS Green Book 9.5, 11).
"""

from dcu.cosem.apdu import wire
from dcu.cosem.apdu.results import ConfirmedService, Conformance, ErrorClass
from dcu.cosem.apdu.types import ConfirmedServiceError, InitiateRequest, InitiateResponse
from dcu.cosem.apdu.wire import Reader
from dcu.credentials import Secret
from dcu.errors import DecodeError

_CONFORMANCE = b"\x5f\x1f\x04\x00"  # application tag 31, 4 bytes, no unused bits


def encode_request(apdu: InitiateRequest) -> bytes:
    return b"".join(
        (
            b"\x01",
            b"\x00" if apdu.dedicated_key is None else b"\x01" + wire.octets(apdu.dedicated_key.reveal()),
            b"\x00" if apdu.response_allowed else b"\x01\x00",  # DEFAULT TRUE
            _quality(apdu.quality_of_service),
            bytes((apdu.version,)),
            _conformance(apdu.conformance),
            apdu.max_pdu.to_bytes(2, "big"),
        )
    )


def decode_request(reader: Reader) -> InitiateRequest:
    key = Secret(reader.octets()) if reader.flag("dedicated key") else None
    allowed = bool(reader.u8()) if reader.flag("response allowed") else True
    quality = _read_quality(reader)
    version = reader.u8()
    conformance = _read_conformance(reader)
    max_pdu = reader.u16()
    reader.end()
    return InitiateRequest(conformance, max_pdu, key, allowed, quality, version)


def encode_response(apdu: InitiateResponse) -> bytes:
    return b"".join(
        (
            b"\x08",
            _quality(apdu.quality_of_service),
            bytes((apdu.version,)),
            _conformance(apdu.conformance),
            apdu.max_pdu.to_bytes(2, "big"),
            apdu.vaa_name.to_bytes(2, "big"),
        )
    )


def decode_response(reader: Reader) -> InitiateResponse:
    quality = _read_quality(reader)
    version = reader.u8()
    conformance = _read_conformance(reader)
    max_pdu = reader.u16()
    vaa_name = reader.u16()
    reader.end()
    return InitiateResponse(conformance, max_pdu, quality, version, vaa_name)


def encode_error(apdu: ConfirmedServiceError) -> bytes:
    return bytes((0x0E, apdu.service, apdu.error_class, apdu.value))


def decode_error(reader: Reader) -> ConfirmedServiceError:
    error = ConfirmedServiceError(ConfirmedService(reader.u8()), ErrorClass(reader.u8()), reader.u8())
    reader.end()
    return error


def _quality(value: int | None) -> bytes:
    return b"\x00" if value is None else b"\x01" + value.to_bytes(1, "big", signed=True)


def _read_quality(reader: Reader) -> int | None:
    return int.from_bytes(reader.take(1), "big", signed=True) if reader.flag("quality of service") else None


def _conformance(value: Conformance) -> bytes:
    return _CONFORMANCE + value.to_bytes(3, "big")


def _read_conformance(reader: Reader) -> Conformance:
    at = reader.at
    if reader.u8() != 0x5F:
        reader.at = at  # 1F alone: the tag's number without its class
    if reader.take(3) != _CONFORMANCE[1:]:
        raise DecodeError("conformance expected: 5F 1F 04 00 and three bytes", at)
    return Conformance(int.from_bytes(reader.take(3), "big"))
