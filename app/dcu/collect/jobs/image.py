"""A firmware image into a meter, whatever breaks on the way: the line, this process, the meter's patience.

Each attempt begins by asking the meter where it stands, and goes on from there. So an action that went unanswered is
never just sent again, and a block goes out a second time only where the meter says that it lacks it. What must outlive
this process is little: which image was promised to the meter, and how far it came by phases. `keep` makes each phase
durable before its first request goes out.

The image is activated only after the meter has verified it, and after what the meter says it would activate is what was
sent: at once, at a time of the meter's own clock (a single action schedule, class 22), or when somebody asks.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.4.6 (image transfer), 4.5.7 (single action schedule).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from dcu.collect.decoding import decoding
from dcu.cosem import schedules
from dcu.cosem.apdu import ActionResult
from dcu.cosem.client import ClientSession
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.exchange import Exchange
from dcu.cosem.image import LARGEST, ImageObject, ImageStatus, ToActivate, pieces, spelled
from dcu.errors import AccessDenied, ConfigError, JobError, LinkError
from dcu.model import Obis

T = TypeVar("T")

ROUNDS = 12  # that bring the meter not one block further, before it is given up: a minute, where it is busy
ASKED = 2  # times that a meter is asked to verify, or to activate, which it did not do
LOOK_EVERY = (2.0, 5.0, 10.0, 30.0)  # seconds between two looks at what takes time; the last of them from then on
PATIENCE = 3_600.0  # seconds that verifying, or activating, may take
SCRIPT = schedules.Script(Obis.parse("0-0:10.0.107*255"), 1)  # image activation


class Phase(StrEnum):
    BEGINNING = "beginning"
    SENDING = "sending"
    VERIFYING = "verifying"
    VERIFIED = "verified"  # and to be activated when somebody asks
    SCHEDULED = "scheduled"  # the meter activates it at a time of its own clock
    ACTIVATING = "activating"
    ACTIVE = "active"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self in (Phase.VERIFIED, Phase.SCHEDULED, Phase.ACTIVE, Phase.FAILED)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One image for one meter, and how far it came.

    sha256: hexadecimal, of the image; identifier: what the transfer is begun with; expected: how the meter names the
    image that it would activate; signature: what it must say of that, empty: anything; activate: at once when verified;
    at: in place of that, UTC seconds at which the meter does it; begun: whether the transfer may have been initiated;
    asked: times that activation was asked for; blocks: that the meter had when it was last asked.
    """

    sha256: str
    size: int
    identifier: bytes
    expected: bytes
    signature: bytes = b""
    activate: bool = False
    at: int = 0
    phase: Phase = Phase.BEGINNING
    block_size: int = 0
    begun: bool = False
    asked: int = 0
    blocks: int = 0
    actor: str = ""
    since: int = 0
    reason: str = ""

    @property
    def count(self) -> int:
        return pieces(self.size, self.block_size) if self.block_size else 0


class Do(Protocol):
    """Runs one exchange with the meter, once. ciphered: the meter refuses a request that comes after a later one."""

    ciphered: bool

    async def __call__(self, make: Callable[[ClientSession], Exchange[T]]) -> T: ...


@dataclass(frozen=True, slots=True)
class Where:
    """Which objects of the meter do it, and what its clock means."""

    image: Obis
    schedule: Obis
    rule: TimeZoneRule


class Image:
    """The bytes that are sent, read as they are needed. Raises ConfigError where they are not those of the order."""

    def __init__(self, path: Path, order: Order) -> None:
        self._path = path
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        if len(raw) != order.size or hashlib.sha256(raw).hexdigest() != order.sha256:
            raise ConfigError(f"{path}: is not the image that was to be sent: send it anew")

    def block(self, number: int, size: int) -> bytes:
        with self._path.open("rb") as file:
            file.seek(number * size)
            return file.read(size)


class Transfer:
    """Carries one order out, as far as it wants.

    image: None where the meter has all of it; keep: makes the order durable; tell: share done, what goes on.
    """

    def __init__(
        self,
        do: Do,
        order: Order,
        image: Image | None,
        where: Where,
        keep: Callable[[Order], Awaitable[None]],
        tell: Callable[[float, str], None],
    ) -> None:
        self.order = order
        self._do = do
        self._image = image
        self._where = where
        self._keep = keep
        self._tell = tell
        self._begun = 0  # times that it was begun in this attempt

    async def run(self) -> Order:
        """Go on until the order is through. Raises LinkError: go on later; any other error: it is not to be had."""
        steps = {
            Phase.BEGINNING: self._begin,
            Phase.SENDING: self._send,
            Phase.VERIFYING: self._verify,
            Phase.ACTIVATING: self._activate,
        }
        while not self.order.phase.ended:
            await steps[self.order.phase]()
        return self.order

    # --- the transfer

    async def _begin(self) -> None:
        """Initiate, unless the meter shows that an earlier request of ours, which went unanswered, has done it."""
        size = await self._ask(lambda image: image.block_size())
        order = self.order
        if not await self._ask(lambda image: image.enabled()):
            await self._ask(lambda image: image.enable())
        alike = await self._nothing_held(pieces(order.size, size))
        if not (alike and order.begun and order.block_size == size):
            # A transfer that somebody else began would pass for ours if our request were lost: then it is sent again.
            await self._note(block_size=size, begun=not alike)
            await self._ask(lambda image: image.initiate(order.identifier, order.size))
        self._begun += 1
        await self._note(phase=Phase.SENDING, begun=True, block_size=size, blocks=0)

    async def _nothing_held(self, count: int) -> bool:
        if await self._ask(lambda image: image.status()) is not ImageStatus.INITIATED:
            return False
        held = await self._ask(lambda image: image.held())
        return len(held) == count and not any(held)

    async def _send(self) -> None:
        match await self._ask(lambda image: image.status()):
            case ImageStatus.INITIATED:
                await self._blocks()
            case ImageStatus.VERIFICATION_INITIATED | ImageStatus.VERIFICATION_SUCCESSFUL:
                pass
            case status if self._begun == ASKED:
                raise JobError(f"the meter does not keep the transfer that was begun: it is {status}")
            case _:  # the meter has lost it, or refused what it had: from the beginning
                return await self._note(phase=Phase.BEGINNING, begun=False)
        await self._note(phase=Phase.VERIFYING, blocks=self.order.count)
        return None

    async def _blocks(self) -> None:
        """Send what is missing, round by round, as long as that brings the meter further."""
        missing, fruitless, count = await self._missing(), 0, self.order.count
        while missing:
            left = len(missing)
            for number in missing:
                if not await self._block(number):
                    break  # the meter is busy: what it has by then it says itself
                left -= 1
                self._tell((count - left) / count, f"{count - left} of {count} blocks")
            lacked, missing = len(missing), await self._missing()
            fruitless = fruitless + 1 if len(missing) >= lacked else 0
            if fruitless == ROUNDS:
                raise JobError(f"the meter is given its blocks, and still lacks {len(missing)} of them: look at it")

    async def _block(self, number: int) -> bool:
        if self._image is None:
            raise JobError(f"the meter lacks block {number}, and the image is not at hand: send it again")
        block = self._image.block(number, self.order.block_size)
        try:
            await self._ask(lambda image: image.transfer(number, block))
        except AccessDenied as denied:
            if denied.result != ActionResult.TEMPORARY_FAILURE:
                raise
            await asyncio.sleep(LOOK_EVERY[1])
            return False
        return True

    async def _missing(self) -> Sequence[int]:
        held = await self._ask(lambda image: image.held())
        if len(held) != self.order.count:
            raise JobError(f"the meter holds a transfer of {len(held)} blocks, ours has {self.order.count}: {_OTHER}")
        return [number for number, there in enumerate(held) if not there]

    # --- what the meter makes of it

    async def _verify(self) -> None:
        asked, waits = 0, self._waits("verifying")
        while True:
            match await self._ask(lambda image: image.status()):
                case ImageStatus.VERIFICATION_SUCCESSFUL:
                    return await self._verified()
                case ImageStatus.VERIFICATION_FAILED:
                    raise JobError("the meter's verification failed: the image is damaged, or not for this meter")
                case ImageStatus.VERIFICATION_INITIATED:
                    await waits()
                case ImageStatus.INITIATED if asked < ASKED:
                    asked += 1
                    if await self._ask(lambda image: image.verify()):  # some say so here only, and not in their status
                        return await self._verified()
                case status:
                    raise JobError(f"the meter does not verify the image: its transfer is {status}; {_OTHER}")

    async def _verified(self) -> None:
        await self._check()
        if self.order.at:
            await self._schedule()
        else:
            await self._note(phase=Phase.ACTIVATING if self.order.activate else Phase.VERIFIED)

    async def _check(self) -> None:
        """Nothing is activated but what was sent."""
        order = self.order
        found = await self._ask(lambda image: image.to_activate())
        fits = [each for each in found if each.identification == order.expected and each.size == order.size]
        if not fits or (order.signature and all(each.signature != order.signature for each in fits)):
            told = "; ".join(_described(each) for each in found)
            sent = _described(ToActivate(order.size, order.expected, order.signature))
            raise JobError(f"the meter would activate {told or 'nothing'}, where {sent} was sent: not activated")

    async def _schedule(self) -> None:
        plan = schedules.once(SCRIPT, self.order.at, self._where.rule)
        try:
            await self._write(plan)
        except LinkError:  # written or not: writing it again is the same
            await self._write(plan)
        await self._note(phase=Phase.SCHEDULED)

    async def _write(self, plan: schedules.Plan) -> None:
        obis = self._where.schedule
        await self._do(lambda session: schedules.write(session, obis, plan))
        with decoding("the activation's schedule"):
            found = await self._do(lambda session: schedules.read(session, obis))
        if not found.means(plan):
            raise JobError(f"the meter took the activation's schedule ({obis}), and holds another")

    async def _activate(self) -> None:
        waits = self._waits("activating")
        while True:
            match await self._ask(lambda image: image.status()):
                case ImageStatus.ACTIVATION_SUCCESSFUL:
                    return await self._note(phase=Phase.ACTIVE)
                case ImageStatus.ACTIVATION_FAILED:
                    raise JobError("the meter's activation failed: it goes on with the firmware that it had")
                case ImageStatus.ACTIVATION_INITIATED:
                    await waits()
                case ImageStatus.VERIFICATION_SUCCESSFUL if self._may_ask():
                    await self._check()
                    await self._note(asked=self.order.asked + 1)
                    if await self._ask(lambda image: image.activate()):
                        return await self._note(phase=Phase.ACTIVE)
                case ImageStatus.VERIFICATION_SUCCESSFUL:
                    raise JobError("the meter was asked to activate the image, and did not: read back")
                case status:
                    raise JobError(
                        f"whether the image is active is unknown, the meter's transfer is {status}: "
                        "read its active firmware identifier (1-0:0.2.0*255)"
                    )

    def _may_ask(self) -> bool:
        """A second time only where a copy of the first request, still on its way, would be refused."""
        return self.order.asked < (ASKED if self._do.ciphered else 1)

    def _waits(self, what: str) -> Callable[[], Awaitable[None]]:
        """What waits until the meter is looked at again. Raises JobError where that takes too long."""
        loop = asyncio.get_running_loop()
        until, delays = loop.time() + PATIENCE, iter(LOOK_EVERY)

        async def wait() -> None:
            self._tell(1.0, what)
            if loop.time() >= until:
                raise JobError(f"the meter has been {what} for {PATIENCE:.0f} s: look at it, and send the image anew")
            await asyncio.sleep(next(delays, LOOK_EVERY[-1]))

        return wait

    async def _ask(self, make: Callable[[ImageObject], Exchange[T]]) -> T:
        with decoding("the image transfer"):
            return await self._do(lambda session: make(ImageObject(session, self._where.image)))

    async def _note(self, **changes: object) -> None:
        order = msgspec.structs.replace(self.order, **changes)
        await self._keep(order)
        self.order = order


_OTHER = "somebody else uses it, or the meter began anew; send the image again where that has ended"


def _described(image: ToActivate) -> str:
    signature = f", signature {image.signature.hex()}" if image.signature else ""
    return f"{spelled(image.identification)}, {image.size} B{signature}"


def ordered(
    raw: bytes, *, identifier: bytes, expected: bytes = b"", signature: bytes = b"", activate: bool = False, at: int = 0
) -> Order:
    """An order for these bytes. Raises ConfigError."""
    return checked(
        Order(
            sha256=hashlib.sha256(raw).hexdigest(),
            size=len(raw),
            identifier=identifier,
            expected=expected or identifier,
            signature=signature,
            activate=activate,
            at=at,
        )
    )


def checked(order: Order, now: int = 0) -> Order:
    """Raises ConfigError."""
    if order.at and order.at <= now:
        raise ConfigError("the time of the activation has passed: --at names one that is to come")
    if not 0 < order.size <= LARGEST:
        raise ConfigError(f"an image of {order.size} bytes: it has 1 to {LARGEST}")
    if not 0 < len(order.identifier) <= 255 or len(order.expected) > 255:
        raise ConfigError("an image's identifier has 1 to 255 bytes")
    return order
