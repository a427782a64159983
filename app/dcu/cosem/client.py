"""The client's side of an association (IEC 62056-5-3): associate, get, set, action, release, as exchanges.

Signatures first; the body follows.
"""

import secrets
from collections import deque
from collections.abc import Callable


from dcu.cosem.apdu import DataAccessResult, DataNotification
from dcu.cosem.association import Association, Counter, Negotiated, Refused
from dcu.cosem.exchange import Exchange
from dcu.cosem.selection import Selection
from dcu.model import AttributeRef, MethodRef


class ClientSession:
    """One association, from AARQ to release.

    lossy: the channel may lose, repeat or forge frames (UDP): what is not acceptable is counted in `refused` and
    dropped, and the exchange goes on listening. Otherwise it raises, and a SecurityError or MalformedAnswer ends the
    session (`associated` is False, every later exchange raises).
    """

    associated: bool
    negotiated: Negotiated | None
    refused: Refused
    notifications: "deque[DataNotification]"  # bounded: the oldest goes
    floor: int  # the highest invocation counter accepted under the global key, -1 for none

    def __init__(
        self,
        association: Association,
        *,
        counter: Counter,
        receive_floor: int = -1,
        lossy: bool = False,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None: ...

    def associate(self) -> Exchange[Negotiated]: ...

    def get(self, attribute: AttributeRef, selection: Selection | None = None) -> Exchange[bytes]:
        """The encoded value, blocks joined. Raises AccessDenied, ..."""
        ...

    def get_list(
        self, attributes: "tuple[tuple[AttributeRef, Selection | None], ...]"
    ) -> Exchange[tuple[bytes | DataAccessResult, ...]]:
        """Falls back to one GET each where with-list was not negotiated."""
        ...

    def set(self, attribute: AttributeRef, value: bytes, selection: Selection | None = None) -> Exchange[None]: ...

    def action(self, method: MethodRef, parameter: bytes | None = None) -> Exchange[bytes | None]: ...

    def opaque(self, apdu: bytes) -> Exchange[bytes]:
        """A plain request APDU (C0, C1, C3) as it is, protected on the way; the plain response APDU."""
        ...

    def release(self) -> Exchange[None]: ...

    def receive(self, frame: bytes) -> None:
        """A frame that came outside of an exchange: a notification, or refused."""
        ...
