"""Numbers of the wire that print as the standard writes them: `read-write-denied (3)`.

A number that the standard does not name is kept, not refused, where a meter may bring vendor codes: `Open` enums.
"""

from enum import IntEnum


class Named(IntEnum):
    """An enumeration whose members print as `name (number)`, the name as IEC 62056-5-3 spells it."""

    def __str__(self) -> str:
        return f"{self.name.lower().replace('_', '-')} ({self.value})"

    def __format__(self, spec: str) -> str:  # IntEnum would format as the bare number
        return str.__format__(str(self), spec)


class Open(Named):
    """A `Named` enumeration that takes any number of one byte: one that has no name prints as `unknown (99)`."""

    @classmethod
    def _missing_(cls, value: object) -> "Open | None":
        if not isinstance(value, int) or not 0 <= value <= 0xFF:
            return None
        member = int.__new__(cls, value)
        member._name_ = "UNKNOWN"
        member._value_ = value
        return member
