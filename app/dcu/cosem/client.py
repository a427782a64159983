"""The client's side of an association: associate and release, each an exchange without I/O.

What it can ask in between stands in `asking`; how frames are protected, awaited and refused, in `conversation`; how an
association is opened, in `handshake`.
Source: DLMS Green Book (IEC 62056-5-3) clauses 9.3 and 9.4.
"""

import secrets
from collections.abc import Callable

from dcu.cosem.answers import an_action
from dcu.cosem.apdu import ActionRequestNormal, ActionResponseNormal, ActionResult, Apdu
from dcu.cosem.asking import Asking
from dcu.cosem.association import Association, Authentication, Counter, Negotiated, UnfitChallenge
from dcu.cosem.exchange import Conclusive, Exchange
from dcu.cosem.handshake import REPLY_TO_HLS, Handshake
from dcu.cosem.short_names import ShortNames
from dcu.errors import AuthenticationFailed, LinkClosed

_CHALLENGES = 4  # of the meter that are looked at: all of them are unfit by chance once in 18,000 times


class ClientSession(Asking):
    """One association, from AARQ to release. One exchange at a time.

    counter: see `Counter`. receive_floor: what the meter's counter under the global key must exceed.
    lossy: the channel may lose, repeat or forge frames (UDP). Where it does not, a SecurityError, a MalformedAnswer or
    an exchange that is given up unanswered ends the session, and anywhere do 15 unanswered requests: `associated` is
    False, and what follows raises LinkClosed.
    names: the meter's short names, where it goes by them (`ShortSession`).
    """

    names: ShortNames | None = None

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
        if self.association.broadcast:
            raise ValueError("nobody opens an association by broadcast: it is presumed")
        self.negotiated = None
        self._awaited.clear()
        handshake, negotiated = yield from self._open()
        if self.association.authentication.high:
            yield from self._prove(handshake)
        self.negotiated = negotiated
        self.associated = True
        return negotiated

    def presume(self, server_max_pdu: int = 0) -> Negotiated:
        """Take up a pre-established association: nothing is exchanged, so nobody proves that he is fresh.

        What tells a recorded answer from a new one is the meter's counter alone: where answers are authenticated, the
        floor of before has to be given. Raises ValueError.
        """
        settings = self.association
        if settings.authentication is not Authentication.NONE or settings.dedicated:
            raise ValueError("a pre-established association has neither a handshake nor a dedicated key")
        if settings.policy.response.authentic and self.floor < 0 and not settings.broadcast:
            raise ValueError("a pre-established association needs the receive floor of before: give it")
        self._ended = None
        self.negotiated = Negotiated(settings.proposed, server_max_pdu, settings.server_title)
        self.associated = True
        return self.negotiated

    def learn(self) -> Exchange[None]:
        """Read what has to be known before anything is asked of a presumed association: the meter's short names."""
        yield from ()

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
            answer = an_action(answer)
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
