"""Which answer fits which request: each check returns the answer, or raises StaleAnswer or MalformedAnswer."""

from collections.abc import Callable

from dcu.cosem.apdu import (
    ActionResponseBlock,
    ActionResponseList,
    ActionResponseNext,
    ActionResponseNormal,
    Apdu,
    DataAccessResult,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    SetResponseBlock,
    SetResponseLastBlock,
    SetResponseLastBlockList,
    SetResponseList,
    SetResponseNormal,
)
from dcu.cosem.association import StaleAnswer
from dcu.errors import MalformedAnswer

DoneSet = SetResponseNormal | SetResponseLastBlock | SetResponseLastBlockList | SetResponseList
DoneAction = ActionResponseNormal | ActionResponseBlock | ActionResponseList


def a_get(answer: Apdu) -> GetResponseNormal | GetResponseBlock:
    return answer if isinstance(answer, GetResponseNormal) else get_block(1)(answer)


def a_list(answer: Apdu) -> GetResponseList | GetResponseBlock:
    return answer if isinstance(answer, GetResponseList) else get_block(1)(answer)


def get_block(number: int) -> Callable[[Apdu], GetResponseBlock]:
    def check(answer: Apdu) -> GetResponseBlock:
        if isinstance(answer, GetResponseNormal) and isinstance(answer.result, DataAccessResult):
            return GetResponseBlock(answer.invoke, True, number, answer.result)  # how some meters end a transfer
        if not isinstance(answer, GetResponseBlock):
            raise _unfit(answer)
        if answer.block != number and not isinstance(answer.result, DataAccessResult):
            raise StaleAnswer(f"block {answer.block} where {number} is due")
        return answer

    return check


def a_set(answer: Apdu) -> DoneSet:
    if not isinstance(answer, DoneSet):
        raise _unfit(answer)
    return answer


def set_block(number: int) -> Callable[[Apdu], SetResponseBlock | DoneSet]:
    def check(answer: Apdu) -> SetResponseBlock | DoneSet:
        if not isinstance(answer, SetResponseBlock):
            return a_set(answer)
        _require_confirmed(answer, number)
        return answer

    return check


def an_action(answer: Apdu) -> ActionResponseNormal:
    if not isinstance(answer, ActionResponseNormal):
        raise _unfit(answer)
    return answer


def a_call(answer: Apdu) -> DoneAction:
    if isinstance(answer, ActionResponseBlock):
        return _numbered(answer, 1)
    if not isinstance(answer, DoneAction):
        raise _unfit(answer)
    return answer


def action_block(number: int) -> Callable[[Apdu], ActionResponseNext | DoneAction]:
    def check(answer: Apdu) -> ActionResponseNext | DoneAction:
        if not isinstance(answer, ActionResponseNext):
            return a_call(answer)
        _require_confirmed(answer, number)
        return answer

    return check


def returned_block(number: int) -> Callable[[Apdu], ActionResponseBlock | ActionResponseNormal]:
    def check(answer: Apdu) -> ActionResponseBlock | ActionResponseNormal:
        if isinstance(answer, ActionResponseNormal) and answer.result:
            return answer
        if not isinstance(answer, ActionResponseBlock):
            raise _unfit(answer)
        return _numbered(answer, number)

    return check


def _require_confirmed(answer: SetResponseBlock | ActionResponseNext, number: int) -> None:
    if answer.number != number:
        raise StaleAnswer(f"block {answer.number} is confirmed where {number} was sent")


def _numbered(answer: ActionResponseBlock, number: int) -> ActionResponseBlock:
    if answer.block.number != number:
        raise StaleAnswer(f"block {answer.block.number} where {number} is due")
    return answer


def _unfit(answer: Apdu) -> MalformedAnswer:
    return MalformedAnswer(f"{type(answer).__name__} does not answer what was asked")
