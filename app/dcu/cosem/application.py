"""What stands behind a server's associations: the application that knows the objects and who may do what with them."""

from typing import Protocol

from dcu.cosem.apdu import ActionResult, DataAccessResult
from dcu.cosem.selection import Selection
from dcu.model import AttributeRef, MethodRef


class Denied(Exception):
    """An application's way to say no: the result that goes on the wire."""

    def __init__(self, result: DataAccessResult | ActionResult) -> None:
        super().__init__(str(result))
        self.result = result


class Application(Protocol):
    """What a server serves. Access rights are its business: it knows who asks (client_sap). Values stay encoded.

    It says no by raising Denied; anything else that it raises is answered with other-reason.
    """

    def get(self, client_sap: int, attribute: AttributeRef, selection: Selection | None) -> bytes: ...

    def set(self, client_sap: int, attribute: AttributeRef, selection: Selection | None, value: bytes) -> None: ...

    def action(self, client_sap: int, method: MethodRef, parameter: bytes | None) -> bytes | None: ...
