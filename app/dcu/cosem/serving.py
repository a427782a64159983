"""What a server answers to a plain request of a client that has proven itself: GET, SET, ACTION and ACCESS.

Whole, with lists, in blocks either way. Bounded: of one client one long answer is kept and one long request, each up to
`LONG_BYTES`. What a request's blocks add up to is carried out once, with its last block.

Source: DLMS Green Book (IEC 62056-5-3) clauses 9.3.6 to 9.3.9 and 9.4.6.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dcu.cosem import apdu
from dcu.cosem.admission import Link, LongGet, LongPut
from dcu.cosem.apdu import (
    Access,
    AccessAction,
    Accessed,
    AccessGet,
    AccessRequest,
    AccessResponse,
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
    ActionResult,
    Apdu,
    Block,
    Conformance,
    DataAccessResult,
    ExceptionResponse,
    ExceptionService,
    ExceptionState,
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    Item,
    Result,
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
)
from dcu.cosem.apdu import access as access_apdu
from dcu.cosem.apdu.wire import CONFIRMED, Reader
from dcu.cosem.application import Application, Denied
from dcu.cosem.axdr import NULL
from dcu.cosem.handshake import REPLY_TO_HLS
from dcu.cosem.selection import Selection
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef

# One request of 64 KB names 6,500 attributes: without bounds, a profile that many times over.
LIST_ITEMS = 256  # references of one request that are looked at
LIST_BYTES = 1 << 18  # of values in its answer: four of the largest APDUs
LONG_BYTES = 1 << 18  # of what the blocks of one request may add up to

LONG_CONFIRMED, BREAK_ON_ERROR, SELF_DESCRIPTIVE = 1 << 30, 1 << 29, 1 << 28  # of long-invoke-id-and-priority


NOT_AGREED = ExceptionResponse(ExceptionState.SERVICE_NOT_ALLOWED, ExceptionService.SERVICE_NOT_SUPPORTED)


def answer(service: "Service", request: Apdu) -> Apdu | None:
    """Carry `request` out; None where its sender wants no answer."""
    link, entry = service.link, _SERVICES.get(type(request))
    if entry is None or link.conformance & entry[0] != entry[0]:
        return NOT_AGREED
    if not isinstance(request, GetRequestNext | ActionRequestNext):
        link.long_get = None
    if not isinstance(request, SetRequestBlock | ActionRequestBlock):
        link.long_put = None
    return entry[1](service, request)


@dataclass(frozen=True, slots=True)
class Service:
    """The application as one client's association reaches it."""

    device: Application
    client_sap: int
    link: Link

    # --- one attribute, one method

    def value(self, attribute: AttributeRef, selection: Selection | None) -> Result:
        if selection is not None and not self.link.conformance & Conformance.SELECTIVE_ACCESS:
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        try:
            return self.device.get(self.client_sap, attribute, selection)
        except Exception as error:
            return DataAccessResult(_reason(error))

    def written(self, attribute: AttributeRef, selection: Selection | None, value: bytes) -> DataAccessResult:
        if selection is not None and not self.link.conformance & Conformance.SELECTIVE_ACCESS:
            return DataAccessResult.SCOPE_OF_ACCESS_VIOLATED
        try:
            self.device.set(self.client_sap, attribute, selection, value)
        except Exception as error:
            return DataAccessResult(_reason(error))
        return DataAccessResult.SUCCESS

    def called(self, method: MethodRef, parameter: bytes | None) -> Returned:
        if method == REPLY_TO_HLS:
            return Returned(ActionResult.READ_WRITE_DENIED)
        try:
            return Returned(ActionResult.SUCCESS, self.device.action(self.client_sap, method, parameter))
        except Exception as error:
            return Returned(ActionResult(_reason(error)))

    # --- GET

    def get(self, request: GetRequestNormal) -> Apdu:
        result = self.value(request.attribute, request.selection)
        return fitting(self.link, GetResponseNormal(request.invoke, result))

    def get_list(self, request: GetRequestList) -> Apdu:
        """A value or a refusal for each attribute; other-reason for those that go beyond the bounds of one answer."""
        room = _Room()
        results = [
            room.fit(self.value(attribute, selection)) if room.left else DataAccessResult.OTHER_REASON
            for attribute, selection in request.attributes[:LIST_ITEMS]
        ]
        beyond = len(request.attributes) - len(results)
        results += (DataAccessResult.OTHER_REASON,) * beyond
        return fitting(self.link, GetResponseList(request.invoke, tuple(results)))

    def get_next(self, request: GetRequestNext) -> Apdu:
        link, problem = self.link, DataAccessResult.NO_LONG_GET_IN_PROGRESS
        if link.long_get and not link.long_get.returned:
            if request.block == link.long_get.block:
                return _get_block(link, request.invoke)
            problem = DataAccessResult.DATA_BLOCK_NUMBER_INVALID
        link.long_get = None
        return GetResponseBlock(request.invoke, True, request.block, problem)

    # --- SET

    def set(self, request: SetRequestNormal) -> Apdu | None:
        result = self.written(request.attribute, request.selection, request.value)
        return SetResponseNormal(request.invoke, result) if request.invoke & CONFIRMED else None

    def set_list(self, request: SetRequestList) -> Apdu | None:
        results = self.all_written(request.attributes, request.values)
        return SetResponseList(request.invoke, results) if request.invoke & CONFIRMED else None

    def all_written(self, items: Sequence[Item], values: Iterable[bytes]) -> tuple[DataAccessResult, ...]:
        results = [self.written(*item, value) for item, value in zip(items[:LIST_ITEMS], values, strict=False)]
        return (*results, *(DataAccessResult.OTHER_REASON,) * (len(items) - len(results)))

    def set_first(self, request: SetRequestFirstBlock) -> Apdu:
        return self.put_set(request.invoke, LongPut((request.attribute, request.selection)), request.block)

    def set_list_first(self, request: SetRequestListFirstBlock) -> Apdu:
        return self.put_set(request.invoke, LongPut(request.attributes, many=True), request.block)

    def set_block(self, request: SetRequestBlock) -> Apdu:
        put, self.link.long_put = self.link.long_put, None
        if put is None or put.methods:
            problem = DataAccessResult.NO_LONG_SET_IN_PROGRESS
            return SetResponseLastBlock(request.invoke, problem, request.block.number)
        return self.put_set(request.invoke, put, request.block)

    def put_set(self, invoke: int, put: LongPut, block: Block) -> Apdu:
        """Take a block; with the last one, write."""
        if not put.takes(block):
            return SetResponseLastBlock(invoke, DataAccessResult.DATA_BLOCK_NUMBER_INVALID, block.number)
        if put.size > LONG_BYTES:
            return SetResponseLastBlock(invoke, DataAccessResult.LONG_SET_ABORTED, block.number)
        if not block.last:
            self.link.long_put = put
            return SetResponseBlock(invoke, block.number)
        if not put.many:
            attribute, selection = put.target
            return SetResponseLastBlock(invoke, self.written(attribute, selection, put.joined()), block.number)
        try:
            values = _values(put.joined(), len(put.target))
        except DecodeError:
            return SetResponseLastBlock(invoke, DataAccessResult.TYPE_UNMATCHED, block.number)
        return SetResponseLastBlockList(invoke, self.all_written(put.target, values), block.number)

    # --- ACTION

    def action(self, request: ActionRequestNormal) -> Apdu | None:
        outcome = self.called(request.method, request.parameter)
        return self.returned(request.invoke, outcome) if request.invoke & CONFIRMED else None

    def returned(self, invoke: int, outcome: Returned) -> Apdu:
        value = outcome.value
        if isinstance(value, bytes) and len(value) > self.link.room:
            if self.link.translator:  # by short names it was read, too
                return fitting(self.link, GetResponseNormal(invoke, value))
            if self.link.conformance & Conformance.BLOCK_TRANSFER_WITH_ACTION:
                self.link.long_get = LongGet(memoryview(value), returned=True)
                return _action_block(self.link, invoke)
            value = DataAccessResult.OTHER_REASON  # it ran: say so, though its result cannot be sent
        return ActionResponseNormal(invoke, outcome.result, value)

    def action_list(self, request: ActionRequestList) -> Apdu | None:
        results = self.all_called(request.methods, request.parameters)
        return self.all_returned(request.invoke, results) if request.invoke & CONFIRMED else None

    def all_called(self, methods: Sequence[MethodRef], parameters: Iterable[bytes]) -> tuple[Returned, ...]:
        """Null-data stands for no parameter: which of them the method wants, it knows."""
        room = _Room()
        results = []
        for method, parameter in zip(methods[:LIST_ITEMS], parameters, strict=False):
            outcome = self.called(method, parameter)
            results.append(outcome if outcome.value is None else Returned(outcome.result, room.fit(outcome.value)))
        return (*results, *(Returned(ActionResult.OTHER_REASON),) * (len(methods) - len(results)))

    def all_returned(self, invoke: int, results: tuple[Returned, ...]) -> Apdu:
        whole = ActionResponseList(invoke, results)
        raw = apdu.encode(whole)[3:]
        if len(raw) <= self.link.room:
            return whole
        if not self.link.conformance & Conformance.BLOCK_TRANSFER_WITH_ACTION:
            bare = tuple(Returned(each.result, each.value and DataAccessResult.OTHER_REASON) for each in results)
            return ActionResponseList(invoke, bare)
        self.link.long_get = LongGet(memoryview(raw), returned=True)
        return _action_block(self.link, invoke)

    def action_next(self, request: ActionRequestNext) -> Apdu:
        link, problem = self.link, ActionResult.NO_LONG_ACTION_IN_PROGRESS
        if link.long_get and link.long_get.returned:
            if request.number == link.long_get.block:
                return _action_block(link, request.invoke)
            problem = ActionResult.LONG_ACTION_ABORTED
        link.long_get = None
        return ActionResponseNormal(request.invoke, problem)

    def action_first(self, request: ActionRequestFirstBlock) -> Apdu:
        return self.put_action(request.invoke, LongPut((request.method,), methods=True), request.block)

    def action_list_first(self, request: ActionRequestListFirstBlock) -> Apdu:
        return self.put_action(request.invoke, LongPut(request.methods, methods=True, many=True), request.block)

    def action_block(self, request: ActionRequestBlock) -> Apdu:
        put, self.link.long_put = self.link.long_put, None
        if put is None or not put.methods:
            return ActionResponseNormal(request.invoke, ActionResult.NO_LONG_ACTION_IN_PROGRESS)
        return self.put_action(request.invoke, put, request.block)

    def put_action(self, invoke: int, put: LongPut, block: Block) -> Apdu:
        """Take a block; with the last one, call."""
        if not put.takes(block) or put.size > LONG_BYTES:
            return ActionResponseNormal(invoke, ActionResult.LONG_ACTION_ABORTED)
        if not block.last:
            self.link.long_put = put
            return ActionResponseNext(invoke, block.number)
        if not put.many:
            return self.returned(invoke, self.called(put.target[0], put.joined()))
        try:
            parameters = _values(put.joined(), len(put.target))
        except DecodeError:
            return ActionResponseNormal(invoke, ActionResult.TYPE_UNMATCHED)
        return self.all_returned(invoke, self.all_called(put.target, parameters))

    # --- ACCESS

    def access(self, request: AccessRequest) -> Apdu | None:
        outcomes = self.all_accessed(request.items, stop=bool(request.long_invoke & BREAK_ON_ERROR))
        if not request.long_invoke & LONG_CONFIRMED:
            return None
        shown = request.items if request.long_invoke & SELF_DESCRIPTIVE else ()
        kinds = tuple(access_apdu.kind(item) for item in request.items)
        response = AccessResponse(request.long_invoke, b"", outcomes, kinds, shown)
        if len(apdu.encode(response)) <= self.link.room:
            return response
        return replace(response, outcomes=tuple(map(_valueless, outcomes)), shown=())

    def all_accessed(self, items: Sequence[Access], *, stop: bool = False) -> tuple[Accessed, ...]:
        """Everything in order. stop: nothing more after an error."""
        room = _Room()
        outcomes: list[Accessed] = []
        going = True
        for at, item in enumerate(items):
            outcome = self.accessed(item, room) if going and at < LIST_ITEMS else _refused(item, int(_OTHER))
            going = going and not (stop and outcome.result)
            outcomes.append(outcome)
        return tuple(outcomes)

    def accessed(self, item: Access, room: "_Room") -> Accessed:
        if isinstance(item, AccessGet):
            result = room.fit(self.value(item.attribute, item.selection)) if room.left else _OTHER
            if isinstance(result, DataAccessResult):
                return Accessed(result)
            return Accessed(DataAccessResult.SUCCESS, result)
        if isinstance(item, AccessAction):
            outcome = self.called(item.method, item.parameter)
            value = None if outcome.value is None else room.fit(outcome.value)
            return Accessed(outcome.result, value if isinstance(value, bytes) else NULL)
        return Accessed(self.written(item.attribute, item.selection, item.value))


class _Room:
    """What the values of one answer may still add up to."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = LIST_BYTES

    def fit(self, result: Result) -> Result:
        """`result`, or other-reason where it has no room; then nothing after it has."""
        if isinstance(result, DataAccessResult):
            return result
        if len(result) > self.left:
            self.left = 0
            return DataAccessResult.OTHER_REASON
        self.left -= len(result)
        return result


_OTHER = DataAccessResult.OTHER_REASON


def _valueless(outcome: Accessed) -> Accessed:
    """What is left to say where the values have no room: of a get that it failed, of the rest how it ended."""
    if isinstance(outcome.result, DataAccessResult) and not outcome.result and outcome.value != NULL:
        return Accessed(_OTHER)
    return Accessed(outcome.result)


def _refused(item: Access, reason: int) -> Accessed:
    return Accessed(ActionResult(reason) if isinstance(item, AccessAction) else DataAccessResult(reason))


def fitting(link: Link, whole: GetResponseNormal | GetResponseList) -> Apdu:
    """Return `whole`, or its first block where it is too long for the client."""
    raw = apdu.encode(whole)[3:]  # behind tag, variant, invoke
    if len(raw) <= link.room:
        return whole
    if not link.conformance & Conformance.BLOCK_TRANSFER_WITH_GET:
        return GetResponseNormal(whole.invoke, DataAccessResult.OTHER_REASON)
    if isinstance(whole, GetResponseNormal):
        raw = b"\x01" + raw if link.translator else raw[1:]  # by logical names the block itself says "data"
    link.long_get = LongGet(memoryview(raw))
    return _get_block(link, whole.invoke)


def _get_block(link: Link, invoke: int) -> GetResponseBlock:
    number, piece, last = _piece(link)
    return GetResponseBlock(invoke, last, number, piece)


def _action_block(link: Link, invoke: int) -> ActionResponseBlock:
    number, piece, last = _piece(link)
    return ActionResponseBlock(invoke, Block(last, number, piece))


def _piece(link: Link) -> tuple[int, bytes, bool]:
    """The next block of the long answer, which is forgotten with its last one."""
    pending = link.long_get
    assert pending
    pending.block += 1
    piece, pending.rest = pending.rest[: link.room], pending.rest[link.room :]
    if not pending.rest:
        link.long_get = None
    return pending.block, bytes(piece), not pending.rest


def _values(raw: bytes, expected: int) -> tuple[bytes, ...]:
    """The SEQUENCE OF Data that the blocks of a request with a list add up to. Raises DecodeError."""
    reader = Reader(raw)
    if (count := reader.length()) != expected:
        raise DecodeError(f"{count} values for {expected} references", 0)
    values = tuple(reader.value() for _ in range(count))
    reader.end()
    return values


def _reason(error: Exception) -> int:
    """What goes on the wire for what an application raised: the numbers of both kinds of result are the same."""
    return int(error.result) if isinstance(error, Denied) else int(DataAccessResult.OTHER_REASON)


_LISTS = Conformance.MULTIPLE_REFERENCES
_SET_BLOCKS = Conformance.SET | Conformance.BLOCK_TRANSFER_WITH_SET
_ACTION_BLOCKS = Conformance.ACTION | Conformance.BLOCK_TRANSFER_WITH_ACTION

# What each request needs to have been agreed on, and who answers it
_SERVICES: Mapping[type, tuple[Conformance, Callable[[Service, Any], Apdu | None]]] = {
    GetRequestNormal: (Conformance.GET, Service.get),
    GetRequestNext: (Conformance.BLOCK_TRANSFER_WITH_GET, Service.get_next),
    GetRequestList: (Conformance.GET | _LISTS, Service.get_list),
    SetRequestNormal: (Conformance.SET, Service.set),
    SetRequestList: (Conformance.SET | _LISTS, Service.set_list),
    SetRequestFirstBlock: (_SET_BLOCKS, Service.set_first),
    SetRequestListFirstBlock: (_SET_BLOCKS | _LISTS, Service.set_list_first),
    SetRequestBlock: (_SET_BLOCKS, Service.set_block),
    ActionRequestNormal: (Conformance.ACTION, Service.action),
    ActionRequestNext: (_ACTION_BLOCKS, Service.action_next),
    ActionRequestList: (Conformance.ACTION | _LISTS, Service.action_list),
    ActionRequestFirstBlock: (_ACTION_BLOCKS, Service.action_first),
    ActionRequestListFirstBlock: (_ACTION_BLOCKS | _LISTS, Service.action_list_first),
    ActionRequestBlock: (_ACTION_BLOCKS, Service.action_block),
    AccessRequest: (Conformance.ACCESS, Service.access),
}
