"""What meters say unasked: a push is checked, and committed together with its counter, before anybody hears of it.

The receive counter and the outbox row are one transaction (design decision 5): after a crash, or on a full disk, a push
was either kept, or the meter's repetition of it is still accepted.
"""

import logging
from collections.abc import Callable, Iterable

from dcu.collect.associations import FRAMINGS
from dcu.collect.meter_profile import Security
from dcu.collect.services import Services
from dcu.cosem.push import PushReceiver, PushSource
from dcu.cosem.security import Framing
from dcu.errors import CounterReplayed, DcuError, KeysError
from dcu.model import Priority
from dcu.store.records import MeterRecord

# Outside of an association a push has to name its sender: so what goes in services' own tags there is general here
_FRAMINGS = FRAMINGS | {"service": Framing.GENERAL_GLOBAL}

log = logging.getLogger(__name__)


class Pushes:
    """Receives pushes: `received` is what a listener hands APDUs to.

    security: a meter's, by name. Its pushes are protected as what it answers in an association is.
    """

    def __init__(
        self, services: Services, *, plain: bool, security: Callable[[str], Security] = lambda name: Security()
    ) -> None:
        self._services = services
        self._security = security
        self._names: dict[bytes, str] = {}  # by system title
        self._keys: dict[bytes, bytes] = {}  # by system title: the fingerprint of the key that floors belong to
        self._floors: dict[bytes, int] = {}  # by that, as far as pushes came: a first look, the store decides
        self._receiver = PushReceiver(self._source, self._floor, title=services.client_title, plain=plain)
        self.accepted = 0

    @property
    def refused(self) -> int:
        return self._receiver.refused.total

    def know(self, records: Iterable[MeterRecord]) -> None:
        """Accept pushes of these meters from now on, and no longer under another system title."""
        titles = {name: title for title, name in self._names.items()}
        for record in records:
            self._names.pop(titles.get(record.name, b""), None)
            if record.system_title:
                self._names[record.system_title] = record.name

    async def received(self, peer: str, source: int, destination: int, apdu: bytes) -> None:
        """Take one APDU. Raises what is wrong with it: the listener counts that."""
        try:
            push = self._receiver.receive(apdu)
        except DcuError as error:
            log.info("push from %s refused: %s", peer, error)
            raise
        store = self._services.store
        name = self._names.get(push.title)
        if name is None or push.counter is None:
            seq = await store.put("push", push.payload, Priority.ALARM, None)
        else:
            key = self._keys[push.title]
            try:
                seq = await store.accept_push(name, push.counter, push.payload, key=key)
            except CounterReplayed as error:  # one from before we started, or a copy of one that is being kept
                self._receiver.refused.add(error)
                self._floors[key] = error.floor
                raise
            self._floors[key] = push.counter
        self.accepted += 1
        text = f"push of {len(push.payload)} bytes, outbox {seq}" + ("" if name else f", unprotected, from {peer}")
        self._services.events.tell("alarm", meter=name, kind="push", message=text)

    def _source(self, title: bytes) -> PushSource | None:
        name = self._names.get(title)
        if name is None:
            return None
        try:
            keys, security = self._services.keys.meter(name), self._security(name)
            source = PushSource(keys, framing=_FRAMINGS[security.framing], signed=security.signed)
        except (KeysError, ValueError) as error:
            log.warning("push of %s: %s", name, error)
            return None
        self._keys[title] = keys.fingerprint(title)
        return source

    def _floor(self, title: bytes) -> int:
        return self._floors.get(self._keys[title], -1)
