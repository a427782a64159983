"""Reading APDUs byte by byte, bounded: the cursor that the codecs share, and the pieces common to several services."""

import struct
from collections.abc import Sequence

from dcu.cosem import axdr
from dcu.cosem.apdu.results import DataAccessResult, Result
from dcu.cosem.selection import Selection
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef, Obis

DATE_TIME_SIZE = 12
CONFIRMED = 0x40  # of invoke-id-and-priority: an answer is wanted
REFERENCE = struct.Struct(">H6sb")  # class, OBIS code, attribute or method


class Reader:
    """A cursor over one APDU. Every method raises DecodeError where the APDU ends too early."""

    __slots__ = ("at", "raw")

    def __init__(self, raw: bytes, at: int = 0) -> None:
        self.raw = raw
        self.at = at

    def take(self, size: int) -> bytes:
        start = self.at
        end = start + size
        if end > len(self.raw):
            raise DecodeError(f"the APDU ends {end - len(self.raw)} bytes too early", start)
        self.at = end
        return self.raw[start:end]

    def u8(self) -> int:
        if self.at >= len(self.raw):
            raise DecodeError("the APDU ends 1 bytes too early", self.at)
        self.at += 1
        return self.raw[self.at - 1]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def flag(self, what: str) -> bool:
        """The 00 / 01 that says whether an optional field follows, or which of two choices does."""
        value = self.u8()
        if value > 1:
            raise DecodeError(f"{what}: 00 or 01 expected, not {value:02X}", self.at - 1)
        return value == 1

    def length(self) -> int:
        value, self.at = axdr.decode_length(self.raw, self.at)
        return value

    def octets(self) -> bytes:
        return self.take(self.length())

    def value(self) -> bytes:
        """One A-XDR value, left encoded."""
        start = self.at
        self.at = axdr.skip(self.raw, start)
        return self.raw[start : self.at]

    def last_value(self) -> bytes:
        """The value that the APDU ends with. Not walked here: whoever decodes it refuses what follows it."""
        if self.at >= len(self.raw):
            raise DecodeError("the value is missing", self.at)
        start, self.at = self.at, len(self.raw)
        return self.raw[start:]

    def date_time(self) -> bytes:
        """An octet-string that holds a COSEM date-time, or nothing."""
        at = self.at
        raw = self.octets()
        if len(raw) not in (0, DATE_TIME_SIZE):
            raise DecodeError(f"a date-time has 12 bytes, or none, not {len(raw)}", at)
        return raw

    def end(self) -> None:
        if self.at != len(self.raw):
            raise DecodeError(f"{len(self.raw) - self.at} bytes follow the end of the APDU", self.at)

    def attribute(self) -> AttributeRef:
        class_id, obis, attribute = REFERENCE.unpack(self.take(9))
        return AttributeRef(class_id, Obis(obis), attribute)

    def method(self) -> MethodRef:
        class_id, obis, method = REFERENCE.unpack(self.take(9))
        return MethodRef(class_id, Obis(obis), method)

    def selection(self) -> Selection | None:
        if not self.flag("access selection"):
            return None
        return Selection(self.u8(), self.value())

    def result(self, *, last: bool) -> Result:
        """Get-Data-Result; `last` where it ends the APDU."""
        if self.flag("get-data-result"):
            return DataAccessResult(self.u8())
        return self.last_value() if last else self.value()


def attribute(ref: AttributeRef) -> bytes:
    return REFERENCE.pack(ref.class_id, ref.obis.raw, ref.attribute)


def method(ref: MethodRef) -> bytes:
    return REFERENCE.pack(ref.class_id, ref.obis.raw, ref.method)


def selection(chosen: Selection | None) -> bytes:
    return b"\x00" if chosen is None else bytes((1, chosen.selector)) + value(chosen.parameter)


def result(outcome: Result) -> bytes:
    return bytes((1, outcome.value)) if isinstance(outcome, DataAccessResult) else b"\x00" + value(outcome)


def value(encoded: bytes) -> bytes:
    if not encoded:
        raise ValueError("an encoded value is empty: null-data is the byte 00")
    return encoded


def date_time(raw: bytes) -> bytes:
    if len(raw) not in (0, DATE_TIME_SIZE):
        raise ValueError(f"a date-time has 12 bytes, or none, not {len(raw)}")
    return octets(raw)


def sequence(items: Sequence[bytes]) -> bytes:
    """SEQUENCE OF: how many, then each as it is encoded."""
    return axdr.encode_length(len(items)) + b"".join(items)


def octets(raw: bytes) -> bytes:
    return axdr.encode_length(len(raw)) + raw
