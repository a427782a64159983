"""An image over a link of the command's own: carried out as the collector does it, begun anew where the line breaks.

What must outlive the command, the order and its phase, is one small file a meter under the user's state directory. The
same command again goes on where the meter says that it was.
"""

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import msgspec

from dcu.cli.counters import state_directory
from dcu.cli.direct import Direct
from dcu.cli.linked import Linked
from dcu.collect.jobs.image import Image, Order, Phase, Transfer, Where
from dcu.collect.retry import Backoff
from dcu.cosem.client import ClientSession
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.exchange import Exchange
from dcu.durable import place
from dcu.errors import DcuError, LinkError, StoreError
from dcu.model import Obis

T = TypeVar("T")

AGAIN = Backoff(attempts=8, first=2.0, factor=2.0, longest=60.0)  # three minutes in which not one block gets through
Tell = Callable[[float, str], None]


class Notes:
    """What is known of the image that goes to one meter from here."""

    def __init__(self, meter: str) -> None:
        name = blake2b(meter.encode(), digest_size=12).hexdigest()
        self.path = state_directory() / "images" / f"{name}.json"

    def read(self) -> Order | None:
        """None where nothing was sent from here. Raises StoreError."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Order)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(f"{self.path}: {error}: delete it to begin anew") from None

    def write(self, order: Order) -> None:
        """Durable when it returns. Raises StoreError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            place(self.path, msgspec.json.encode(order))
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written: {error.strerror}") from None


def taken_up(order: Order, known: Order | None) -> Order:
    """The order, as far as it had come before, where it is the same image."""
    if known is None or (known.sha256, known.identifier) != (order.sha256, order.identifier):
        return order
    phase = known.phase
    if phase is Phase.FAILED:
        phase = Phase.SENDING if known.begun else Phase.BEGINNING
    elif phase in (Phase.VERIFIED, Phase.SCHEDULED):
        phase = Phase.VERIFYING
    elif phase is Phase.ACTIVE:
        return order
    return msgspec.structs.replace(
        order, phase=phase, begun=known.begun, block_size=known.block_size, blocks=known.blocks, asked=known.asked
    )


def carry(linked: Linked, order: Order, path: Path | None, notes: Notes, tell: Tell) -> Order:
    """Carry the order out; `path`: its image, None where all of it is in the meter. Raises what the job raises."""
    failed, best, reached = 0, -1.0, False

    def told(share: float, message: str) -> None:
        nonlocal failed, best
        if share > best:
            failed, best = 0, share
        tell(share, message)

    async def keep(changed: Order) -> None:
        nonlocal order
        notes.write(changed)
        order = changed

    async def work(meter: Direct) -> Order:
        nonlocal reached
        reached = True
        family = linked.family
        where = Where(Obis.parse(family.image.object), Obis.parse(family.image.schedule), linked.rule or TimeZoneRule())
        image = Image(path, order) if path else None
        return await Transfer(_ByLink(meter, linked.ciphered), order, image, where, keep, told).run()

    notes.write(order)
    while True:
        try:
            return linked.work(work)
        except LinkError as error:
            failed += 1
            if not reached:  # a wrong address does not come right by waiting
                raise
            delay = AGAIN.delay(failed, linked.random)
            if delay is None:
                raise
            tell(max(best, 0.0), f"{error}; again in {delay:.0f} s")
            linked.begin_anew(after=delay)
        except DcuError as error:
            notes.write(msgspec.structs.replace(order, phase=Phase.FAILED, reason=str(error)))
            raise


class _ByLink:
    """A `Do` over a link of our own."""

    def __init__(self, meter: Direct, ciphered: bool) -> None:
        self._meter = meter
        self.ciphered = ciphered

    async def __call__(self, make: Callable[[ClientSession], Exchange[T]]) -> T:
        return await self._meter.run(make)
