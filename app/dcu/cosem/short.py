"""A client's association by short names. Its caller asks by class, OBIS code and attribute, as with logical names. What
short names lack is the invoke-id, so an answer cannot be told from a late one to another request: who gives up waiting
ends the session. Datagrams may also come twice or late: there the counter has to tell, of what both sides authenticate.

Source: IEC 62056-5-3 (DLMS Green Book 9.3.12 to 9.3.16, 9.4.6.4 to 9.4.6.6).
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace

from dcu.cosem import apdu
from dcu.cosem.apdu import Apdu, short
from dcu.cosem.apdu.short import InformationReport, Name, WriteRequest
from dcu.cosem.association import Association, Counter, Negotiated
from dcu.cosem.axdr import NULL
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange
from dcu.cosem.selection import Selection
from dcu.cosem.short_names import CLASS, CURRENT, ShortNames, decode_short_names
from dcu.cosem.short_translation import ClientTranslator, equivalent, unlisted
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef

OBJECT_LIST = AttributeRef(CLASS, CURRENT, 2)


class ShortSession(ClientSession):
    """A client's association by short names. names: the meter's, where they are known; else they are read first.

    unproven: it may be lossy though nothing is authenticated, and a late answer may be taken for another.

    The meter's information-reports are among the `notifications`, as they came.
    """

    _numbered = False

    def __init__(
        self,
        association: Association,
        *,
        counter: Counter,
        receive_floor: int = -1,
        lossy: bool = False,
        unproven: bool = False,
        names: ShortNames | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        if not association.short:
            raise ValueError("the association is by logical names")
        if lossy and not (unproven or association.policy.authentic):
            raise ValueError("short names over a lossy channel need requests and answers that are authenticated")
        super().__init__(association, counter=counter, receive_floor=receive_floor, lossy=lossy, random=random)
        self.names = names
        self._translator = ClientTranslator(names or ShortNames())

    def associate(self) -> Exchange[Negotiated]:
        negotiated = yield from super().associate()
        self.negotiated = _logically(negotiated)
        yield from self.learn()
        return negotiated

    def presume(self, server_max_pdu: int = 0) -> Negotiated:
        self.negotiated = _logically(super().presume(server_max_pdu))
        return self.negotiated

    def learn(self) -> Exchange[None]:
        if self.names is None:
            raw = yield from super().get(OBJECT_LIST)
            try:
                self.names = decode_short_names(raw)
            except DecodeError as error:
                raise self._failed(error) from None
            self._translator.names = self.names

    def get(self, attribute: AttributeRef, selection: Selection | None = None) -> Exchange[bytes]:
        """As with logical names, the object list of Association LN included."""
        if attribute == AttributeRef(15, CURRENT, 2) and self.names is not None:
            return self.names.logical()
            yield  # a generator all the same
        return (yield from super().get(attribute, selection))

    def unconfirmed(self, values: Sequence[tuple[AttributeRef, bytes]]) -> bytes:
        """The frame of an unconfirmed write: the caller sends it, and nobody answers. Raises AccessDenied."""
        self._require_association()
        try:
            variables = tuple(Name(self._translator.names.attribute(ref)) for ref, _ in values)
        except KeyError as error:
            raise unlisted(error) from None
        return super()._sealed(short.encode(WriteRequest(variables, tuple(value for _, value in values), False)))

    def unconfirmed_call(self, method: MethodRef, parameter: bytes | None = None) -> bytes:
        """The same: a method is a name that is written."""
        self._require_association()
        try:
            name = Name(self._translator.names.method(method))
        except KeyError as error:
            raise unlisted(error) from None
        return super()._sealed(short.encode(WriteRequest((name,), (parameter or NULL,), False)))

    def _fits(self, request: Apdu) -> bool:
        return len(self._translator.outgoing(apdu.encode(request))) <= self._room

    def _sealed(self, request: bytes) -> bytes:
        return super()._sealed(self._translator.outgoing(request))

    def _plain(self, frame: bytes) -> tuple[bytes, bool]:
        plain, authentic = super()._plain(frame)
        if plain[:1] in (bytes((short.READ_RESPONSE,)), bytes((short.WRITE_RESPONSE,))):
            plain = self._translator.incoming(plain)
        return plain, authentic

    def _notified(self, plain: bytes) -> bool:
        if plain[:1] != bytes((short.REPORT,)):
            return super()._notified(plain)
        report = short.decode(plain)
        assert isinstance(report, InformationReport)
        self._remember(report, plain)
        return True


def _logically(negotiated: Negotiated) -> Negotiated:
    """What was agreed, in the words of logical names, too."""
    return replace(negotiated, conformance=equivalent(negotiated.conformance))
