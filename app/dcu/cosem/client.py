"""The client's side of an association: associate, get, set, action, release, each an exchange without I/O.

How frames are protected, awaited and refused stands in `conversation`; how an association is opened, in `handshake`.
Source: DLMS Green Book (IEC 62056-5-3) clauses 9.3 and 9.4.
"""

import secrets
from collections.abc import Callable, Sequence

from dcu.cosem.apdu import (
    ActionRequestNormal,
    ActionResponseNormal,
    ActionResult,
    Apdu,
    Conformance,
    DataAccessResult,
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    Result,
    SetRequestNormal,
    SetResponseNormal,
)
from dcu.cosem.association import Association, Counter, Negotiated, StaleAnswer, UnfitChallenge
from dcu.cosem.conversation import Conversation
from dcu.cosem.exchange import Conclusive, Exchange, decode_results
from dcu.cosem.handshake import REPLY_TO_HLS, Handshake
from dcu.cosem.selection import Selection
from dcu.errors import AccessDenied, AuthenticationFailed, DecodeError, LinkClosed, MalformedAnswer, ServiceRefused
from dcu.model import AttributeRef, MethodRef

Item = tuple[AttributeRef, Selection | None]

_CHALLENGES = 4  # of the meter that are looked at: all of them are unfit by chance once in 18,000 times
_ANSWERS = {0xC0: 0xC4, 0xC1: 0xC5, 0xC3: 0xC7}  # get, set, action: request and response


class ClientSession(Conversation):
    """One association, from AARQ to release. One exchange at a time.

    counter: see `Counter`. receive_floor: what the meter's counter under the global key must exceed.
    lossy: the channel may lose, repeat or forge frames (UDP). Where it does not, a SecurityError, a MalformedAnswer or
    an exchange that is given up unanswered ends the session, and anywhere do 15 unanswered requests: `associated` is
    False, and what follows raises LinkClosed.
    """

    def __init__(
        self,
        association: Association,
        *,
        counter: Counter,
        receive_floor: int = -1,
        lossy: bool = False,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        super().__init__(association, counter=counter, receive_floor=receive_floor, lossy=lossy)
        self._random = random

    # --- the association

    def associate(self) -> Exchange[Negotiated]:
        """Raises AssociationRefused, AuthenticationFailed, ServiceRefused, SecurityError, MalformedAnswer."""
        if self.associated:
            raise ValueError("the session is associated already")
        self.negotiated = None
        self._awaited.clear()
        handshake, negotiated = yield from self._open()
        if self.association.authentication.high:
            yield from self._prove(handshake)
        self.negotiated = negotiated
        self.associated = True
        return negotiated

    def _open(self) -> Exchange[tuple[Handshake, Negotiated]]:
        """AARQ and AARE. On a stream, where an unfit challenge would be the end, another one is asked for."""
        for left in reversed(range(_CHALLENGES)):
            self._ended = None
            handshake = Handshake(self.association, self._ciphering, self._random)
            try:
                return handshake, (yield from self._converse(handshake.aarq(), self._or_notified(handshake.aare)))
            except UnfitChallenge:
                if not left:
                    raise
        raise AssertionError

    def _prove(self, handshake: Handshake) -> Exchange[ActionResponseNormal]:
        """HLS passes 3 and 4: answer the meter's challenge, check its answer to ours."""
        floor = self.floor

        def verify(answer: Apdu) -> ActionResponseNormal:
            answer = _an_action(answer)
            if answer.result != ActionResult.SUCCESS:
                text = f"authentication failed: the meter did not accept our proof ({answer.result}): check our keys"
                raise Conclusive(AuthenticationFailed(text))
            handshake.verify(answer.value, floor)
            return answer

        request = ActionRequestNormal(self._next_invoke(), REPLY_TO_HLS, handshake.answer())
        return (yield from self._request(request, verify))

    def release(self) -> Exchange[None]:
        """Close the association. It counts as closed once the request is out, whatever comes back."""
        self._require_association()
        handshake = Handshake(self.association, self._ciphering, self._random)
        rlrq = handshake.rlrq()
        self.associated = False
        self._ended = LinkClosed("it was released")
        yield from self._converse(rlrq, self._or_notified(handshake.rlre))

    # --- services

    def get(self, attribute: AttributeRef, selection: Selection | None = None) -> Exchange[bytes]:
        """Return the attribute's encoded value, blocks joined. Raises AccessDenied and what any exchange raises."""
        negotiated = self._require_association()
        if selection is not None and not negotiated.conformance & Conformance.SELECTIVE_ACCESS:
            raise ServiceRefused("the meter did not negotiate selective access: read the whole attribute")
        request = GetRequestNormal(self._next_invoke(), attribute, selection)
        answer = yield from self._request(request, _a_get)
        if isinstance(answer, GetResponseBlock):
            return (yield from self._blocks(str(attribute), answer))
        if isinstance(answer.result, DataAccessResult):
            raise AccessDenied(f"{attribute}: {answer.result}", answer.result)
        return answer.result

    def get_list(self, attributes: Sequence[Item]) -> Exchange[tuple[Result, ...]]:
        """Return one value or refusal per attribute: in one request where the meter takes lists, else one by one."""
        negotiated = self._require_association()
        if len(attributes) < 2 or not negotiated.conformance & Conformance.MULTIPLE_REFERENCES:
            return (yield from self._one_by_one(attributes))
        request = GetRequestList(self._next_invoke(), tuple(attributes))
        answer = yield from self._request(request, _a_list)
        if isinstance(answer, GetResponseBlock):
            joined = yield from self._blocks("with-list", answer)
            try:
                results = decode_results(joined, len(attributes))
            except DecodeError as error:
                raise self._failed(error) from None
        else:
            results = answer.results
        if len(results) != len(attributes):
            raise self._malformed(f"{len(results)} results for {len(attributes)} attributes")
        return results

    def set(self, attribute: AttributeRef, value: bytes, selection: Selection | None = None) -> Exchange[None]:
        """Write an encoded value. Raises AccessDenied."""
        self._require_association()
        request = SetRequestNormal(self._next_invoke(), attribute, selection, value)
        answer = yield from self._request(request, _a_set)
        if answer.result != DataAccessResult.SUCCESS:
            raise AccessDenied(f"{attribute}: {answer.result}", answer.result)

    def action(self, method: MethodRef, parameter: bytes | None = None) -> Exchange[bytes | None]:
        """Call a method; return what it returned, encoded. Raises AccessDenied."""
        self._require_association()
        request = ActionRequestNormal(self._next_invoke(), method, parameter)
        answer = yield from self._request(request, _an_action)
        if answer.result != ActionResult.SUCCESS:
            raise AccessDenied(f"{method}: {answer.result}", answer.result)
        if not isinstance(answer.value, DataAccessResult):
            return answer.value
        if answer.value == DataAccessResult.SUCCESS:
            return None
        raise AccessDenied(f"{method} was executed, but what it returned is withheld: {answer.value}", answer.value)

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

        return (yield from self._ask(request, read))

    def _one_by_one(self, attributes: Sequence[Item]) -> Exchange[tuple[Result, ...]]:
        results: list[Result] = []
        for attribute, selection in attributes:
            try:
                results.append((yield from self.get(attribute, selection)))
            except AccessDenied as error:
                results.append(DataAccessResult(error.result))
        return tuple(results)

    def _blocks(self, what: str, block: GetResponseBlock) -> Exchange[bytes]:
        """Fetch the blocks after the first; return them joined."""
        parts: list[bytes] = []
        size = 0
        while True:
            if isinstance(block.result, DataAccessResult):
                raise AccessDenied(f"{what}: block {block.block}: {block.result}", block.result)
            if not block.result and not block.last:
                raise self._malformed(f"{what}: block {block.block} is empty")
            size += len(block.result)
            if size > self.association.max_answer:
                raise self._malformed(f"{what}: the answer has more than {self.association.max_answer} bytes")
            parts.append(block.result)
            if block.last:
                return b"".join(parts)
            request = GetRequestNext(block.invoke, block.block)
            block = yield from self._request(request, _block(block.block + 1))


# --- which answer fits which request


def _a_get(answer: Apdu) -> GetResponseNormal | GetResponseBlock:
    return answer if isinstance(answer, GetResponseNormal) else _block(1)(answer)


def _a_list(answer: Apdu) -> GetResponseList | GetResponseBlock:
    return answer if isinstance(answer, GetResponseList) else _block(1)(answer)


def _block(number: int) -> Callable[[Apdu], GetResponseBlock]:
    def check(answer: Apdu) -> GetResponseBlock:
        if isinstance(answer, GetResponseNormal) and isinstance(answer.result, DataAccessResult):
            return GetResponseBlock(answer.invoke, True, number, answer.result)  # how some meters end a transfer
        if not isinstance(answer, GetResponseBlock):
            raise _unfit(answer)
        if answer.block != number and not isinstance(answer.result, DataAccessResult):
            raise StaleAnswer(f"block {answer.block} where {number} is due")
        return answer

    return check


def _a_set(answer: Apdu) -> SetResponseNormal:
    if not isinstance(answer, SetResponseNormal):
        raise _unfit(answer)
    return answer


def _an_action(answer: Apdu) -> ActionResponseNormal:
    if not isinstance(answer, ActionResponseNormal):
        raise _unfit(answer)
    return answer


def _unfit(answer: Apdu) -> MalformedAnswer:
    return MalformedAnswer(f"{type(answer).__name__} does not answer what was asked")
