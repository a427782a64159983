"""What can be wrong with a meter: written `KIND:METERS` or `KIND=VALUE:METERS`, METERS being `3`, `3-7` or `all`.

nonsense    its answers are authentic and mean nothing (A-XDR that is none)
garbage     its answers are random bytes
replays     it answers with what it answered before
wrong-key   its keys are not those of the shipment
silent      it takes connections and says nothing
slow=S      it answers after S seconds (5)
drops=N     it hangs up after N frames (5)
"""

import asyncio
import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

from dcu.cosem.selection import Selection
from dcu.errors import LinkClosed
from dcu.link.listen import Handler, Peer
from dcu.model import AttributeRef
from dcu.streams import Sent, each
from neighbourhood.device import Device
from neighbourhood.meter import PUBLIC, Meter

KINDS = ("nonsense", "garbage", "replays", "wrong-key", "silent", "slow", "drops")
DEFAULTS = {"slow": 5.0, "drops": 5.0}
_WRITTEN = re.compile(r"([a-z-]+)(?:=(\d+(?:\.\d+)?))?:(?:(\d+)(?:-(\d+))?|(all))")


@dataclass(frozen=True, slots=True)
class Fault:
    """first..last: the numbers of the meters; last None: all from first on."""

    kind: str
    first: int
    last: int | None
    value: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Raises ValueError, saying what is allowed."""
        match = _WRITTEN.fullmatch(text)
        if match is None or match[1] not in KINDS or (match[2] and match[1] not in DEFAULTS):
            raise ValueError(f"{text!r} is no fault: write KIND:METER as in silent:3, slow=5:4-8 or drops=2:all; "
                             f"KIND is one of {', '.join(KINDS)}")  # fmt: skip
        kind, value, first, last, everyone = match.groups()
        begin = 1 if everyone else int(first)
        return cls(kind, begin, None if everyone else int(last or first), float(value or DEFAULTS.get(kind, 0.0)))

    def hits(self, number: int) -> bool:
        return self.first <= number and (self.last is None or number <= self.last)


class Mischief:
    """Which meter has which fault."""

    def __init__(self, faults: Iterable[Fault], count: int) -> None:
        """Raises ValueError for a fault of a meter that is not there."""
        self._faults = tuple(faults)
        for fault in self._faults:
            if not 1 <= fault.first <= (fault.last or count) <= count:
                raise ValueError(f"fault {fault.kind}: meters {fault.first}-{fault.last}, there are 1-{count}")

    def wrong_key(self, number: int) -> bool:
        return self._has(number, "wrong-key") is not None

    def nonsense(self, number: int) -> bool:
        return self._has(number, "nonsense") is not None

    def over(self, meter: Meter, handler: Handler, peer: Peer) -> Handler:
        """The handler of a meter, its faults upon it."""
        for fault in self._faults:
            if fault.hits(meter.number):
                handler = _with(fault, handler, peer)
        return handler

    def _has(self, number: int, kind: str) -> Fault | None:
        return next((fault for fault in self._faults if fault.kind == kind and fault.hits(number)), None)


class Faulty(Device):
    """A device whose values mean nothing, except to the public client: its associations still come about."""

    __slots__ = ()

    def get(self, client_sap: int, attribute: AttributeRef, selection: Selection | None) -> bytes:
        value = Device.get(self, client_sap, attribute, selection)
        return value if client_sap == PUBLIC else b"\x01\x82\xff\xff\x7f" + value[:40]


def _with(fault: Fault, handler: Handler, peer: Peer) -> Handler:
    seen = 0
    last: Sent = None

    def faulty(client_sap: int, server_sap: int, apdu: bytes) -> Sent:
        nonlocal seen, last
        seen += 1
        if fault.kind == "silent":
            return None
        if fault.kind == "drops" and seen > fault.value:
            peer.close()
            return None
        answer = handler(client_sap, server_sap, apdu)
        if fault.kind == "slow" and answer is not None:
            asyncio.get_running_loop().call_later(fault.value, _late, peer, server_sap, client_sap, answer)
            return None
        if fault.kind == "garbage":
            return blake2b(apdu, digest_size=30).digest()
        if fault.kind == "replays" and seen > 3:
            return last
        last = answer
        return answer

    return faulty


def _late(peer: Peer, server_sap: int, client_sap: int, answer: Sent) -> None:
    with contextlib.suppress(LinkClosed):  # the client did not wait
        for apdu in each(answer):
            peer.push(server_sap, client_sap, apdu)
