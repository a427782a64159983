"""Services by logical names in, read and write by short names on the wire, and back: the client's side.

A long value of a SET travels in blocks of a write, a long parameter of an ACTION in blocks of a read. With logical
names the blocks hold the value alone; here the whole request, so the first one begins with what the value is for.
Source: IEC 62056-5-3 (DLMS Green Book 9.3.12 to 9.3.16, 9.5).
"""

from dcu.cosem import apdu, axdr
from dcu.cosem.apdu import (
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestNext,
    ActionRequestNormal,
    ActionResponseBlock,
    ActionResponseNext,
    ActionResponseNormal,
    ActionResult,
    Apdu,
    Block,
    Conformance,
    DataAccessResult,
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
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
    short,
)
from dcu.cosem.apdu.short import (
    Name,
    NextBlock,
    ReadBlock,
    ReadRequest,
    ReadResponse,
    RequestBlock,
    Taken,
    WriteRequest,
    WriteResponse,
)
from dcu.cosem.axdr import NULL
from dcu.cosem.selection import Selection
from dcu.cosem.short_names import ShortNames
from dcu.errors import AccessDenied, MalformedAnswer, ServiceRefused
from dcu.model import AttributeRef

ONE_VALUE = b"\x01\x00"  # of a read's results: how many, and that the first is a value
_MAX_BLOCKS = 0xFFFF
_CALLS = ActionRequestNormal | ActionRequestFirstBlock | ActionRequestBlock | ActionRequestNext
_PIECES = SetRequestFirstBlock | SetRequestListFirstBlock | SetRequestBlock
_EQUIVALENT = {
    Conformance.READ: Conformance.GET | Conformance.BLOCK_TRANSFER_WITH_GET,  # which meters do without agreeing on it
    Conformance.WRITE: Conformance.SET | Conformance.ACTION,
    Conformance.PARAMETERIZED_ACCESS: Conformance.SELECTIVE_ACCESS | Conformance.ACTION,
    Conformance.PARAMETERIZED_ACCESS | Conformance.BLOCK_TRANSFER_WITH_GET: Conformance.BLOCK_TRANSFER_WITH_ACTION,
}


def equivalent(agreed: Conformance) -> Conformance:
    """What an association by short names can do, in the words of logical names, and those themselves."""
    found = Conformance(agreed)
    for by_short, by_logical in _EQUIVALENT.items():
        if agreed & by_short == by_short:
            found |= by_logical
    return found


def unlisted(error: KeyError) -> AccessDenied:
    """What to raise for what the meter does not list, or what has no short name."""
    reason = DataAccessResult.OBJECT_UNDEFINED
    return AccessDenied(f"{error.args[0]}: not in the meter's object list of short names", reason)


class ClientTranslator:
    """A client's requests and their answers, one at a time: what comes in is read as the answer to the last request."""

    def __init__(self, names: ShortNames) -> None:
        self.names = names
        self._request: Apdu | None = None  # by logical names
        self._asked: ReadRequest | WriteRequest | None = None
        self._invoke = 0

    def outgoing(self, raw: bytes) -> bytes:
        """A request by logical names as one by short names. Raises AccessDenied, ServiceRefused."""
        self._request = apdu.decode(raw)
        self._invoke = getattr(self._request, "invoke", 0)
        try:
            self._asked = self._asking(self._request)
        except KeyError as error:
            raise unlisted(error) from None
        return short.encode(self._asked)

    def incoming(self, plain: bytes) -> bytes:
        """The answer to it as one by logical names. Raises DecodeError, MalformedAnswer."""
        answer = short.decode(plain)
        if isinstance(answer, ReadResponse) and isinstance(self._asked, ReadRequest):
            return apdu.encode(self._read(answer, self._asked))
        if isinstance(answer, WriteResponse) and isinstance(self._asked, WriteRequest):
            return apdu.encode(self._written(answer, self._asked))
        raise _unfit(answer)

    def _asking(self, request: Apdu) -> ReadRequest | WriteRequest:
        match request:
            case GetRequestNormal():
                return ReadRequest((self._variable(request.attribute, request.selection),))
            case GetRequestList():
                return ReadRequest(self._variables(request.attributes))
            case GetRequestNext(block=number) | ActionRequestNext(number=number):
                return ReadRequest((NextBlock(number),))
            case SetRequestNormal():
                return WriteRequest((self._variable(request.attribute, request.selection),), (request.value,))
            case SetRequestList():
                return WriteRequest(self._variables(request.attributes), request.values)
            case ActionRequestNormal():
                return ReadRequest((Name(self.names.method(request.method), 0, request.parameter or NULL),))
        return self._piece(request)

    def _piece(self, request: Apdu) -> ReadRequest | WriteRequest:
        match request:
            case SetRequestFirstBlock():
                variable = self._variable(request.attribute, request.selection)
                return _write_piece(request.block, short.encode_variables((variable,)) + b"\x01")
            case SetRequestListFirstBlock():
                return _write_piece(request.block, short.encode_variables(self._variables(request.attributes)))
            case SetRequestBlock():
                return _write_piece(request.block)
            case ActionRequestFirstBlock():
                called = Name(self.names.method(request.method), 0, NULL)  # in whose place the parameter comes
                return _read_piece(request.block, short.encode_variables((called,)).removesuffix(NULL))
            case ActionRequestBlock():
                return _read_piece(request.block)
        raise ServiceRefused(f"{type(request).__name__} is not possible with short names")

    def _variable(self, attribute: AttributeRef, selection: Selection | None) -> Name:
        name = self.names.attribute(attribute)
        return Name(name) if selection is None else Name(name, selection.selector, selection.parameter)

    def _variables(self, items: tuple[tuple[AttributeRef, Selection | None], ...]) -> tuple[Name, ...]:
        return tuple(self._variable(*item) for item in items)

    def _read(self, answer: ReadResponse, asked: ReadRequest) -> Apdu:
        called = isinstance(self._request, _CALLS)
        match answer.results:
            case (ReadBlock() as block,):
                raw = block.raw if isinstance(self._request, GetRequestList) else _one_value(block)
                if called:
                    return ActionResponseBlock(self._invoke, Block(block.last, block.number, raw))
                return GetResponseBlock(self._invoke, block.last, block.number, raw)
            case (Taken(number),) if called:
                return ActionResponseNext(self._invoke, number)
        results = tuple(result for result in answer.results if isinstance(result, bytes | DataAccessResult))
        if len(results) != len(answer.results):
            raise _unfit(answer)
        if len(results) != len(asked.variables):
            raise MalformedAnswer(f"{len(results)} results for {len(asked.variables)} variables")
        if isinstance(self._request, GetRequestList):
            return GetResponseList(self._invoke, results)
        only = results[0]
        if not called:
            return GetResponseNormal(self._invoke, only)
        if isinstance(only, DataAccessResult):
            return ActionResponseNormal(self._invoke, ActionResult(only))
        return ActionResponseNormal(self._invoke, ActionResult.SUCCESS, None if only == NULL else only)

    def _written(self, answer: WriteResponse, asked: WriteRequest) -> Apdu:
        piece = self._request.block if isinstance(self._request, _PIECES) else None
        match answer.results:
            case (Taken(number),) if piece:
                return SetResponseBlock(self._invoke, number)
        results = tuple(result for result in answer.results if isinstance(result, DataAccessResult))
        if len(results) != len(answer.results):
            raise _unfit(answer)
        if piece:
            if len(results) == 1:
                return SetResponseLastBlock(self._invoke, results[0], piece.number)
            return SetResponseLastBlockList(self._invoke, results, piece.number)
        if len(results) != len(asked.variables):
            raise MalformedAnswer(f"{len(results)} results for {len(asked.variables)} variables")
        if isinstance(self._request, SetRequestList):
            return SetResponseList(self._invoke, results)
        return SetResponseNormal(self._invoke, results[0])


def _write_piece(block: Block, head: bytes = b"") -> WriteRequest:
    value = axdr.encode(axdr.octets(head + block.raw))
    return WriteRequest((RequestBlock(block.last, _numbered(block)),), (value,))


def _read_piece(block: Block, head: bytes = b"") -> ReadRequest:
    return ReadRequest((RequestBlock(block.last, _numbered(block), head + block.raw),))


def _numbered(block: Block) -> int:
    if block.number > _MAX_BLOCKS:
        raise ServiceRefused(f"more than {_MAX_BLOCKS} blocks are not possible with short names: write less at a time")
    return block.number


def _one_value(block: ReadBlock) -> bytes:
    """What the block holds of the one value that was asked for.

    Some stacks (Gurux) leave out what stands before it. Both can be told: 01 00 would be an empty array, which needs no
    blocks.
    """
    headed = block.number == 1 and block.raw != ONE_VALUE
    return block.raw.removeprefix(ONE_VALUE) if headed else block.raw


def _unfit(answer: short.Short) -> MalformedAnswer:
    return MalformedAnswer(f"{type(answer).__name__} does not answer what was asked")
