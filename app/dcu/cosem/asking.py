"""What a client can ask in an association: GET, SET, ACTION and ACCESS, whole, with lists, in blocks.

Which form is sent follows from what was negotiated and from how much the meter takes at a time. A request in blocks is
carried out by the meter with its last block: given up before that, nothing has happened.

Source: DLMS Green Book (IEC 62056-5-3) clauses 9.3.6 to 9.3.9 and 9.4.6.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from dcu.cosem import apdu
from dcu.cosem.answers import a_call, a_get, a_list, a_set, action_block, get_block, returned_block, set_block
from dcu.cosem.apdu import (
    Access,
    Accessed,
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
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
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
    wire,
)
from dcu.cosem.apdu import access as access_apdu
from dcu.cosem.association import StaleAnswer
from dcu.cosem.axdr import NULL
from dcu.cosem.conversation import INVOKE_ID, Conversation
from dcu.cosem.exchange import Exchange, decode_results, decode_returned
from dcu.cosem.selection import Selection
from dcu.errors import AccessDenied, DecodeError, ServiceRefused
from dcu.model import AttributeRef, MethodRef

_ANSWERS = {0xC0: 0xC4, 0xC1: 0xC5, 0xC3: 0xC7}  # get, set, action: request and response
_LENGTH = 2  # bytes by which the length of a block may be longer than that of an empty one
_INVOKE_IDS = 0xFFFFFF  # of Long-Invoke-Id-And-Priority
_BREAK_ON_ERROR = 1 << 29

Outcome = TypeVar("Outcome")


class Asking(Conversation):
    """The services of a client session; `ClientSession` opens and closes the association around them."""

    # --- GET

    def get(self, attribute: AttributeRef, selection: Selection | None = None) -> Exchange[bytes]:
        """Return the attribute's encoded value, blocks joined. Raises AccessDenied and what any exchange raises."""
        negotiated = self._require_association()
        if selection is not None and not negotiated.conformance & Conformance.SELECTIVE_ACCESS:
            raise ServiceRefused("the meter did not negotiate selective access: read the whole attribute")
        request = GetRequestNormal(self._next_invoke(), attribute, selection)
        answer = yield from self._request(request, a_get)
        if isinstance(answer, GetResponseBlock):
            return (yield from self._blocks(str(attribute), answer))
        if isinstance(answer.result, DataAccessResult):
            raise AccessDenied(f"{attribute}: {answer.result}", answer.result)
        return answer.result

    def get_list(self, attributes: Sequence[Item]) -> Exchange[tuple[Result, ...]]:
        """Return one value or refusal per attribute: in one request where the meter takes lists, else one by one."""
        if len(attributes) < 2 or not self._agreed(Conformance.MULTIPLE_REFERENCES):
            return (yield from self._one_by_one(attributes))
        request = GetRequestList(self._next_invoke(), tuple(attributes))
        answer = yield from self._request(request, a_list)
        if isinstance(answer, GetResponseBlock):
            joined = yield from self._blocks("with-list", answer)
            try:
                results = decode_results(joined, len(attributes))
            except DecodeError as error:
                raise self._failed(error) from None
        else:
            results = answer.results
        return self._of_each(results, len(attributes))

    # --- SET

    def set(self, attribute: AttributeRef, value: bytes, selection: Selection | None = None) -> Exchange[None]:
        """Write an encoded value, in blocks where the meter does not take it whole. Raises AccessDenied."""
        self._require_association()
        whole = SetRequestNormal(self._next_invoke(), attribute, selection, value)
        if self._fits(whole):
            answer: Apdu = yield from self._request(whole, a_set)
        else:
            self._require_blocks(Conformance.BLOCK_TRANSFER_WITH_SET, f"{attribute}: {len(value)} bytes")
            answer = yield from self._send_blocks(
                value,
                lambda block: SetRequestFirstBlock(whole.invoke, attribute, selection, block),
                lambda block: SetRequestBlock(whole.invoke, block),
                set_block,
            )
        if not isinstance(answer, SetResponseNormal | SetResponseLastBlock):
            raise self._malformed(f"{type(answer).__name__} where one attribute was written")
        if answer.result != DataAccessResult.SUCCESS:
            raise AccessDenied(f"{attribute}: {answer.result}", answer.result)

    def set_list(self, items: Sequence[tuple[AttributeRef, bytes]]) -> Exchange[tuple[DataAccessResult, ...]]:
        """Write encoded values; return a result for each: in one request where the meter takes lists.

        Else one by one, each only after the one before it was answered.
        """
        if len(items) < 2 or not self._agreed(Conformance.MULTIPLE_REFERENCES):
            return (yield from self._set_one_by_one(items))
        attributes: tuple[Item, ...] = tuple((attribute, None) for attribute, _ in items)
        whole = SetRequestList(self._next_invoke(), attributes, tuple(value for _, value in items))
        if self._fits(whole):
            answer: Apdu = yield from self._request(whole, a_set)
        else:
            self._require_blocks(Conformance.BLOCK_TRANSFER_WITH_SET, f"{len(items)} attributes")
            answer = yield from self._send_blocks(
                wire.sequence(whole.values),
                lambda block: SetRequestListFirstBlock(whole.invoke, attributes, block),
                lambda block: SetRequestBlock(whole.invoke, block),
                set_block,
            )
        if isinstance(answer, SetResponseNormal | SetResponseLastBlock) and answer.result != DataAccessResult.SUCCESS:
            raise AccessDenied(f"{len(items)} attributes: {answer.result}", answer.result)
        if not isinstance(answer, SetResponseList | SetResponseLastBlockList):
            raise self._malformed(f"{type(answer).__name__} where {len(items)} attributes were written")
        return self._of_each(answer.results, len(items))

    def unconfirmed(self, values: Sequence[tuple[AttributeRef, bytes]]) -> bytes:
        """The frame of a SET that nobody answers: the caller sends it, and reads back what became of it.

        Raises ServiceRefused where several are more than the meter takes at a time, or lists are not taken.
        """
        self._require_association()
        invoke = self._next_invoke() & ~wire.CONFIRMED
        if len(values) == 1:
            ((attribute, value),) = values
            return self._sealed(apdu.encode(SetRequestNormal(invoke, attribute, None, value)))
        self._require(Conformance.MULTIPLE_REFERENCES, "several attributes in one request")
        attributes: tuple[Item, ...] = tuple((attribute, None) for attribute, _ in values)
        return self._sealed(apdu.encode(SetRequestList(invoke, attributes, tuple(value for _, value in values))))

    # --- ACTION

    def action(self, method: MethodRef, parameter: bytes | None = None) -> Exchange[bytes | None]:
        """Call a method; return what it returned, encoded, blocks joined. Raises AccessDenied."""
        self._require_association()
        whole = ActionRequestNormal(self._next_invoke(), method, parameter)
        if parameter is None or self._fits(whole):
            answer: Apdu = yield from self._request(whole, a_call)
        else:
            self._require_blocks(Conformance.BLOCK_TRANSFER_WITH_ACTION, f"{method}: {len(parameter)} bytes")
            answer = yield from self._send_blocks(
                parameter,
                lambda block: ActionRequestFirstBlock(whole.invoke, method, block),
                lambda block: ActionRequestBlock(whole.invoke, block),
                action_block,
            )
        if isinstance(answer, ActionResponseBlock):
            return (yield from self._returned_blocks(str(method), answer))
        if not isinstance(answer, ActionResponseNormal):
            raise self._malformed(f"{type(answer).__name__} where one method was called")
        if answer.result != ActionResult.SUCCESS:
            raise AccessDenied(f"{method}: {answer.result}", answer.result)
        if not isinstance(answer.value, DataAccessResult):
            return answer.value
        if answer.value == DataAccessResult.SUCCESS:
            return None
        raise AccessDenied(f"{method} was executed, but what it returned is withheld: {answer.value}", answer.value)

    def unconfirmed_call(self, method: MethodRef, parameter: bytes | None = None) -> bytes:
        """The frame of an ACTION that nobody answers: see `unconfirmed`."""
        self._require_association()
        return self._sealed(apdu.encode(ActionRequestNormal(self._next_invoke() & ~wire.CONFIRMED, method, parameter)))

    def action_list(self, calls: Sequence[tuple[MethodRef, bytes | None]]) -> Exchange[tuple[Returned, ...]]:
        """Call methods in one request; return what became of each. Raises ServiceRefused where lists are not taken."""
        self._require(Conformance.MULTIPLE_REFERENCES, "several methods in one request")
        methods = tuple(method for method, _ in calls)
        parameters = tuple(NULL if parameter is None else parameter for _, parameter in calls)
        whole = ActionRequestList(self._next_invoke(), methods, parameters)
        if self._fits(whole):
            answer: Apdu = yield from self._request(whole, a_call)
        else:
            self._require_blocks(Conformance.BLOCK_TRANSFER_WITH_ACTION, f"{len(calls)} methods")
            answer = yield from self._send_blocks(
                wire.sequence(parameters),
                lambda block: ActionRequestListFirstBlock(whole.invoke, methods, block),
                lambda block: ActionRequestBlock(whole.invoke, block),
                action_block,
            )
        if isinstance(answer, ActionResponseNormal) and answer.result != ActionResult.SUCCESS:
            raise AccessDenied(f"{len(calls)} methods: {answer.result}", answer.result)
        if isinstance(answer, ActionResponseBlock):
            joined = yield from self._returned_blocks("with-list", answer)
            try:
                results = decode_returned(joined)
            except DecodeError as error:
                raise self._failed(error) from None
        elif isinstance(answer, ActionResponseList):
            results = answer.results
        else:
            raise self._malformed(f"{type(answer).__name__} where {len(calls)} methods were called")
        return self._of_each(results, len(calls), "methods")

    # --- ACCESS, and what is passed through

    def access(self, items: Sequence[Access], *, break_on_error: bool = False) -> Exchange[tuple[Accessed, ...]]:
        """Have the meter do everything in order, in one request; return what became of each.

        break_on_error: the meter leaves out what follows the first failure.
        """
        self._require(Conformance.ACCESS, "gets, sets and actions in one request")
        invoke = self._next_invoke()
        long_invoke = (invoke & ~INVOKE_ID) << 24 | (_BREAK_ON_ERROR if break_on_error else 0) | invoke & INVOKE_ID
        request = AccessRequest(long_invoke, b"", tuple(items))

        def read(plain: bytes) -> AccessResponse:
            answer = apdu.decode(plain)
            if not isinstance(answer, AccessResponse) or (answer.long_invoke ^ long_invoke) & _INVOKE_IDS:
                raise StaleAnswer(f"{type(answer).__name__} answers another request")
            return answer

        answer = yield from self._ask(apdu.encode(request), invoke & INVOKE_ID, read)
        if answer.kinds != tuple(access_apdu.kind(item) for item in items):
            raise self._malformed(f"{len(answer.kinds)} outcomes of other kinds for {len(items)} accesses")
        return answer.outcomes

    def opaque(self, request: bytes) -> Exchange[bytes]:
        """Send a plain GET, SET or ACTION request APDU as it is; return the plain response APDU.

        Its invoke-id is the caller's. Where an answer with that may still come, the session ends instead (LinkClosed).
        """
        self._require_association()
        if len(request) < 3 or request[0] not in _ANSWERS:
            raise ValueError("not a plain GET, SET or ACTION request APDU")

        def read(plain: bytes) -> bytes:
            if len(plain) < 3 or plain[0] != _ANSWERS[request[0]] or plain[2] != request[2]:
                raise StaleAnswer("the answer to another request")
            return plain

        return (yield from self._ask(request, request[2] & INVOKE_ID, read))

    # --- how it is done

    def _agreed(self, service: Conformance) -> bool:
        return self._require_association().conformance & service == service

    def _require(self, service: Conformance, what: str) -> None:
        if not self._agreed(service):
            raise ServiceRefused(f"{what}: the meter did not negotiate {service.name}")

    def _require_blocks(self, service: Conformance, what: str) -> None:
        if not self._agreed(service):
            raise ServiceRefused(f"{what}: the meter takes {self._room} bytes at a time, and no blocks")

    def _fits(self, request: Apdu) -> bool:
        return len(apdu.encode(request)) <= self._room

    def _of_each(self, results: tuple[Outcome, ...], expected: int, what: str = "attributes") -> tuple[Outcome, ...]:
        if len(results) != expected:
            raise self._malformed(f"{len(results)} results for {expected} {what}")
        return results

    def _one_by_one(self, attributes: Sequence[Item]) -> Exchange[tuple[Result, ...]]:
        results: list[Result] = []
        for attribute, selection in attributes:
            try:
                results.append((yield from self.get(attribute, selection)))
            except AccessDenied as error:
                results.append(DataAccessResult(error.result))
        return tuple(results)

    def _set_one_by_one(self, items: Sequence[tuple[AttributeRef, bytes]]) -> Exchange[tuple[DataAccessResult, ...]]:
        results = []
        for attribute, value in items:
            try:
                yield from self.set(attribute, value)
                results.append(DataAccessResult.SUCCESS)
            except AccessDenied as error:
                results.append(DataAccessResult(error.result))
        return tuple(results)

    def _send_blocks(
        self,
        raw: bytes,
        first: Callable[[Block], Apdu],
        further: Callable[[Block], Apdu],
        check: Callable[[int], Callable[[Apdu], Apdu]],
    ) -> Exchange[Apdu]:
        """Send `raw` piece by piece; return the answer to the last piece, or the one that ends the transfer earlier."""
        number, at, make = 1, 0, first
        while True:
            size = self._room - len(apdu.encode(make(Block(False, number, b"")))) - _LENGTH
            if size < 1:
                raise ServiceRefused(f"the meter takes {self._room} bytes at a time: no block has room in that")
            block = Block(at + size >= len(raw), number, raw[at : at + size])
            answer = yield from self._request(make(block), check(number))
            if block.last:
                return answer
            if not isinstance(answer, SetResponseBlock | ActionResponseNext):
                if _done(answer):
                    raise self._malformed(f"{type(answer).__name__} says done before the last block was sent")
                return answer
            number, at, make = number + 1, at + size, further

    def _blocks(self, what: str, block: GetResponseBlock) -> Exchange[bytes]:
        """Fetch the blocks after the first; return them joined."""
        joined = bytearray()
        while True:
            if isinstance(block.result, DataAccessResult):
                raise AccessDenied(f"{what}: block {block.block}: {block.result}", block.result)
            self._keep_piece(joined, what, block.block, block.result, last=block.last)
            if block.last:
                return bytes(joined)
            request = GetRequestNext(block.invoke, block.block)
            block = yield from self._request(request, get_block(block.block + 1))

    def _returned_blocks(self, what: str, answer: ActionResponseBlock) -> Exchange[bytes]:
        """The same, of what a method returned."""
        joined = bytearray()
        while True:
            block = answer.block
            self._keep_piece(joined, what, block.number, block.raw, last=block.last)
            if block.last:
                return bytes(joined)
            request = ActionRequestNext(answer.invoke, block.number)
            got = yield from self._request(request, returned_block(block.number + 1))
            if isinstance(got, ActionResponseNormal):
                raise AccessDenied(f"{what} was executed, but block {block.number + 1}: {got.result}", got.result)
            answer = got

    def _keep_piece(self, joined: bytearray, what: str, number: int, raw: bytes, *, last: bool) -> None:
        if not raw and not last:
            raise self._malformed(f"{what}: block {number} is empty")
        joined += raw
        if len(joined) > self.association.max_answer:
            raise self._malformed(f"{what}: the answer has more than {self.association.max_answer} bytes")


def _done(answer: Apdu) -> bool:
    """Whether it says that something was done."""
    match answer:
        case SetResponseNormal() | SetResponseLastBlock() | ActionResponseNormal():
            return not answer.result
        case SetResponseList() | SetResponseLastBlockList():
            return DataAccessResult.SUCCESS in answer.results
    return True
