"""ACCESS: gets, sets and actions of any mix in one request and its response; values and codec.

The request names everything first, then gives one value for each (null-data where it needs none); the response gives
one value for each, then one result. Source: IEC 62056-5-3 (DLMS Green Book 9.3.9, 9.5).
"""

from dataclasses import dataclass, field

from dcu.cosem.apdu import wire
from dcu.cosem.apdu.results import ActionResult, DataAccessResult
from dcu.cosem.apdu.wire import Reader
from dcu.cosem.axdr import NULL
from dcu.cosem.selection import Selection
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef

REQUEST, RESPONSE = 0xD9, 0xDA
_GET, _SET, _ACTION, _GET_SELECTED, _SET_SELECTED = 1, 2, 3, 4, 5


@dataclass(frozen=True, slots=True)
class AccessGet:
    attribute: AttributeRef
    selection: Selection | None = None


@dataclass(frozen=True, slots=True)
class AccessSet:
    attribute: AttributeRef
    value: bytes = field(repr=False)
    selection: Selection | None = None


@dataclass(frozen=True, slots=True)
class AccessAction:
    """parameter: encoded; null-data (00) for none."""

    method: MethodRef
    parameter: bytes = field(default=NULL, repr=False)


Access = AccessGet | AccessSet | AccessAction


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """long_invoke: Long-Invoke-Id-And-Priority; date_time: the 12 bytes of a COSEM date-time, or none."""

    long_invoke: int
    date_time: bytes
    items: tuple[Access, ...]


@dataclass(frozen=True, slots=True)
class Accessed:
    """What one item came to: its value (null-data for none) and its result, of the kind of the item."""

    result: DataAccessResult | ActionResult
    value: bytes = field(default=NULL, repr=False)


@dataclass(frozen=True, slots=True)
class AccessResponse:
    """One outcome for each item of the request, in its order. kinds: 1 get, 2 set, 3 action, in the same order.

    shown: the request's items once more, without their values, where it asked for a self-descriptive answer.
    """

    long_invoke: int
    date_time: bytes
    outcomes: tuple[Accessed, ...]
    kinds: tuple[int, ...]
    shown: tuple[Access, ...] = ()


def kind(item: Access) -> int:
    """What the response calls an item: 1 get, 2 set, 3 action."""
    return _GET if isinstance(item, AccessGet) else _SET if isinstance(item, AccessSet) else _ACTION


def encode_request(request: AccessRequest) -> bytes:
    names, values = [], []
    for item in request.items:
        names.append(_encode_name(item))
        if isinstance(item, AccessAction):
            values.append(wire.value(item.parameter))
        else:
            values.append(NULL if isinstance(item, AccessGet) else wire.value(item.value))
    head = bytes((REQUEST,)) + request.long_invoke.to_bytes(4, "big") + wire.date_time(request.date_time)
    return head + wire.sequence(names) + wire.sequence(values)


def decode_request(reader: Reader) -> AccessRequest:
    long_invoke, moment = reader.u32(), reader.date_time()
    names = [_name(reader) for _ in range(reader.length())]
    at = reader.at
    if (count := reader.length()) != len(names):
        raise DecodeError(f"access-request: {count} values for {len(names)} references", at)
    items = tuple(_item(name, reader.value()) for name in names)
    reader.end()
    return AccessRequest(long_invoke, moment, items)


def encode_response(response: AccessResponse) -> bytes:
    values = wire.sequence([wire.value(outcome.value) for outcome in response.outcomes])
    each = zip(response.kinds, response.outcomes, strict=True)
    results = wire.sequence([bytes((kind, outcome.result)) for kind, outcome in each])
    head = bytes((RESPONSE,)) + response.long_invoke.to_bytes(4, "big") + wire.date_time(response.date_time)
    shown = b"\x01" + wire.sequence([_encode_name(item) for item in response.shown]) if response.shown else b"\x00"
    return head + shown + values + results


def decode_response(reader: Reader) -> AccessResponse:
    long_invoke, moment = reader.u32(), reader.date_time()
    shown: tuple[Access, ...] = ()
    if reader.flag("access-request-specification"):
        shown = tuple(_item(_name(reader), NULL) for _ in range(reader.length()))
    values = [reader.value() for _ in range(reader.length())]
    at = reader.at
    if (count := reader.length()) != len(values):
        raise DecodeError(f"access-response: {count} results for {len(values)} values", at)
    outcomes, kinds = [], []
    for value in values:
        kinds.append(_kind(reader))
        result = reader.u8()
        outcomes.append(Accessed(ActionResult(result) if kinds[-1] == _ACTION else DataAccessResult(result), value))
    reader.end()
    return AccessResponse(long_invoke, moment, tuple(outcomes), tuple(kinds), shown)


def _encode_name(item: Access) -> bytes:
    if isinstance(item, AccessAction):
        return bytes((_ACTION,)) + wire.method(item.method)
    plain, selected = (_GET, _GET_SELECTED) if isinstance(item, AccessGet) else (_SET, _SET_SELECTED)
    if item.selection is None:
        return bytes((plain,)) + wire.attribute(item.attribute)
    return bytes((selected,)) + wire.attribute(item.attribute) + wire.selection(item.selection)[1:]


def _name(reader: Reader) -> tuple[int, AttributeRef | MethodRef, Selection | None]:
    at = reader.at
    choice = reader.u8()
    if choice == _ACTION:
        return choice, reader.method(), None
    if choice in (_GET, _SET):
        return choice, reader.attribute(), None
    if choice in (_GET_SELECTED, _SET_SELECTED):
        return choice, reader.attribute(), Selection(reader.u8(), reader.value())
    raise DecodeError(f"access-request: {choice} is no kind of access", at)


def _item(name: tuple[int, AttributeRef | MethodRef, Selection | None], value: bytes) -> Access:
    choice, reference, selection = name
    if isinstance(reference, MethodRef):
        return AccessAction(reference, value)
    if choice in (_SET, _SET_SELECTED):
        return AccessSet(reference, value, selection)
    if value != NULL:
        raise DecodeError("access-request: a value where something is to be read", 0)
    return AccessGet(reference, selection)


def _kind(reader: Reader) -> int:
    at = reader.at
    choice = reader.u8()
    if choice not in (_GET, _SET, _ACTION):
        raise DecodeError(f"access-response: {choice} is no kind of access", at)
    return choice
