"""What a server answers by short names: as by logical names (`serving`), but for lists and requests in blocks.

A list may hold methods among variables. What the blocks of a request hold, joined, is the request as it would have come
whole. Both are bounded as their likes by logical names are, and carried out once, blocks with the last one.
Source: IEC 62056-5-3 (DLMS Green Book 9.3.14, 9.3.15).
"""

from dcu.cosem import serving
from dcu.cosem.admission import Link, LongPut
from dcu.cosem.apdu import (
    AccessAction,
    Accessed,
    ActionResponseNext,
    Apdu,
    Block,
    Conformance,
    DataAccessResult,
    GetResponseBlock,
    GetResponseList,
    Result,
    SetResponseBlock,
    SetResponseLastBlock,
    SetResponseList,
)
from dcu.cosem.apdu.short import WRITE
from dcu.cosem.apdu.wire import CONFIRMED
from dcu.cosem.serving import Service
from dcu.cosem.short_requests import INVOKE, Piece, Several
from dcu.errors import DecodeError


def answer(service: Service, request: Apdu | Piece | Several) -> Apdu | None:
    """Carry `request` out, or keep it until its last block is there; None where its sender wants no answer."""
    if isinstance(request, Piece):
        return _piece(service, request)
    return _answer(service, request)


def _answer(service: Service, request: Apdu | Several) -> Apdu | None:
    if isinstance(request, Several):
        return _several(service, request)
    return serving.answer(service, request)


def _several(service: Service, request: Several) -> Apdu | None:
    """A result for each item, in their order. What a method returns stands where a value would."""
    link = service.link
    needed = Conformance.MULTIPLE_REFERENCES | (Conformance.SET if request.written else Conformance.GET)
    if any(isinstance(item, AccessAction) for item in request.items):
        needed |= Conformance.ACTION
    if link.conformance & needed != needed:
        return serving.NOT_AGREED
    link.long_get = link.long_put = None
    outcomes = service.all_accessed(request.items)
    if request.written:
        results = tuple(DataAccessResult(outcome.result) for outcome in outcomes)
        return SetResponseList(request.invoke, results) if request.invoke & CONFIRMED else None
    return serving.fitting(link, GetResponseList(request.invoke, tuple(map(_read, outcomes))))


def _read(outcome: Accessed) -> Result:
    return DataAccessResult(outcome.result) if outcome.result else outcome.value


def _piece(service: Service, request: Piece) -> Apdu | None:
    """One block of a request; with the last one, carry out what they add up to."""
    link = service.link
    agreed = Conformance.BLOCK_TRANSFER_WITH_SET if request.service == WRITE else Conformance.BLOCK_TRANSFER_WITH_ACTION
    if not link.conformance & agreed:
        return serving.NOT_AGREED
    put = LongPut((request.service,)) if request.number == 1 else link.long_put
    link.long_get = link.long_put = None
    if put is None or put.target != (request.service,):
        missing = DataAccessResult.NO_LONG_SET_IN_PROGRESS, DataAccessResult.NO_LONG_GET_IN_PROGRESS
        return _refused(request, *missing)
    if request.raw is None:
        return _refused(request, DataAccessResult.DATA_BLOCK_UNAVAILABLE)
    if not put.takes(Block(request.last, request.number, request.raw)):
        return _refused(request, DataAccessResult.DATA_BLOCK_NUMBER_INVALID)
    if put.size > serving.LONG_BYTES:
        return _refused(request, DataAccessResult.LONG_SET_ABORTED, DataAccessResult.LONG_GET_ABORTED)
    if not request.last:
        link.long_put = put
        taken = SetResponseBlock if request.service == WRITE else ActionResponseNext
        return taken(INVOKE, request.number)
    whole = _whole(link, bytes((request.service,)) + put.joined())
    if whole is None:
        return _refused(request, DataAccessResult.TYPE_UNMATCHED)
    return _answer(service, whole)


def _whole(link: Link, plain: bytes) -> Apdu | Several | None:
    """The request that blocks add up to; None where it is none, or one in blocks again."""
    assert link.translator
    try:
        whole = link.translator.request(plain)
    except DecodeError:
        return None
    return None if isinstance(whole, Piece) else whole


def _refused(request: Piece, written: DataAccessResult, read: DataAccessResult | None = None) -> Apdu:
    if request.service == WRITE:
        return SetResponseLastBlock(INVOKE, written, request.number)
    return GetResponseBlock(INVOKE, True, request.number, written if read is None else read)
