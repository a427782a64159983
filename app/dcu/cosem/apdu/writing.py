"""encode and decode of the SET and ACTION APDUs (`written`): tables by type and by variant for `codec`.

Source: IEC 62056-5-3 (DLMS Green Book 9.5), A-XDR.
"""

from collections.abc import Callable, Mapping
from typing import Any

from dcu.cosem.apdu import wire
from dcu.cosem.apdu.results import ActionResult, DataAccessResult
from dcu.cosem.apdu.wire import Reader
from dcu.cosem.apdu.written import (
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestList,
    ActionRequestListFirstBlock,
    ActionRequestNext,
    ActionRequestNormal,
    ActionResponseBlock,
    ActionResponseList,
    ActionResponseNext,
    ActionResponseNormal,
    Block,
    Item,
    Returned,
    SetRequestBlock,
    SetRequestFirstBlock,
    SetRequestList,
    SetRequestListFirstBlock,
    SetRequestNormal,
    SetResponseBlock,
    SetResponseLastBlock,
    SetResponseLastBlockList,
    SetResponseList,
    SetResponseNormal,
    Written,
)
from dcu.errors import DecodeError
from dcu.model import MethodRef

SET, ACTION, SET_RESPONSE, ACTION_RESPONSE = 0xC1, 0xC3, 0xC5, 0xC7


# --- pieces


def _block(block: Block) -> bytes:
    return bytes((block.last,)) + block.number.to_bytes(4, "big") + wire.octets(block.raw)


def _a_block(reader: Reader) -> Block:
    return Block(bool(reader.u8()), reader.u32(), reader.octets())


def _items(items: tuple[Item, ...]) -> bytes:
    return wire.sequence([wire.attribute(ref) + wire.selection(chosen) for ref, chosen in items])


def _some_items(reader: Reader) -> tuple[Item, ...]:
    return tuple((reader.attribute(), reader.selection()) for _ in range(reader.length()))


def _methods(methods: tuple[MethodRef, ...]) -> bytes:
    return wire.sequence([wire.method(each) for each in methods])


def _some_methods(reader: Reader) -> tuple[MethodRef, ...]:
    return tuple(reader.method() for _ in range(reader.length()))


def _values(values: tuple[bytes, ...], expected: int) -> bytes:
    if len(values) != expected:
        raise ValueError(f"{len(values)} values for {expected} references")
    return wire.sequence([wire.value(each) for each in values])


def _some_values(reader: Reader, expected: int) -> tuple[bytes, ...]:
    at = reader.at
    if (count := reader.length()) != expected:
        raise DecodeError(f"{count} values for {expected} references", at)
    return tuple(reader.value() for _ in range(count))


def _results(results: tuple[DataAccessResult, ...]) -> bytes:
    return wire.octets(bytes(results))


def _some_results(reader: Reader) -> tuple[DataAccessResult, ...]:
    return tuple(map(DataAccessResult, reader.octets()))


def returned(outcome: Returned | ActionResponseNormal) -> bytes:
    """Action-Response-With-Optional-Data."""
    value = b"\x00" if outcome.value is None else b"\x01" + wire.result(outcome.value)
    return bytes((outcome.result,)) + value


def read_returned(reader: Reader, *, last: bool) -> Returned:
    result = ActionResult(reader.u8())
    if last and reader.at == len(reader.raw):  # meters exist that leave out the flag when the method returns nothing
        return Returned(result)
    return Returned(result, reader.result(last=last) if reader.flag("return parameters") else None)


# --- SET


def _set_request(reader: Reader) -> SetRequestNormal:
    return SetRequestNormal(reader.u8(), reader.attribute(), reader.selection(), reader.last_value())


def _set_list(reader: Reader) -> SetRequestList:
    invoke, items = reader.u8(), _some_items(reader)
    return SetRequestList(invoke, items, _some_values(reader, len(items)))


def _set_first(reader: Reader) -> SetRequestFirstBlock:
    return SetRequestFirstBlock(reader.u8(), reader.attribute(), reader.selection(), _a_block(reader))


# --- ACTION


def _encode_action(apdu: ActionRequestNormal) -> bytes:
    parameter = b"\x00" if apdu.parameter is None else b"\x01" + wire.value(apdu.parameter)
    return wire.method(apdu.method) + parameter


def _action_request(reader: Reader) -> ActionRequestNormal:
    invoke, method = reader.u8(), reader.method()
    parameter = reader.last_value() if reader.flag("method parameters") else None
    return ActionRequestNormal(invoke, method, parameter)


def _action_list(reader: Reader) -> ActionRequestList:
    invoke, methods = reader.u8(), _some_methods(reader)
    return ActionRequestList(invoke, methods, _some_values(reader, len(methods)))


def _action_response(reader: Reader) -> ActionResponseNormal:
    invoke, outcome = reader.u8(), read_returned(reader, last=True)
    return ActionResponseNormal(invoke, outcome.result, outcome.value)


def _action_results(reader: Reader) -> ActionResponseList:
    invoke = reader.u8()
    return ActionResponseList(invoke, tuple(read_returned(reader, last=False) for _ in range(reader.length())))


# --- by type, and by tag and variant: what stands behind the invoke-id


_BODIES: Mapping[type, tuple[int, int, Callable[[Any], bytes]]] = {
    SetRequestNormal: (
        *(SET, 1),
        lambda apdu: wire.attribute(apdu.attribute) + wire.selection(apdu.selection) + wire.value(apdu.value),
    ),
    SetRequestFirstBlock: (
        *(SET, 2),
        lambda apdu: wire.attribute(apdu.attribute) + wire.selection(apdu.selection) + _block(apdu.block),
    ),
    SetRequestBlock: (SET, 3, lambda apdu: _block(apdu.block)),
    SetRequestList: (SET, 4, lambda apdu: _items(apdu.attributes) + _values(apdu.values, len(apdu.attributes))),
    SetRequestListFirstBlock: (SET, 5, lambda apdu: _items(apdu.attributes) + _block(apdu.block)),
    SetResponseNormal: (SET_RESPONSE, 1, lambda apdu: bytes((apdu.result,))),
    SetResponseBlock: (SET_RESPONSE, 2, lambda apdu: apdu.number.to_bytes(4, "big")),
    SetResponseLastBlock: (SET_RESPONSE, 3, lambda apdu: bytes((apdu.result,)) + apdu.number.to_bytes(4, "big")),
    SetResponseLastBlockList: (SET_RESPONSE, 4, lambda apdu: _results(apdu.results) + apdu.number.to_bytes(4, "big")),
    SetResponseList: (SET_RESPONSE, 5, lambda apdu: _results(apdu.results)),
    ActionRequestNormal: (ACTION, 1, _encode_action),
    ActionRequestNext: (ACTION, 2, lambda apdu: apdu.number.to_bytes(4, "big")),
    ActionRequestList: (ACTION, 3, lambda apdu: _methods(apdu.methods) + _values(apdu.parameters, len(apdu.methods))),
    ActionRequestFirstBlock: (ACTION, 4, lambda apdu: wire.method(apdu.method) + _block(apdu.block)),
    ActionRequestListFirstBlock: (ACTION, 5, lambda apdu: _methods(apdu.methods) + _block(apdu.block)),
    ActionRequestBlock: (ACTION, 6, lambda apdu: _block(apdu.block)),
    ActionResponseNormal: (ACTION_RESPONSE, 1, returned),
    ActionResponseBlock: (ACTION_RESPONSE, 2, lambda apdu: _block(apdu.block)),
    ActionResponseList: (ACTION_RESPONSE, 3, lambda apdu: wire.sequence([returned(each) for each in apdu.results])),
    ActionResponseNext: (ACTION_RESPONSE, 4, lambda apdu: apdu.number.to_bytes(4, "big")),
}

_READERS: Mapping[int, Mapping[int, Callable[[Reader], Written]]] = {
    SET: {
        1: _set_request,
        2: _set_first,
        3: lambda reader: SetRequestBlock(reader.u8(), _a_block(reader)),
        4: _set_list,
        5: lambda reader: SetRequestListFirstBlock(reader.u8(), _some_items(reader), _a_block(reader)),
    },
    SET_RESPONSE: {
        1: lambda reader: SetResponseNormal(reader.u8(), DataAccessResult(reader.u8())),
        2: lambda reader: SetResponseBlock(reader.u8(), reader.u32()),
        3: lambda reader: SetResponseLastBlock(reader.u8(), DataAccessResult(reader.u8()), reader.u32()),
        4: lambda reader: SetResponseLastBlockList(reader.u8(), _some_results(reader), reader.u32()),
        5: lambda reader: SetResponseList(reader.u8(), _some_results(reader)),
    },
    ACTION: {
        1: _action_request,
        2: lambda reader: ActionRequestNext(reader.u8(), reader.u32()),
        3: _action_list,
        4: lambda reader: ActionRequestFirstBlock(reader.u8(), reader.method(), _a_block(reader)),
        5: lambda reader: ActionRequestListFirstBlock(reader.u8(), _some_methods(reader), _a_block(reader)),
        6: lambda reader: ActionRequestBlock(reader.u8(), _a_block(reader)),
    },
    ACTION_RESPONSE: {
        1: _action_response,
        2: lambda reader: ActionResponseBlock(reader.u8(), _a_block(reader)),
        3: _action_results,
        4: lambda reader: ActionResponseNext(reader.u8(), reader.u32()),
    },
}


def _encoder(tag: int, variant: int, body: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    return lambda apdu: bytes((tag, variant, apdu.invoke)) + body(apdu)


def _decoder(read: Callable[[Reader], Written]) -> Callable[[Reader], Written]:
    def whole(reader: Reader) -> Written:
        apdu = read(reader)
        reader.end()
        return apdu

    return whole


ENCODERS = {kind: _encoder(*entry) for kind, entry in _BODIES.items()}
DECODERS = {tag: {variant: _decoder(read) for variant, read in of.items()} for tag, of in _READERS.items()}
