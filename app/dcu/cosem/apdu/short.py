"""The services of short-name referencing: read, write, unconfirmed write, information report; in A-XDR.

A variable is ``02 name``, ``04 name selector parameter`` (parameterised access: a selection, or a method with what it
takes), ``05 number`` (the next block of a long answer), ``06 last number piece`` (a block of a long read) or ``07 last
number`` (of a long write, whose one value is the piece, an octet-string). What the pieces add up to is what would
follow the tag of the whole APDU, in requests and in answers.
Source: IEC 62056-5-3 (DLMS Green Book 9.3.13 to 9.3.16, 9.5).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from dcu.cosem import axdr
from dcu.cosem.apdu import wire
from dcu.cosem.apdu.results import DataAccessResult
from dcu.cosem.apdu.wire import Reader
from dcu.cosem.axdr import Data, Tag
from dcu.errors import DecodeError

READ, WRITE, READ_RESPONSE, WRITE_RESPONSE, UNCONFIRMED_WRITE, REPORT = 0x05, 0x06, 0x0C, 0x0D, 0x16, 0x18
MAX_VARIABLES = 256  # of one request that are looked at
_NAME, _PARAMETERISED, _BLOCK, _READ_PIECE, _WRITE_PIECE = 2, 4, 5, 6, 7
_ANSWER_PIECE, _READ_TAKEN, _WRITE_TAKEN = 2, 3, 2
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Name:
    """A variable; with `selector` in parameterised access."""

    name: int
    selector: int | None = None
    parameter: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class NextBlock:
    """The block after `number`, which it acknowledges."""

    number: int


@dataclass(frozen=True, slots=True)
class RequestBlock:
    """One block of a long request. raw: None in a write, which has it among its values."""

    last: bool
    number: int
    raw: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ReadBlock:
    """One block of a long answer."""

    last: bool
    number: int
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Taken:
    """Block `number` of a long request has arrived: send the next."""

    number: int


Variable = Name | NextBlock | RequestBlock
ReadResult = bytes | DataAccessResult | ReadBlock | Taken
WriteResult = DataAccessResult | Taken


@dataclass(frozen=True, slots=True)
class ReadRequest:
    variables: tuple[Variable, ...]


@dataclass(frozen=True, slots=True)
class ReadResponse:
    results: tuple[ReadResult, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class WriteRequest:
    variables: tuple[Variable, ...]
    values: tuple[bytes, ...] = field(repr=False)
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class WriteResponse:
    results: tuple[WriteResult, ...]


@dataclass(frozen=True, slots=True)
class InformationReport:
    """Unasked, and answered by nobody. date_time: a GeneralizedTime as text, or none."""

    date_time: bytes
    variables: tuple[Variable, ...]
    values: tuple[bytes, ...] = field(repr=False)


Short = ReadRequest | ReadResponse | WriteRequest | WriteResponse | InformationReport


def encode(apdu: Short) -> bytes:
    """Raises ValueError where a field cannot be sent."""
    try:
        if isinstance(apdu, ReadRequest):
            return bytes((READ,)) + encode_variables(apdu.variables)
        if isinstance(apdu, ReadResponse):
            return bytes((READ_RESPONSE,)) + _sequence(apdu.results, _result)
        if isinstance(apdu, WriteResponse):
            return bytes((WRITE_RESPONSE,)) + _sequence(apdu.results, _written)
        written = encode_variables(apdu.variables) + _sequence(apdu.values, wire.value)
        if isinstance(apdu, WriteRequest):
            return bytes((WRITE if apdu.confirmed else UNCONFIRMED_WRITE,)) + written
        moment = b"\x01" + wire.octets(apdu.date_time) if apdu.date_time else b"\x00"
        return bytes((REPORT,)) + moment + written
    except OverflowError as error:
        raise ValueError(f"{type(apdu).__name__}: a field is out of range: {error}") from None


def encode_variables(variables: tuple[Variable, ...]) -> bytes:
    """What a request begins with behind its tag."""
    return _sequence(variables, _variable)


def decode(raw: bytes) -> Short:
    """Read one whole plain APDU of short names. Raises DecodeError."""
    reader = Reader(raw)
    tag = reader.u8()
    found: Short
    if tag == READ:
        found = ReadRequest(_many(reader, _read_variable))
    elif tag == READ_RESPONSE:
        found = ReadResponse(_many(reader, _read_result))
    elif tag == WRITE_RESPONSE:
        found = WriteResponse(_many(reader, _read_written))
    elif tag in (WRITE, UNCONFIRMED_WRITE):
        variables, values = _many(reader, _read_variable), _many(reader, Reader.value)
        found = WriteRequest(variables, values, tag == WRITE)
    elif tag == REPORT:
        moment = reader.octets() if reader.flag("current-time") else b""
        found = InformationReport(moment, _many(reader, _read_variable), _many(reader, Reader.value))
    else:
        raise DecodeError(f"{tag:02X} begins no service of short names", 0)
    reader.end()
    if isinstance(found, WriteRequest | InformationReport) and len(found.variables) != len(found.values):
        raise DecodeError(f"{len(found.values)} values for {len(found.variables)} variables")
    return found


def piece(value: bytes) -> bytes | None:
    """What a block of a write holds, whose value this is; None where it is no octet-string. Raises DecodeError."""
    match axdr.decode(value):
        case Data(Tag.OCTET_STRING, bytes() as raw):
            return raw
    return None


def _sequence(items: tuple[T, ...], one: Callable[[T], bytes]) -> bytes:
    return wire.sequence([one(item) for item in items])


def _variable(variable: Variable) -> bytes:
    if isinstance(variable, NextBlock):
        return bytes((_BLOCK,)) + variable.number.to_bytes(2, "big")
    if isinstance(variable, RequestBlock):
        block = bytes((variable.last,)) + variable.number.to_bytes(2, "big")
        if variable.raw is None:
            return bytes((_WRITE_PIECE,)) + block
        return bytes((_READ_PIECE,)) + block + wire.octets(variable.raw)
    name = variable.name.to_bytes(2, "big")
    if variable.selector is None:
        return bytes((_NAME,)) + name
    return bytes((_PARAMETERISED,)) + name + bytes((variable.selector,)) + wire.value(variable.parameter)


def _result(result: ReadResult) -> bytes:
    if isinstance(result, ReadBlock):
        return bytes((_ANSWER_PIECE, result.last)) + result.number.to_bytes(2, "big") + wire.octets(result.raw)
    if isinstance(result, Taken):
        return bytes((_READ_TAKEN,)) + result.number.to_bytes(2, "big")
    return bytes((1, result.value)) if isinstance(result, DataAccessResult) else b"\x00" + wire.value(result)


def _written(result: WriteResult) -> bytes:
    if isinstance(result, Taken):
        return bytes((_WRITE_TAKEN,)) + result.number.to_bytes(2, "big")
    return b"\x00" if result == DataAccessResult.SUCCESS else bytes((1, result))


def _many(reader: Reader, one: Callable[[Reader], T]) -> tuple[T, ...]:
    count = reader.length()
    if count > MAX_VARIABLES:
        raise DecodeError(f"{count} variables: at most {MAX_VARIABLES} are read", reader.at)
    return tuple(one(reader) for _ in range(count))


def _read_variable(reader: Reader) -> Variable:
    choice = reader.u8()
    if choice == _NAME:
        return Name(reader.u16())
    if choice == _PARAMETERISED:
        return Name(reader.u16(), reader.u8(), reader.value())
    if choice == _BLOCK:
        return NextBlock(reader.u16())
    if choice == _READ_PIECE:
        return RequestBlock(bool(reader.u8()), reader.u16(), reader.octets())
    if choice == _WRITE_PIECE:
        return RequestBlock(bool(reader.u8()), reader.u16())
    raise DecodeError(f"variable access {choice} is not supported", reader.at - 1)


def _read_result(reader: Reader) -> ReadResult:
    choice = reader.u8()
    if choice == 0:
        return reader.value()
    if choice == 1:
        return DataAccessResult(reader.u8())
    if choice == _ANSWER_PIECE:
        return ReadBlock(bool(reader.u8()), reader.u16(), reader.octets())
    if choice == _READ_TAKEN:
        return Taken(reader.u16())
    raise DecodeError(f"{choice} is no choice of a read result", reader.at - 1)


def _read_written(reader: Reader) -> WriteResult:
    choice = reader.u8()
    if choice == 0:
        return DataAccessResult.SUCCESS
    if choice == 1:
        return DataAccessResult(reader.u8())
    if choice == _WRITE_TAKEN:
        return Taken(reader.u16())
    raise DecodeError(f"{choice} is no choice of a write result", reader.at - 1)
