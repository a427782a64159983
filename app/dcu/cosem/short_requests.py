"""Services by short names as a server sees them: read and write on the wire, by logical names inside.

Source: IEC 62056-5-3 (DLMS Green Book 9.3.12 to 9.3.16, 9.5).
"""

from dataclasses import dataclass, field

from dcu.cosem import apdu
from dcu.cosem.apdu import (
    Access,
    AccessAction,
    AccessGet,
    AccessSet,
    ActionRequestNormal,
    ActionResponseNext,
    ActionResponseNormal,
    ActionResult,
    Apdu,
    DataAccessResult,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    SetRequestNormal,
    SetResponseBlock,
    SetResponseLastBlock,
    SetResponseList,
    SetResponseNormal,
    short,
)
from dcu.cosem.apdu.short import (
    Name,
    NextBlock,
    ReadBlock,
    ReadRequest,
    ReadResponse,
    ReadResult,
    RequestBlock,
    Taken,
    WriteRequest,
    WriteResponse,
)
from dcu.cosem.apdu.wire import CONFIRMED
from dcu.cosem.axdr import NULL
from dcu.cosem.selection import Selection
from dcu.cosem.short_names import CURRENT, ShortNames
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef

INVOKE = 0xC1  # what stands for the invoke-id that there is none of


@dataclass(frozen=True, slots=True)
class Piece:
    """One block of a long request. service: the tag of what it is a part of; raw: None where a write has no piece."""

    service: int
    last: bool
    number: int
    raw: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Several:
    """A list: variables that are read or written, methods that are called, as they come. invoke: whether confirmed."""

    invoke: int
    items: tuple[Access, ...]
    written: bool


class ServerTranslator:
    """A client's requests and their answers, one at a time: the form of the request decides that of the answer."""

    def __init__(self, names: ShortNames) -> None:
        self.names = names
        self._asked: ReadRequest | WriteRequest | None = None

    def request(self, plain: bytes) -> Apdu | Piece | Several:
        """A request by short names as one by logical names. Raises DecodeError; a name that is none becomes one that
        nothing has, so that its sender is told that."""
        asked = short.decode(plain)
        if not isinstance(asked, ReadRequest | WriteRequest) or not asked.variables:
            raise DecodeError(f"{type(asked).__name__} where a request is due, or one that asks for nothing")
        self._asked = asked
        names = tuple(variable for variable in asked.variables if isinstance(variable, Name))
        if len(names) != len(asked.variables):
            return _block(asked)
        invoke = INVOKE if isinstance(asked, ReadRequest) or asked.confirmed else INVOKE & ~CONFIRMED
        if isinstance(asked, WriteRequest):
            items = tuple(self._item(name, value) for name, value in zip(names, asked.values, strict=True))
        else:
            items = tuple(map(self._item, names))
        match items:
            case (AccessAction(method, parameter),):
                return ActionRequestNormal(invoke, method, parameter)
            case (AccessGet(attribute, selection),):
                return GetRequestNormal(invoke, attribute, selection)
            case (AccessSet(attribute, value, selection),):
                return SetRequestNormal(invoke, attribute, selection, value)
        return Several(invoke, items, isinstance(asked, WriteRequest))

    def _item(self, variable: Name, value: bytes | None = None) -> Access:
        """value: what is written."""
        try:
            ref = self.names.resolve(variable.name)
        except KeyError:
            ref = AttributeRef(0, CURRENT, 0)
        if isinstance(ref, MethodRef):
            return AccessAction(ref, value or variable.parameter or NULL)
        selection = None if variable.selector is None else Selection(variable.selector, variable.parameter)
        return AccessGet(ref, selection) if value is None else AccessSet(ref, value, selection)

    def response(self, answer: Apdu) -> bytes:
        """What the application's side answered, as its asker expects it."""
        results: tuple[ReadResult, ...]
        match answer:
            case SetResponseNormal() | SetResponseLastBlock():
                return short.encode(WriteResponse((answer.result,)))
            case SetResponseList():
                return short.encode(WriteResponse(answer.results))
            case SetResponseBlock():
                return short.encode(WriteResponse((Taken(answer.number),)))
            case ActionResponseNormal() if isinstance(self._asked, WriteRequest):
                return short.encode(WriteResponse((DataAccessResult(answer.result),)))
            case GetResponseBlock() | GetResponseNormal() if isinstance(self._asked, WriteRequest):
                return short.encode(WriteResponse((DataAccessResult.SUCCESS,)))  # a method ran; a write returns nothing
            case ActionResponseNormal():
                failed = answer.result != ActionResult.SUCCESS
                results = (DataAccessResult(answer.result) if failed else answer.value or NULL,)
            case ActionResponseNext():
                results = (Taken(answer.number),)
            case GetResponseBlock(result=DataAccessResult() as problem):
                results = (problem,)
            case GetResponseBlock(result=bytes() as raw):
                results = (ReadBlock(answer.last, answer.block & 0xFFFF, raw),)
            case GetResponseNormal():
                results = (answer.result,)
            case GetResponseList():
                results = answer.results
            case _:
                return apdu.encode(answer)
        return short.encode(ReadResponse(results))


def _block(asked: ReadRequest | WriteRequest) -> Apdu | Piece:
    """What asks for a block, or is one. Raises DecodeError where it is not alone, or belongs to the other service."""
    match asked:
        case ReadRequest(variables=(NextBlock(number),)):
            return GetRequestNext(INVOKE, number)
        case ReadRequest(variables=(RequestBlock(last, number, bytes() as raw),)):
            return Piece(short.READ, last, number, raw)
        case WriteRequest(variables=(RequestBlock(last, number, None),), values=(value,), confirmed=True):
            return Piece(short.WRITE, last, number, short.piece(value))
    raise DecodeError("a block together with other variables, or in a service that has none")
