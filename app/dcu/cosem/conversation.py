"""What a client's exchanges are made of: send one frame, listen until something acceptable answers it.

Nothing is interpreted before it has met the association's policy: the right key, a tag that holds, a counter above its
floor. What does not is refused: on a lossy channel counted and dropped, while the exchange listens on; on a stream
raised, and the session is over. The one thing that is believed unproven is a refusal before the association stands:
there is nothing to lose yet but the attempt.

What binds an answer to its request is the invoke-id, and there are 16 of them only. So none is used again while an
answer with it may still come: see `_answered`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from dcu.cosem import apdu, gbt
from dcu.cosem.apdu import Apdu, ConfirmedServiceError, Conformance, ExceptionResponse, Notification
from dcu.cosem.association import MAX_PDU, Association, Counter, MemoryFloors, Negotiated, Refused, StaleAnswer, bare
from dcu.cosem.ciphering import DEDICATED, Ciphering, Place, is_protected, require_protection
from dcu.cosem.exchange import Conclusive, Exchange, Unanswered, Unsent
from dcu.cosem.gbt import OVERHEAD, Transfer
from dcu.cosem.handshake import refusal
from dcu.cosem.security import GENERAL, KEYED, SEALED, Framing, Protection
from dcu.errors import (
    DcuError,
    DecodeError,
    LinkClosed,
    MalformedAnswer,
    MeterError,
    PolicyViolated,
    SecurityError,
    ServiceRefused,
)
from dcu.streams import Sent

if TYPE_CHECKING:  # memory: few meters go by short names
    from dcu.cosem.apdu.short import InformationReport

Accepted = TypeVar("Accepted")

_CONFIRMED_HIGH = 0xC0  # invoke-id-and-priority: confirmed, high priority; the invoke-id is the low nibble
_INVOKE_IDS = 15  # 1..15 are used
INVOKE_ID = 0x0F
_UNANSWERED = f"{_INVOKE_IDS} requests were not answered"
_NOTIFICATIONS = (b"\x0f", b"\xc2")  # data-notification, event-notification
_REPORTS = (b"\x18", b"\x38", b"\x58")  # information-report, and its glo- and ded-: by short names
_PUSHED = (*_NOTIFICATIONS, b"\xca", b"\xdb", b"\xdd", b"\xdf", *_REPORTS)  # and glo-event-, general protection
_ERRORS = (b"\x0e", b"\xd8")  # confirmed-service-error, exception-response: servers send them as they are
_GENERAL_BLOCK = bytes((gbt.TAG,))
_GENERAL_ONLY = (b"\xd9", b"\xda")  # access-request, access-response
_KEPT_NOTIFICATIONS = 64
_UNACCEPTABLE = (DecodeError, MeterError, SecurityError)


class Told(NamedTuple):
    """What a meter said unasked. counter: under the global key, None where it is not authenticated under that.

    raw: the plain APDU.
    """

    notification: "Notification | InformationReport"
    counter: int | None
    raw: bytes


class Conversation:
    """The state of one client session, and how it talks. `ClientSession` gives it its services."""

    _numbered = True  # an answer names its request

    def __init__(self, association: Association, *, counter: Counter, receive_floor: int, lossy: bool) -> None:
        self.association = association
        self.associated = False
        self.negotiated: Negotiated | None = None
        self.refused = Refused()
        self.notifications: list[Told] = []  # the last ones; no deque, which takes 760 bytes where there are none
        self._lossy = lossy
        self._counted: int | None = None  # of the frame that is being looked at
        self._place: Place | None = None  # its own, where it came in pieces
        self._invoke = 0
        self._awaited: set[int] = set()  # invoke-ids with which an answer may still come
        self._ordered = association.policy.authentic
        self._ended: DcuError | None = None
        self._ciphering: Ciphering | None = None
        if association.keys and association.secured:
            self._ciphering = Ciphering(
                association.keys,
                title=association.client_title,
                peer=association.server_title,
                counter=counter,
                floors=MemoryFloors({association.server_title: receive_floor}),
                preferred=association.framing,
                signed=association.signed,
                broadcast=association.broadcast,
            )

    def rest(self) -> None:
        """Nothing is asked for a while: keep what a cipher can be made of again, and not the cipher."""
        if self._ciphering:
            self._ciphering.rest()

    @property
    def floor(self) -> int:
        """The highest invocation counter accepted under the global key, -1 for none."""
        return self._ciphering.floor if self._ciphering else -1

    def receive(self, frame: bytes) -> None:
        """Take a frame that came outside of an exchange: a notification is kept, anything else refused."""
        try:
            plain, _ = self._plain(frame)
            if not self._notified(plain):
                raise StaleAnswer("an answer where nothing was asked")
        except Conclusive as conclusion:
            self._refuse(conclusion.cause)
        except _UNACCEPTABLE as error:
            self._refuse(error)

    # --- sending and listening

    def _request(self, request: Apdu, interpret: Callable[[Apdu], Accepted]) -> Exchange[Accepted]:
        """Send `request`; return what `interpret` makes of the answer with its invoke-id."""
        invoke: int = request.invoke  # type: ignore[union-attr]

        def read(plain: bytes) -> Accepted:
            answer = apdu.decode(plain)
            if getattr(answer, "invoke", None) != invoke:
                raise StaleAnswer(f"{type(answer).__name__} answers another request")
            return interpret(answer)

        return (yield from self._ask(apdu.encode(request), invoke & INVOKE_ID, read))

    def _ask(self, request: bytes, invoke: int, read: Callable[[bytes], Accepted]) -> Exchange[Accepted]:
        """Send a plain request under the policy; what meets the policy in return is read."""
        if self.association.broadcast:
            raise ServiceRefused("nobody answers a broadcast: it is asked unconfirmed")
        frame = self._sealed(request)
        if invoke in self._awaited:
            raise self._over(LinkClosed(f"an earlier request with invoke-id {invoke} was not answered"))
        self._awaited.add(invoke)
        try:
            accepted = yield from self._converse(frame, self._meeting_policy(read))
        except Unsent:
            self._awaited.discard(invoke)
            raise
        except ServiceRefused:  # it names no invoke-id
            if not (self._lossy or self.association.policy.response):
                self._awaited.discard(invoke)
            elif not self._numbered:
                self._over(LinkClosed("an error that anybody may have made up came before the answer"))
            raise
        else:
            self._answered(invoke)
            return accepted
        finally:
            if len(self._awaited) >= _INVOKE_IDS:
                self._over(LinkClosed(_UNANSWERED))

    @property
    def _limit(self) -> int:
        """How many bytes an APDU may have on the wire; 0: no limit, or general blocks carry it."""
        if self.negotiated is None or self.negotiated.conformance & Conformance.GENERAL_BLOCK_TRANSFER:
            return 0
        return self.negotiated.server_max_pdu

    @property
    def _room(self) -> int:
        """How many bytes a plain request may have, so that the meter takes the whole APDU, ciphered as it will be."""
        sealed = SEALED + self._ciphering.overhead if self._ciphering and self.association.policy.request else 0
        return (self._limit or MAX_PDU) - sealed

    def _sealed(self, request: bytes) -> bytes:
        frame = request
        if self._ciphering:
            frame = self._ciphering.seal_service(request, self.association.policy.request, self._framing(request))
        limit = self._limit
        if 0 < limit < len(frame):
            raise ServiceRefused(f"the request has {len(frame)} bytes, the meter takes {limit}: write less at a time")
        return frame

    def _framing(self, plain: bytes) -> Framing:
        """How an APDU is ciphered: ACCESS has no tag of its own for that, and takes the general one."""
        assert self._ciphering
        agreed = self._ciphering.framing
        return GENERAL.get(agreed, agreed) if plain[:1] in _GENERAL_ONLY else agreed

    def _meeting_policy(self, read: Callable[[bytes], Accepted]) -> Callable[[bytes], Accepted | None]:
        def accept(received: bytes) -> Accepted | None:
            plain, authentic = self._plain(received)
            if self._notified(plain):
                return None
            try:
                return read(plain)
            except StaleAnswer:
                raise
            except (DecodeError, MalformedAnswer, SecurityError) as error:
                raise Conclusive(error) if authentic else error from None

        return accept

    def _converse(self, frame: bytes, accept: Callable[[bytes], Accepted | None]) -> Exchange[Accepted]:
        """Send `frame`; listen until `accept` returns what a frame brought. None: it was something else, rightly."""
        transfer, sent = self._cut(frame)
        place = self._ciphering.begin() if transfer and self._ciphering else None  # of an answer in blocks
        try:
            received = yield from self._listen(transfer, sent)
            while True:
                try:
                    whole: bytes | None = received
                    self._place = None
                    if transfer and received[:1] == _GENERAL_BLOCK:
                        whole, turn = transfer.take(gbt.decode(received))
                        if whole is None:
                            received = yield from self._listen(transfer, turn or None)
                            continue
                        self._place = place
                    accepted = accept(whole or received)
                except Conclusive as conclusion:
                    raise self._failed(conclusion.cause) from None
                except _UNACCEPTABLE as error:
                    self._refuse(error)
                else:
                    if accepted is not None:
                        return accepted
                received = yield from self._listen(transfer, None)
        except (GeneratorExit, Unanswered):
            if not (self._lossy and self._numbered):
                self._over(LinkClosed("a request was given up before its answer came"))
            raise
        finally:
            self._place = None
            if place and self._ciphering:
                self._ciphering.end(place)

    def _listen(self, transfer: Transfer | None, sent: Sent) -> Exchange[bytes]:
        """Say something, or nothing, and return what comes; blocks of which nothing more comes are asked for again."""
        while True:
            try:
                return (yield sent)
            except Unanswered:
                if transfer is None or not transfer.begun:
                    raise
                sent = transfer.turn()

    def _cut(self, frame: bytes) -> tuple[Transfer | None, bytes | tuple[bytes, ...]]:
        """A frame as it is sent, whole or in general blocks, and the transfer that its answer may come by."""
        if not (self.negotiated and self.negotiated.conformance & Conformance.GENERAL_BLOCK_TRANSFER):
            return None, frame
        limit = self.negotiated.server_max_pdu or MAX_PDU
        whole = len(frame) <= limit
        transfer = Transfer(limit - OVERHEAD, limit=self.association.max_answer, silent=whole)
        return transfer, frame if whole else transfer.say(frame)

    def _next_invoke(self) -> int:
        for _ in range(_INVOKE_IDS):
            self._invoke = self._invoke % _INVOKE_IDS + 1
            if self._invoke not in self._awaited:
                return _CONFIRMED_HIGH | self._invoke
        raise self._over(LinkClosed(_UNANSWERED))

    def _answered(self, invoke: int) -> None:
        """The answer with this invoke-id came: which others can come no more?

        Where both directions are authenticated, all: whatever the meter sealed before this answer is below our floor,
        and an earlier request that still reaches it is below its own. (A meter works on one request at a time.)
        Elsewhere an earlier answer may come at any time, and its invoke-id stays out of use.
        """
        if self._ordered:
            self._awaited.clear()
        else:
            self._awaited.discard(invoke)

    # --- what was received

    def _plain(self, frame: bytes) -> tuple[bytes, bool]:
        """The APDU inside `frame`, which has met the policy, and whether it is authentic."""
        required = self.association.policy.response
        self._counted = None
        if self._ciphering and is_protected(frame):
            opened = self._ciphering.look_service(frame, required, self._place)
            if opened.apdu[:1] in _NOTIFICATIONS:
                self._ciphering.require_latest(opened)  # no news after later news, by whatever pieces they came
                self._require_keyed(opened.framing)
            self._ciphering.accept(opened)
            if opened.protection.authentic and opened.framing not in DEDICATED:
                self._counted = opened.counter
            if opened.apdu[:1] not in _NOTIFICATIONS:
                agreed = self._framing(opened.apdu)
                if opened.framing is not agreed:
                    raise PolicyViolated(f"an answer in {opened.framing.name} ciphering, {agreed.name} is agreed")
                if opened.transaction not in (b"", self._ciphering.transaction):
                    raise StaleAnswer("the answer to another transaction")
            return self._no_error(opened.apdu, True), opened.protection.authentic
        plain = self._no_error(frame, not self.associated or not required)
        require_protection(required, Protection.NONE, "the answer")
        return plain, False

    def _require_keyed(self, framing: Framing) -> None:
        """A notification under the global key, which names its sender or not, is as good as one under the association's
        own; but where each frame has a key of its own, or one that is wrapped, it has to have that."""
        assert self._ciphering
        agreed = self._ciphering.framing
        if agreed in KEYED and framing is not agreed:
            raise PolicyViolated(f"a notification in {framing.name} ciphering, {agreed.name} is agreed")

    def _no_error(self, plain: bytes, conclusive: bool) -> bytes:
        """Return `plain` unless it is an error APDU: conclusive, or one that anybody may have sent."""
        if plain[:1] not in _ERRORS:
            return plain
        answer = apdu.decode(plain)
        assert isinstance(answer, ExceptionResponse | ConfirmedServiceError)
        raise Conclusive(refusal(answer)) if conclusive else refusal(answer)

    def _notified(self, plain: bytes) -> bool:
        if plain[:1] not in _NOTIFICATIONS:
            return False
        notification = apdu.decode(plain)
        assert isinstance(notification, Notification)
        self._remember(notification, plain)
        return True

    def _remember(self, notification: "Notification | InformationReport", plain: bytes) -> None:
        self.notifications.append(Told(notification, self._counted, plain))
        del self.notifications[:-_KEPT_NOTIFICATIONS]

    def _or_notified(self, accept: Callable[[bytes], Accepted]) -> Callable[[bytes], Accepted | None]:
        """Let notifications through while an AARE or RLRE is awaited."""

        def either(frame: bytes) -> Accepted | None:
            if frame[:1] in _PUSHED and self._notified(self._plain(frame)[0]):
                return None
            return accept(frame)

        return either

    # --- what goes wrong

    def _refuse(self, error: DcuError) -> None:
        """Count a frame that is not acceptable. Raises unless the channel is lossy."""
        self.refused.add(error)
        if not self._lossy:
            raise self._failed(error) from None

    def _failed(self, error: DcuError) -> DcuError:
        """What to raise for `error`; on a stream it ends the session, which is out of step or under attack."""
        if isinstance(error, DecodeError):
            error = MalformedAnswer(f"the meter answered nonsense: {error}")
        if not self._lossy and isinstance(error, SecurityError | MalformedAnswer):
            self._over(error)
        return error

    def _over(self, error: DcuError) -> DcuError:
        """End the session; return `error`, its reason."""
        self.associated = False
        self._ended = bare(error)
        return error

    def _malformed(self, message: str) -> DcuError:
        return self._failed(MalformedAnswer(message))

    def _require_association(self) -> Negotiated:
        if not self.associated or self.negotiated is None:
            raise LinkClosed(f"there is no association: {self._ended or 'it was not opened'}")
        return self.negotiated
