"""A client of the product and a meter of the street, face to face: no socket, no event loop."""

from collections.abc import Generator
from itertools import count
from typing import Any, TypeVar

from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, UNPROTECTED, Association, Authentication
from dcu.cosem.client import ClientSession
from neighbourhood.fleet import Fleet, Talk
from neighbourhood.meter import CONCENTRATOR, PUBLIC, Habits, Meter

T = TypeVar("T")
NOW = 1_763_640_000  # 2025-11-20T12:00:00Z
TITLE = b"DCU00001"


class Street:
    """A fleet whose true time stands still until a test moves it."""

    def __init__(self, meters: int = 3, seed: int = 7, now: int = NOW, **options: Any) -> None:
        self.now = now
        self.fleet = Fleet(meters, seed, lambda: self.now, **options)

    def meter(self, number: int) -> Meter:
        return self.fleet.meters[number - 1]

    def talk(self, number: int) -> Talk:
        return Talk(self.fleet, self.meter(number), lossy=False)

    def client(self, number: int, client_sap: int = CONCENTRATOR, **options: Any) -> "Client":
        return Client(self, number, client_sap, **options)


class Client:
    """A client with an open association."""

    def __init__(
        self,
        street: Street,
        number: int,
        client_sap: int,
        *,
        first: int = 1_000_000,
        title: bytes = TITLE,
        authentication: Authentication = Authentication.GMAC,
        **options: Any,
    ) -> None:
        self.sap = client_sap
        self.talk = street.talk(number)
        secured = client_sap != PUBLIC and authentication is Authentication.GMAC
        counters = count(first)
        self.session = ClientSession(
            Association(
                client_sap=client_sap,
                server_sap=1,
                authentication=authentication if client_sap != PUBLIC else Authentication.NONE,
                keys=street.meter(number).shipped_keys(client_sap),
                client_title=title if secured else b"",
                policy=AUTHENTICATED_ENCRYPTED if secured else UNPROTECTED,
                **options,
            ),
            counter=lambda: next(counters),
        )
        self(self.session.associate())

    def __call__(self, exchange: Generator[bytes | None, bytes, T]) -> T:
        try:
            request = next(exchange)
            while True:
                assert request is not None
                answer = self.talk(self.sap, 1, request)
                assert answer is not None
                request = exchange.send(answer)
        except StopIteration as ended:
            result: T = ended.value
            return result


__all__ = ["NOW", "TITLE", "Client", "Habits", "Street"]
