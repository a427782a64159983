"""What a server answers by short names: as by logical names (`serving`), but for requests in blocks, which differ.

What their blocks hold, joined, is the request as it would have come whole. Bounded as SET and ACTION in blocks are, and
carried out once, with the last block.
Source: IEC 62056-5-3 (DLMS Green Book 9.3.14, 9.3.15).
"""

from dcu.cosem import serving
from dcu.cosem.admission import Link, LongPut
from dcu.cosem.apdu import (
    ActionResponseNext,
    Apdu,
    Block,
    Conformance,
    DataAccessResult,
    ExceptionResponse,
    ExceptionService,
    ExceptionState,
    GetResponseBlock,
    SetResponseBlock,
    SetResponseLastBlock,
)
from dcu.cosem.apdu.short import WRITE
from dcu.cosem.application import Application
from dcu.cosem.short_requests import INVOKE, Piece
from dcu.errors import DecodeError


def answer(device: Application, client_sap: int, link: Link, request: Apdu | Piece) -> Apdu | None:
    """Carry `request` out, or keep it until its last block is there; None where its sender wants no answer."""
    if not isinstance(request, Piece):
        return serving.answer(device, client_sap, link, request)
    agreed = Conformance.BLOCK_TRANSFER_WITH_SET if request.service == WRITE else Conformance.BLOCK_TRANSFER_WITH_ACTION
    if not link.conformance & agreed:
        return ExceptionResponse(ExceptionState.SERVICE_NOT_ALLOWED, ExceptionService.SERVICE_NOT_SUPPORTED)
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
    return serving.answer(device, client_sap, link, whole)


def _whole(link: Link, plain: bytes) -> Apdu | None:
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
