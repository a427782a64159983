"""A meter's prepayment: what tokens bring, and what it says of each.

A token of this maker is twenty digits: sixteen that count (ten that number it, six of credit in Wh), then four by which
this meter knows its own. It takes each number once, and nothing older than the newest three; as meters by
IEC 62055-41 do, whose decoder keys no simulation could have.

Source: DLMS Blue Book (IEC 62056-6-2) Token gateway (class 115): token_status.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import blake2b

PROCESSING = 2  # seconds from the token to its result


class Verdict(IntEnum):
    EXECUTED = 3
    BAD_FORMAT = 4
    NOT_AUTHENTIC = 5
    NOT_VALID = 6
    RECEIVED = 8


def token(seed: int, meter: int, number: int, credit: int) -> str:
    """A token for one meter: its number, credit in Wh."""
    digits = f"{number:010d}{credit:06d}"
    return digits + _proof(seed, meter, digits)


def _proof(seed: int, meter: int, digits: str) -> str:
    digest = blake2b(f"{seed}/{meter}/{digits}".encode(), digest_size=4, person=b"tokens").digest()
    return f"{int.from_bytes(digest, 'big') % 10_000:04d}"


@dataclass(slots=True)
class Prepayment:
    """entered: tokens that came, whatever became of them; credit: Wh."""

    credit: int = 0
    last: bytes = b""
    at: int = 0  # what the clock showed when it came
    entered: int = 0
    used: list[int] = field(default_factory=list)
    _verdict: Verdict = Verdict.EXECUTED
    _until: int = 0

    def enter(self, digits: bytes, seed: int, meter: int, now: int, shown: int) -> None:
        self.last, self.at = digits, shown
        self.entered += 1
        self._until = now + PROCESSING
        self._verdict = self._judged(digits.decode("latin-1"), seed, meter)

    def verdict(self, now: int) -> Verdict:
        return Verdict.RECEIVED if now < self._until else self._verdict

    def _judged(self, digits: str, seed: int, meter: int) -> Verdict:
        if len(digits) != 20 or not digits.isdecimal():
            return Verdict.BAD_FORMAT
        if _proof(seed, meter, digits[:16]) != digits[16:]:
            return Verdict.NOT_AUTHENTIC
        number, credit = int(digits[:10]), int(digits[10:16])
        if number in self.used or (len(self.used) == 3 and number < min(self.used)):
            return Verdict.NOT_VALID
        self.used = sorted([*self.used, number])[-3:]
        self.credit += credit
        return Verdict.EXECUTED
