"""Versions of the device's software: MAJOR.MINOR.PATCH, perhaps a fourth number; compared as SWUpdate compares them.

SWUpdate packs four numbers of 16 bits into one of 64 and compares those. What it would compare otherwise (semantic
versions, any string) is refused here, so that the two never disagree on what is older.

Source: SWUpdate, core/artifacts_versions.c, version_to_number.
"""

import re
from dataclasses import dataclass, field

from dcu.errors import DecodeError

FIELDS = 4
LARGEST = 0xFFFF
_WRITTEN = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,5}){0,3}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """`numbers`: always four, so that 1.2 is 1.2.0.0."""

    numbers: tuple[int, int, int, int]
    _written: str = field(compare=False, repr=False, default="")

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Raises DecodeError."""
        if not _WRITTEN.fullmatch(text):
            raise DecodeError(f"{text[:40]!r} is no version: MAJOR.MINOR.PATCH, numbers up to {LARGEST}")
        numbers = [int(part) for part in text.split(".")]
        if max(numbers) > LARGEST:
            raise DecodeError(f"{text!r} is no version: its numbers go up to {LARGEST}")
        first, second, third, fourth = numbers + [0] * (FIELDS - len(numbers))
        return cls((first, second, third, fourth), text)

    def __str__(self) -> str:
        return self._written or ".".join(map(str, self.numbers))
