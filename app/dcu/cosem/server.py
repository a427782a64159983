"""The server's side of associations: an APDU in, an APDU or None out, for several client SAPs.

A request reaches the application after it has met the terms of its client SAP: association, policy, tag, counter,
negotiated conformance. Total: whatever comes in, a reply or None goes out, and the session lives. Its state is bounded:
two links per configured client SAP, the association and one that is to replace it as soon as its client has proven
itself (HLS); in each one long answer at most, which is one value or a list of bounded size.

Source: DLMS Green Book (IEC 62056-5-3) clauses 9.3 and 9.4.
"""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress

from dcu.cosem import acse, apdu, gbt, security, short_serving
from dcu.cosem.acse import ApplicationContext, Rlre, Rlrq, UserDiagnostic
from dcu.cosem.admission import Link, Rejected, admit, initiate_response, new_transfer, rejection, standing
from dcu.cosem.apdu import (
    ActionRequestNormal,
    ActionResponseNormal,
    ActionResult,
    Apdu,
    Conformance,
    ExceptionResponse,
    ExceptionService,
    ExceptionState,
    InitiateRequest,
    Notification,
    short,
)
from dcu.cosem.apdu.short import InformationReport
from dcu.cosem.application import Application
from dcu.cosem.association import MAX_PDU, Counter, Floors, MemoryFloors, Refused, ServerAssociation
from dcu.cosem.ciphering import is_protected, require_protection
from dcu.cosem.handshake import REPLY_TO_HLS, proof, proof_in
from dcu.cosem.security import Framing, Opened, Protection
from dcu.cosem.serving import Service
from dcu.cosem.short_requests import Piece, ServerTranslator, Several
from dcu.cosem.short_translation import equivalent
from dcu.errors import AssociationRefused, CounterReplayed, DcuError, DecodeError, PolicyViolated, SecurityError
from dcu.streams import Sent

_AARQ, _RLRQ = 0x60, 0x62


class ServerSession:
    """All associations of one server over one connection.

    counter: the server's own invocation counters. floors: what clients have counted under this key; give the same one
    to every session with the key, or old frames are new again. lossy: what is not acceptable is counted and not
    answered, where a stream gets an exception-response.
    """

    __slots__ = ("_associations", "_counter", "_device", "_floors", "_links", "_lossy", "_random", "refused")

    def __init__(
        self,
        device: Application,
        associations: Mapping[int, ServerAssociation],
        *,
        counter: Counter,
        floors: Floors | None = None,
        lossy: bool = False,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.refused = Refused()
        self._device = device
        self._associations = associations
        self._counter = counter
        self._floors: Floors = MemoryFloors() if floors is None else floors
        self._lossy = lossy
        self._random = random
        self._links: dict[int, Link] = {}

    def receive(self, client_sap: int, frame: bytes) -> Sent:
        """Answer one APDU, with several in a row where blocks are streamed; None for nothing to say. Never raises.

        A broadcast is carried out, or not, and never answered: not even with an error.
        """
        terms = self._associations.get(client_sap)
        answer = self._answered(client_sap, frame)
        return None if terms and terms.broadcast else answer

    def _answered(self, client_sap: int, frame: bytes) -> Sent:
        try:
            if frame[:1] == bytes((_AARQ,)):
                return self._associate(client_sap, frame)
            link = self._links.get(client_sap)
            terms = self._associations.get(client_sap)
            if link is None and terms and terms.pre_established:
                link = self._links[client_sap] = standing(terms, counter=self._counter, floors=self._floors)
                _named(link)
            if link is None:
                raise PolicyViolated("a request outside of an association")
            if frame[:1] == bytes((_RLRQ,)):
                return self._release(client_sap, link, frame)
            if frame[:1] == bytes((gbt.TAG,)):
                return self._block(client_sap, link, frame)
            return self._service(client_sap, link, frame)
        except (DecodeError, SecurityError) as error:
            return self._refuse(error)
        except Exception as error:  # a defect, or no counter left: this request fails, the server stays
            self.refused.add(DcuError(f"{type(error).__name__} while answering"))
            return None if self._lossy else _exception(ExceptionService.OTHER_REASON)

    def associated(self, client_sap: int) -> bool:
        link = self._links.get(client_sap)
        return link is not None and (link.proven or link.stands is not None)

    def peer(self, client_sap: int) -> bytes:
        """The system title of who is associated there, b"" where nobody is, or none was said."""
        link = self._links.get(client_sap)
        return link.peer if link and link.proven else b""

    def user(self, client_sap: int) -> int | None:
        """Which of its users is associated there, as he says; None where nobody is, or none was said."""
        link = self._links.get(client_sap)
        return link.user if link and link.proven else None

    def notification(self, client_sap: int, notification: Notification | InformationReport) -> bytes:
        """The APDU that carries `notification`, in general-glo-ciphering where the SAP's policy protects responses.

        An information-report is for a client by short names, and ciphered as what he is answered is: under its own tag.

        Raises ValueError without an association whose keys it could be protected with.
        """
        report = isinstance(notification, InformationReport)
        plain = short.encode(notification) if isinstance(notification, InformationReport) else apdu.encode(notification)
        terms = self._associations[client_sap]
        if not terms.policy.response:
            return plain
        link = self._links.get(client_sap)
        if link is None or link.ciphering is None:
            raise ValueError(f"client {client_sap} has no association")
        link = link.stands or link
        assert link.ciphering
        own = report or link.ciphering.framing in security.KEYED
        framing = link.ciphering.framing if own else Framing.GENERAL_GLOBAL
        return link.ciphering.seal_service(plain, terms.policy.response, framing)

    # --- associations

    def _associate(self, client_sap: int, frame: bytes) -> bytes:
        context = ApplicationContext.LN
        try:
            request = acse.decode(frame)
            assert isinstance(request, acse.Aarq)
            context = request.context
            terms = self._associations.get(client_sap)
            if terms is None:
                raise Rejected(UserDiagnostic.NO_REASON_GIVEN)
            link, answer = admit(request, terms, counter=self._counter, floors=self._floors, random=self._random)
            _named(link)
        except Rejected as rejected:
            self.refused.add(AssociationRefused(str(rejected)))
            return rejection(rejected, context)
        before = self._links.get(client_sap)
        if before and not link.proven:
            link.stands = before if before.proven else before.stands
        self._links[client_sap] = link
        return answer

    def _release(self, client_sap: int, newest: Link, frame: bytes) -> bytes:
        link = newest.stands or newest
        request = acse.decode(frame)
        assert isinstance(request, Rlrq)
        policy = link.terms.policy
        information = request.user_information or b""
        if link.ciphering and security.is_ciphered(information):
            opened = link.ciphering.open(information, policy.request)
            if not isinstance(apdu.decode(opened.apdu), InitiateRequest):
                raise DecodeError("the release request does not hold an initiate request")
        else:
            require_protection(policy.request, Protection.NONE, "the release request")
        protected = link.terms.ciphered and bool(information)
        answer = acse.encode(Rlre(reason=0, user_information=initiate_response(link) if protected else None))
        if link is newest:
            del self._links[client_sap]
        newest.stands = None
        return answer

    def _prove(self, client_sap: int, link: Link, request: ActionRequestNormal, floor: int) -> Apdu:
        """HLS passes 3 and 4. A client that fails has to begin anew, with a new challenge."""
        assert link.hls
        assert link.challenges
        made = proof_in(request.parameter or b"")
        try:
            if made is None:
                raise DecodeError("HLS: the proof is no octet-string")
            link.hls.verify(made, link.challenges, floor)
        except (DecodeError, SecurityError) as error:
            self.refused.add(error)
            del self._links[client_sap]
            if link.stands:
                self._links[client_sap] = link.stands
            return ActionResponseNormal(request.invoke, ActionResult.READ_WRITE_DENIED)
        answer = proof(link.hls.prove(link.challenges))
        link.proven, link.stands = True, None
        return ActionResponseNormal(request.invoke, ActionResult.SUCCESS, answer)

    # --- services

    def _block(self, client_sap: int, newest: Link, frame: bytes) -> Sent:
        """Take a general block; with the last one of a request, carry it out."""
        link = newest if newest.proven else newest.stands
        if link is None or not link.conformance & Conformance.GENERAL_BLOCK_TRANSFER:
            raise PolicyViolated("a general block, which was not agreed on")
        block = gbt.decode(frame)
        if link.transfer is None or link.transfer.begins_anew(block):
            link.transfer = new_transfer(link)
        transfer = link.transfer
        try:
            whole, turn = transfer.take(block)
        except DecodeError:
            link.transfer = None
            raise
        if whole is None:
            return turn or None
        answer = self._served(client_sap, newest, whole)
        return None if answer is None else transfer.say(answer)

    def _service(self, client_sap: int, newest: Link, frame: bytes) -> Sent:
        if len(frame) > newest.terms.max_pdu:
            self.refused.add(DecodeError(f"a request of {len(frame)} bytes, at most {newest.terms.max_pdu} are taken"))
            return None if self._lossy else _exception(ExceptionService.PDU_TOO_LONG)
        answer = self._served(client_sap, newest, frame)
        link = newest.stands or newest
        if answer is None or not link.conformance & Conformance.GENERAL_BLOCK_TRANSFER:
            return answer
        if len(answer) <= (link.client_max_pdu or MAX_PDU):
            return answer
        link.transfer = new_transfer(link)
        return link.transfer.say(answer)

    def _served(self, client_sap: int, newest: Link, frame: bytes) -> bytes | None:
        link, plain, opened, floor = _request(newest, frame)
        answer = self._answer(client_sap, link, plain, floor)
        if answer is None:
            return None
        if isinstance(answer, ExceptionResponse) or link.ciphering is None:
            return _encoded(link, answer)
        framing, transaction = (opened.framing, opened.transaction) if opened else (link.ciphering.framing, None)
        return link.ciphering.seal_service(_encoded(link, answer), link.terms.policy.response, framing, transaction)

    def _answer(self, client_sap: int, link: Link, plain: bytes, floor: int) -> Apdu | None:
        try:
            request = _decoded(link, plain)
        except DecodeError as error:
            self.refused.add(error)
            return ExceptionResponse(ExceptionState.SERVICE_UNKNOWN, ExceptionService.SERVICE_NOT_SUPPORTED)
        if not link.proven:
            assert isinstance(request, ActionRequestNormal)
            return self._prove(client_sap, link, request, floor)
        return short_serving.answer(Service(self._device, client_sap, link), request)

    def _refuse(self, error: DecodeError | SecurityError) -> bytes | None:
        self.refused.add(error)
        if self._lossy:
            return None
        if isinstance(error, CounterReplayed):
            return _exception(ExceptionService.INVOCATION_COUNTER_ERROR, min(error.floor + 1, 0xFFFFFFFF))
        if isinstance(error, PolicyViolated):
            return _exception(ExceptionService.OPERATION_NOT_POSSIBLE)
        nonsense = isinstance(error, DecodeError)
        return _exception(ExceptionService.OTHER_REASON if nonsense else ExceptionService.DECIPHERING_ERROR)


def _named(link: Link) -> None:
    """Where the association is by short names: they are translated, and what was granted is said in both words."""
    names = link.terms.names
    if names is not None:
        link.translator = ServerTranslator(names)
        link.agreed, link.conformance = link.conformance, equivalent(link.conformance)


def _request(newest: Link, frame: bytes) -> tuple[Link, bytes, Opened | None, int]:
    """The request in `frame`: of a client that proves itself, or else in the association that stands until it has."""
    if newest.stands:
        with suppress(DecodeError, SecurityError):
            return _opened(newest, frame)
    return _opened(newest.stands or newest, frame)


def _opened(link: Link, frame: bytes) -> tuple[Link, bytes, Opened | None, int]:
    """The plain request, which meets the policy; how it was ciphered; and the floor before it."""
    required = link.terms.policy.request
    ciphering = link.ciphering
    plain, opened = frame, None
    floor = ciphering.floor if ciphering else -1
    if ciphering and is_protected(frame):
        opened = ciphering.look_service(frame, required)
        ciphering.require_framing(opened.framing, proof=not link.proven)
        plain = opened.apdu
    else:
        require_protection(required, Protection.NONE, "the request")
    if not (link.proven or _is_proof(link, plain)):
        raise PolicyViolated("a request before the client has proven itself")
    if ciphering and opened:
        ciphering.accept(opened)
    return link, plain, opened, floor


def _decoded(link: Link, plain: bytes) -> Apdu | Piece | Several:
    return apdu.decode(plain) if link.translator is None else link.translator.request(plain)


def _encoded(link: Link, answer: Apdu) -> bytes:
    return apdu.encode(answer) if link.translator is None else link.translator.response(answer)


def _is_proof(link: Link, plain: bytes) -> bool:
    request = _decoded(link, plain)
    return isinstance(request, ActionRequestNormal) and request.method == REPLY_TO_HLS


def _exception(service: ExceptionService, counter: int | None = None) -> bytes:
    return apdu.encode(ExceptionResponse(ExceptionState.SERVICE_NOT_ALLOWED, service, counter))
