"""The words that every floor shares: OBIS codes, attribute and method references, readings, priorities.

Source: DLMS Blue Book (IEC 62056-6-1 for OBIS, IEC 62056-6-2 for classes).
"""

import re
from dataclasses import dataclass
from enum import IntEnum

from dcu.errors import ConfigError

_STANDARD = re.compile(r"(\d{1,3})-(\d{1,3}):(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:[*&](\d{1,3}))?", re.ASCII)
_DOTTED = re.compile(r"(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})", re.ASCII)
_CLASS = re.compile(r"\d{1,5}", re.ASCII)
_ATTRIBUTE = re.compile(r"-?\d{1,3}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Obis:
    """An OBIS code: six value groups A–F, 6 bytes on the wire. Written `1-0:1.8.0*255`."""

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 6:
            raise ValueError(f"an OBIS code has 6 bytes, not {len(self.raw)}")

    @classmethod
    def parse(cls, text: str) -> "Obis":
        """Read `1-0:1.8.0*255`, `1-0:1.8.0` (F = 255) or `1.0.1.8.0.255`. Raises ConfigError."""
        match = _STANDARD.fullmatch(text) or _DOTTED.fullmatch(text)
        groups = [int(group or 255) for group in match.groups()] if match else []
        if not groups or max(groups) > 255:
            raise ConfigError(f"{text!r} is no OBIS code: write 1-0:1.8.0*255 or 1.0.1.8.0.255")
        return cls(bytes(groups))

    def __str__(self) -> str:
        a, b, c, d, e, f = self.raw
        return f"{a}-{b}:{c}.{d}.{e}*{f}"


@dataclass(frozen=True, slots=True, order=True)
class AttributeRef:
    """A COSEM attribute: `CLASS,OBIS,ATTRIBUTE`, for instance `3,1-0:1.8.0*255,2`."""

    class_id: int
    obis: Obis
    attribute: int

    @classmethod
    def parse(cls, text: str) -> "AttributeRef":
        """Raises ConfigError."""
        parts = [part.strip() for part in text.split(",")]
        if len(parts) != 3 or not _CLASS.fullmatch(parts[0]) or not _ATTRIBUTE.fullmatch(parts[2]):
            raise ConfigError(f"{text!r} is no attribute: write CLASS,OBIS,ATTRIBUTE as in 3,1-0:1.8.0*255,2")
        ref = cls(int(parts[0]), Obis.parse(parts[1]), int(parts[2]))
        if not (0 <= ref.class_id <= 0xFFFF and -128 <= ref.attribute <= 127):
            raise ConfigError(f"{text!r}: a class is 0..65535, an attribute -128..127")
        return ref

    def __str__(self) -> str:
        return f"{self.class_id},{self.obis},{self.attribute}"


@dataclass(frozen=True, slots=True, order=True)
class MethodRef:
    """A COSEM method: class, OBIS code, method number."""

    class_id: int
    obis: Obis
    method: int

    def __str__(self) -> str:
        return f"{self.class_id},{self.obis},{self.method}"


Scalar = int | float | str | bytes | bool | None


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of a profile as it is kept: UTC seconds, the meter's status word (None: no status column), raw values.

    Values are the integers of the wire, before the scaler; scaler and unit stand in the profile's layout.
    """

    timestamp: int
    status: int | None
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A captured attribute: what it is, and how its integers become a quantity (value × 10^scaler unit)."""

    attribute: AttributeRef
    scaler: int = 0
    unit: str = ""


class Priority(IntEnum):
    """Who goes first on a shared medium. Lower goes first."""

    ALARM = 0
    COMMAND = 1
    ON_DEMAND = 2
    SCHEDULED = 3
    BACKFILL = 4
