"""The server's side of associations (IEC 62056-5-3): an APDU in, an APDU or None out, for several client SAPs.

Signatures first; the body follows.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Protocol

from dcu.cosem.apdu import ActionResult, DataAccessResult, DataNotification
from dcu.cosem.association import Counter, Floors, Refused, ServerAssociation
from dcu.cosem.selection import Selection
from dcu.model import AttributeRef, MethodRef


class Denied(Exception):
    """An application's way to say no: the result that goes on the wire."""

    def __init__(self, result: DataAccessResult | ActionResult) -> None:
        super().__init__(result.name)
        self.result = result


class Application(Protocol):
    """What a server serves. Access rights are its business: it knows who asks (client_sap). Values stay encoded."""

    def get(self, client_sap: int, attribute: AttributeRef, selection: Selection | None) -> bytes: ...

    def set(self, client_sap: int, attribute: AttributeRef, selection: Selection | None, value: bytes) -> None: ...

    def action(self, client_sap: int, method: MethodRef, parameter: bytes | None) -> bytes | None: ...


class ServerSession:
    """All associations of one server over one connection."""

    refused: Refused

    def __init__(
        self,
        device: Application,
        associations: Mapping[int, ServerAssociation],
        *,
        counter: Counter,
        floors: Floors | None = None,
        lossy: bool = False,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None: ...

    def receive(self, client_sap: int, apdu: bytes) -> bytes | None:
        """Answer one APDU; None where nothing is to be said. Never raises."""
        ...

    def associated(self, client_sap: int) -> bool: ...

    def notification(self, client_sap: int, notification: DataNotification) -> bytes:
        """The APDU that carries `notification`, protected as the SAP's policy wants (general-glo-ciphering)."""
        ...
