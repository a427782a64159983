"""One meter's image transfer, asked directly by the transfer of an image: no line and no association between.

It is the simulated meter's, which keeps an account of what it was sent; where it has to misbehave, a test makes it.
"""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from dcu.collect.jobs.image import SCRIPT, Image, Transfer, Where, ordered
from dcu.cosem import schedules
from dcu.cosem.apdu import ActionResult
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.image import ImageStatus, ToActivate
from dcu.errors import AccessDenied, LinkTimeout
from dcu.model import Obis
from neighbourhood.image import Busy, ImageTransfer, Status, firmware
from tests.collect.images import NAME

BLOCK, AT = 400, 1_800_000_000
RAW = firmware("2.0.0", 4_100)  # eleven blocks, of which the last is short


@dataclass
class Meter:
    """What an `ImageObject` asks, answered at once. calls: the actions, in order; lost: of the next, the answers."""

    works: ImageTransfer = field(default_factory=lambda: ImageTransfer(BLOCK))
    now: int = 0
    calls: list = field(default_factory=list)
    lost: list = field(default_factory=list)
    enabled_again: int = 0
    told: tuple | None = None
    looks: list = field(default_factory=list)  # when its status was asked for

    def block_size(self):
        return self.works.block_size

    def enabled(self):
        return self.works.enabled

    def enable(self):
        self.enabled_again += 1
        self.works.enabled = True

    def status(self):
        self.now += 3
        self.looks.append(asyncio.get_running_loop().time())
        return ImageStatus(self.works.status(self.now))

    def held(self):
        """Which not every meter tells before there is a transfer, or after."""
        if self.works.known is not Status.INITIATED:
            raise denied(ActionResult.OTHER_REASON)
        return list(map(bool, self.works.held))

    def to_activate(self):
        works = self.works
        return self.told if self.told is not None else (ToActivate(works.size, works.identifier, works.digest),)

    def initiate(self, identifier, size):
        self._act("initiate", lambda: self.works.initiate(identifier, size))

    def transfer(self, number, block):
        self._act(number, lambda: self.works.take(number, block))

    def verify(self):
        return self._begun("verify", self.works.verify)

    def activate(self):
        return self._begun("activate", self.works.activate)

    def _begun(self, name, deed):
        try:
            self._act(name, lambda: deed(self.now))
        except AccessDenied as denied:
            if denied.result != ActionResult.TEMPORARY_FAILURE:
                raise
            return False
        return True

    def _act(self, name, deed):
        self.calls.append(name)
        fate = self.lost.pop(0) if self.lost and name in ("initiate", "verify", "activate") else ""
        if fate == "request":
            raise LinkTimeout("no answer")
        try:
            if not deed():
                raise denied(ActionResult.OTHER_REASON)
        except Busy:
            raise denied(ActionResult.TEMPORARY_FAILURE) from None
        finally:
            if fate == "answer":
                raise LinkTimeout("no answer")


def denied(result):
    return AccessDenied("the image transfer", result)


class Done(Transfer):
    """A transfer with `Meter`. kept: the orders, as they became durable; told: share and text of what goes on."""

    def __init__(self, tmp_path, meter, order, *, image=True, ciphered=True):
        path = Path(tmp_path / "image")
        path.write_bytes(RAW)
        self.meter, self.kept, self.told = meter, [], []

        async def keep(order):
            self.kept.append((order, list(meter.calls)))

        async def do(make):
            raise AssertionError("by `_ask`")

        do.ciphered = ciphered
        where = Where(Obis.parse("0-0:44.0.0*255"), Obis.parse("0-0:15.0.2*255"), TimeZoneRule())
        super().__init__(
            do, order, Image(path, order) if image else None, where, keep, lambda *told: self.told.append(told)
        )

    async def _ask(self, make):
        return make(self.meter)


class Timed(Done):
    """With a schedule that the meter holds; `fates`: what becomes of the next writing."""

    def __init__(self, tmp_path, meter, order, fates=(), *, holds=None):
        super().__init__(tmp_path, meter, order)
        self.fates, self.written, self._holds = list(fates), [], holds

        async def do(make):
            deed = make(None)
            name = deed.__name__
            deed.close()
            if name == "read":
                return self._holds or schedules.once(SCRIPT, AT, TimeZoneRule())
            self.written.append(name)
            if self.fates and (fate := self.fates.pop(0)):
                raise fate
            return None

        self._do = do


def an_order(**changes):
    return msgspec.structs.replace(ordered(RAW, identifier=NAME), **changes)
