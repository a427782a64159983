"""encode and decode of the xDLMS APDUs (IEC 62056-5-3, A-XDR).

The first byte names the service, for GET, SET and ACTION the second its variant. General block transfer, which carries
pieces of other APDUs, stands in `dcu.cosem.gbt`.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from dcu.cosem import axdr
from dcu.cosem.apdu import access, initiate, wire, writing
from dcu.cosem.apdu.names import SERVICES, service_name, variant_name
from dcu.cosem.apdu.results import (
    DataAccessResult,
    ExceptionService,
    ExceptionState,
)
from dcu.cosem.apdu.types import (
    Apdu,
    ConfirmedServiceError,
    DataNotification,
    EventNotification,
    ExceptionResponse,
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    InitiateRequest,
    InitiateResponse,
)
from dcu.cosem.apdu.wire import Reader
from dcu.errors import DecodeError

_OCTET_STRING = 0x09

_BLOCK = struct.Struct(">BBB?I")  # tag, variant, invoke, last-block, block-number
_NEXT = struct.Struct(">BBBI")


def encode(apdu: Apdu) -> bytes:
    """Return `apdu` as it goes on the wire. Raises ValueError where a field cannot be sent."""
    try:
        return _ENCODERS[type(apdu)](apdu)
    except (struct.error, OverflowError) as error:
        raise ValueError(f"{type(apdu).__name__}: a field is out of range: {error}") from None


def decode(raw: bytes) -> Apdu:
    """Read one whole plain APDU. Raises DecodeError: a ciphered one has to be unprotected first."""
    if not raw:
        raise DecodeError("an APDU without a byte")
    entry = _DECODERS.get(raw[0])
    if entry is None:
        raise DecodeError(_unreadable(raw[0]), 0)
    if callable(entry):
        return entry(Reader(raw, 1))
    if len(raw) < 2:
        raise DecodeError(f"{service_name(raw[0])}: the APDU ends after its tag", 1)
    variant = entry.get(raw[1])
    if variant is None:
        raise DecodeError(f"{service_name(raw[0])} {variant_name(raw[0], raw[1])} is not supported", 1)
    return variant(Reader(raw, 2))


def _unreadable(tag: int) -> str:
    name = service_name(tag)
    if name.startswith(("glo-", "ded-", "general-glo", "general-ded")):
        return f"{name} where a plain APDU is expected: it is ciphered"
    return f"{name} is not supported" if tag in SERVICES else f"{tag:02X} begins no known APDU"


# --- GET


def _encode_get_request(apdu: GetRequestNormal) -> bytes:
    return bytes((0xC0, 1, apdu.invoke)) + wire.attribute(apdu.attribute) + wire.selection(apdu.selection)


def _get_request(reader: Reader) -> GetRequestNormal:
    request = GetRequestNormal(reader.u8(), reader.attribute(), reader.selection())
    reader.end()
    return request


def _encode_get_next(apdu: GetRequestNext) -> bytes:
    return _NEXT.pack(0xC0, 2, apdu.invoke, apdu.block)


def _get_next(reader: Reader) -> GetRequestNext:
    request = GetRequestNext(reader.u8(), reader.u32())
    reader.end()
    return request


def _encode_get_list(apdu: GetRequestList) -> bytes:
    items = [wire.attribute(ref) + wire.selection(chosen) for ref, chosen in apdu.attributes]
    return bytes((0xC0, 3, apdu.invoke)) + axdr.encode_length(len(items)) + b"".join(items)


def _get_list(reader: Reader) -> GetRequestList:
    invoke = reader.u8()
    items = tuple((reader.attribute(), reader.selection()) for _ in range(reader.length()))
    reader.end()
    return GetRequestList(invoke, items)


def _encode_get_response(apdu: GetResponseNormal) -> bytes:
    return bytes((0xC4, 1, apdu.invoke)) + wire.result(apdu.result)


def _get_response(reader: Reader) -> GetResponseNormal:
    response = GetResponseNormal(reader.u8(), reader.result(last=True))
    reader.end()
    return response


def _encode_get_block(apdu: GetResponseBlock) -> bytes:
    head = _BLOCK.pack(0xC4, 2, apdu.invoke, apdu.last, apdu.block)
    if isinstance(apdu.result, DataAccessResult):
        return head + wire.result(apdu.result)
    return head + b"\x00" + wire.octets(apdu.result)


def _get_block(reader: Reader) -> GetResponseBlock:
    invoke, last, block = reader.u8(), bool(reader.u8()), reader.u32()
    result = DataAccessResult(reader.u8()) if reader.flag("block result") else reader.octets()
    reader.end()
    return GetResponseBlock(invoke, last, block, result)


def _encode_get_results(apdu: GetResponseList) -> bytes:
    items = map(wire.result, apdu.results)
    return bytes((0xC4, 3, apdu.invoke)) + axdr.encode_length(len(apdu.results)) + b"".join(items)


def _get_results(reader: Reader) -> GetResponseList:
    invoke = reader.u8()
    results = tuple(reader.result(last=False) for _ in range(reader.length()))
    reader.end()
    return GetResponseList(invoke, results)


# --- notifications and errors


def _encode_notification(apdu: DataNotification) -> bytes:
    head = b"\x0f" + apdu.long_invoke.to_bytes(4, "big")
    return head + wire.date_time(apdu.date_time) + wire.value(apdu.body)


def _notification(reader: Reader) -> DataNotification:
    invoke = reader.u32()
    at = reader.at
    size = reader.u8()
    if size == _OCTET_STRING:  # Kaifa tags the date-time as a value: 09 0C …
        size = reader.u8()
    if size not in (0, wire.DATE_TIME_SIZE):
        raise DecodeError(f"data-notification: a date-time has 12 bytes, or none, not {size}", at)
    return DataNotification(invoke, reader.take(size), reader.last_value())


def _encode_event(apdu: EventNotification) -> bytes:
    moment = b"\x01" + wire.date_time(apdu.date_time) if apdu.date_time else b"\x00"
    return b"\xc2" + moment + wire.attribute(apdu.attribute) + wire.value(apdu.value)


def _event(reader: Reader) -> EventNotification:
    moment = reader.date_time() if reader.flag("time") else b""
    return EventNotification(moment, reader.attribute(), reader.last_value())


def _encode_exception(apdu: ExceptionResponse) -> bytes:
    counter = b"" if apdu.counter is None else apdu.counter.to_bytes(4, "big")
    if counter and apdu.service != ExceptionService.INVOCATION_COUNTER_ERROR:
        raise ValueError(
            f"an exception-response carries a counter with invocation-counter-error only, not {apdu.service}"
        )
    return bytes((0xD8, apdu.state, apdu.service)) + counter


def _exception(reader: Reader) -> ExceptionResponse:
    state, service = ExceptionState(reader.u8()), ExceptionService(reader.u8())
    told = service == ExceptionService.INVOCATION_COUNTER_ERROR and reader.at < len(reader.raw)
    counter = reader.u32() if told else None
    reader.end()
    return ExceptionResponse(state, service, counter)


_Decoder = Callable[[Reader], Apdu]

_ENCODERS: Mapping[type, Callable[[Any], bytes]] = {
    InitiateRequest: initiate.encode_request,
    InitiateResponse: initiate.encode_response,
    ConfirmedServiceError: initiate.encode_error,
    ExceptionResponse: _encode_exception,
    GetRequestNormal: _encode_get_request,
    GetRequestNext: _encode_get_next,
    GetRequestList: _encode_get_list,
    GetResponseNormal: _encode_get_response,
    GetResponseBlock: _encode_get_block,
    GetResponseList: _encode_get_results,
    **writing.ENCODERS,
    access.AccessRequest: access.encode_request,
    access.AccessResponse: access.encode_response,
    DataNotification: _encode_notification,
    EventNotification: _encode_event,
}

_DECODERS: Mapping[int, _Decoder | Mapping[int, _Decoder]] = {
    0x01: initiate.decode_request,
    0x08: initiate.decode_response,
    0x0E: initiate.decode_error,
    0x0F: _notification,
    0xC0: {1: _get_request, 2: _get_next, 3: _get_list},
    0xC4: {1: _get_response, 2: _get_block, 3: _get_results},
    0xC2: _event,
    0xD8: _exception,
    access.REQUEST: access.decode_request,
    access.RESPONSE: access.decode_response,
    **writing.DECODERS,
}
