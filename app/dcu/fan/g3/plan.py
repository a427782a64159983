"""Who has which short address in a PAN, for good; and what else a network notes for the day after a restart.

An address is noted before the modem gives it to a meter, and stays that meter's when it leaves: it may come back, and
nobody else may ever be taken for it. Addresses of meters that are no longer expected are given anew only when all
others are used.
"""

import msgspec

from dcu.errors import DecodeError, LinkError
from dcu.fan.g3.pib import LAST_DEVICE_SHORT
from dcu.total import from_msgpack

FORMAT = 1
FIRST = 1


class Rekeying(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A change of the group key that is under way. have: who was given the new key; activated: who uses it."""

    have: list[bytes]
    activating: bool = False
    activated: list[bytes] = []


class _Notes(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    pan: int
    shorts: dict[bytes, int]
    joined: list[bytes]
    rekeying: Rekeying | None = None


class Plan:
    """Short addresses by EUI-64, and who has joined."""

    def __init__(self, pan: int) -> None:
        self.pan = pan
        self.joined: set[bytes] = set()
        self.rekeying: Rekeying | None = None
        self._shorts: dict[bytes, int] = {}
        self._devices: dict[int, bytes] = {}
        self._next = FIRST

    @classmethod
    def restored(cls, raw: bytes | None, pan: int) -> "Plan":
        """From notes; a new one where there are none, or they are another PAN's. Raises DecodeError."""
        plan = cls(pan)
        if raw is None:
            return plan
        notes = from_msgpack(raw, _Notes)
        if notes.format != FORMAT:
            raise DecodeError(f"notes of format {notes.format}, this program knows {FORMAT}")
        if notes.pan != pan:
            return plan
        for eui64, short in notes.shorts.items():
            if not FIRST <= short <= LAST_DEVICE_SHORT or short in plan._devices:
                raise DecodeError(f"notes give the short address {short} twice, or it is none")
            plan._put(eui64, short)
        plan.joined = {eui64 for eui64 in notes.joined if eui64 in plan._shorts}
        plan.rekeying = notes.rekeying
        return plan

    def noted(self) -> bytes:
        return msgspec.msgpack.encode(_Notes(FORMAT, self.pan, self._shorts, sorted(self.joined), self.rekeying))

    def short(self, eui64: bytes) -> int | None:
        return self._shorts.get(eui64)

    def device(self, short: int) -> bytes | None:
        return self._devices.get(short)

    def __contains__(self, eui64: bytes) -> bool:
        return eui64 in self._shorts

    def __len__(self) -> int:
        return len(self._shorts)

    def give(self, wanted: frozenset[bytes], expected: frozenset[bytes]) -> bool:
        """Have an address for each of `wanted`; whether there are new ones, to be noted before they are used.

        Raises LinkError: every address is taken by an expected meter.
        """
        missing = sorted(wanted - self._shorts.keys())
        for eui64 in missing:
            self._put(eui64, self._free(expected | wanted))
        return bool(missing)

    def _free(self, expected: frozenset[bytes]) -> int:
        while self._next <= LAST_DEVICE_SHORT and self._next in self._devices:
            self._next += 1
        if self._next <= LAST_DEVICE_SHORT:
            return self._next
        for short, eui64 in self._devices.items():
            if eui64 not in expected:
                del self._devices[short], self._shorts[eui64]
                self.joined.discard(eui64)
                return short
        raise LinkError(f"every short address of PAN {self.pan:04X} is taken: use a second concentrator")

    def _put(self, eui64: bytes, short: int) -> None:
        self._shorts[eui64], self._devices[short] = short, eui64
