"""A-XDR: how COSEM attribute values stand in bytes (IEC 62056-6-2, type Data; encoding IEC 61334-6).

A value is a tag and its contents; arrays and structures nest. The bytes come from meters, so the decoder is total: it
raises DecodeError and nothing else, its depth is bounded, and it never makes room for more elements than there are
bytes. `skip` finds the end of a value without making it, for whoever needs only the boundary; it accepts what `decode`
accepts, and may accept more (it does not look into strings and compact arrays).

A compact-array says its type once and then gives bare contents; it is decoded to the elements it stands for.
"""

import struct
from collections.abc import Iterable
from itertools import repeat
from typing import TypeVar

from dcu.cosem.data import BitString as BitString
from dcu.cosem.data import CompactArray as CompactArray
from dcu.cosem.data import Data as Data
from dcu.cosem.data import Tag as Tag
from dcu.cosem.data import TypeDescription as TypeDescription
from dcu.cosem.data import Value as Value
from dcu.cosem.data import array as array
from dcu.cosem.data import bits as bits
from dcu.cosem.data import boolean as boolean
from dcu.cosem.data import enum as enum
from dcu.cosem.data import float32 as float32
from dcu.cosem.data import float64 as float64
from dcu.cosem.data import i8 as i8
from dcu.cosem.data import i16 as i16
from dcu.cosem.data import i32 as i32
from dcu.cosem.data import i64 as i64
from dcu.cosem.data import null as null
from dcu.cosem.data import octets as octets
from dcu.cosem.data import structure as structure
from dcu.cosem.data import u8 as u8
from dcu.cosem.data import u16 as u16
from dcu.cosem.data import u32 as u32
from dcu.cosem.data import u64 as u64
from dcu.cosem.data import utf8 as utf8
from dcu.cosem.data import visible as visible
from dcu.errors import DecodeError

T = TypeVar("T")

MAX_DEPTH = 16  # the deepest attribute of the Blue Book nests six; the interpreter's stack stands far above
FIXED: dict[int, struct.Struct] = {
    tag: struct.Struct(form)
    for tag, form in {
        Tag.BOOLEAN: ">?",
        Tag.DOUBLE_LONG: ">i",
        Tag.DOUBLE_LONG_UNSIGNED: ">I",
        Tag.BCD: ">B",
        Tag.INTEGER: ">b",
        Tag.LONG: ">h",
        Tag.UNSIGNED: ">B",
        Tag.LONG_UNSIGNED: ">H",
        Tag.LONG64: ">q",
        Tag.LONG64_UNSIGNED: ">Q",
        Tag.ENUM: ">B",
        Tag.FLOAT32: ">f",
        Tag.FLOAT64: ">d",
        Tag.DATE_TIME: ">12s",
        Tag.DATE: ">5s",
        Tag.TIME: ">4s",
        Tag.DELTA_INTEGER: ">b",
        Tag.DELTA_LONG: ">h",
        Tag.DELTA_DOUBLE_LONG: ">i",
        Tag.DELTA_UNSIGNED: ">B",
        Tag.DELTA_LONG_UNSIGNED: ">H",
        Tag.DELTA_DOUBLE_LONG_UNSIGNED: ">I",
    }.items()
}
STRINGS = frozenset((Tag.OCTET_STRING, Tag.VISIBLE_STRING, Tag.UTF8_STRING))
NULL = b"\x00"  # null-data, encoded
_EMPTY = (Tag.NULL, Tag.DONT_CARE)
_TAGS = {int(tag): tag for tag in Tag}
# Bytes of contents by tag, for `skip`: fixed sizes and the empty; -1 = look closer
_SIZES = [-1] * 256
for _tag in _EMPTY:
    _SIZES[_tag] = 0
for _fixed, _form in FIXED.items():
    _SIZES[_fixed] = _form.size


def encode(data: Data) -> bytes:
    """Return `data` as A-XDR. Raises ValueError for a value that its tag cannot hold."""
    out = bytearray()
    _put(out, data)
    return bytes(out)


def decode(raw: bytes) -> Data:
    """Return the one value that `raw` is, to its last byte. Raises DecodeError."""
    data, end = decode_at(raw, 0)
    if end != len(raw):
        raise DecodeError(f"{len(raw) - end} bytes after the end of the value", end)
    return data


def decode_at(buf: bytes, at: int) -> tuple[Data, int]:
    """Return the value that starts at `at`, and where it ends. Raises DecodeError."""
    return _take(bytes(buf), at, 0)


def skip(buf: bytes | memoryview, at: int) -> int:
    """Return where the value that starts at `at` ends. Raises DecodeError."""
    end = len(buf)
    open_: list[int] = []  # elements still to come, of each array or structure that we are in
    left = 1
    while True:
        while left == 0:
            if not open_:
                return at
            left = open_.pop()
        left -= 1
        if at >= end:
            raise DecodeError("the value ends early", at)
        tag = buf[at]
        size = _SIZES[tag]
        at += 1
        if size < 0:
            if tag in (Tag.ARRAY, Tag.STRUCTURE):
                count, at = decode_length(buf, at)
                if count > end - at:
                    raise DecodeError(f"{count} elements in {end - at} bytes", at)
                if len(open_) >= MAX_DEPTH:
                    raise DecodeError(f"nested deeper than {MAX_DEPTH}", at)
                open_.append(left)
                left, size = count, 0
            else:
                size, at = _variable(buf, tag, at)
        at += size
        if at > end:
            raise DecodeError("the value ends early", end)


def encode_length(size: int) -> bytes:
    """Return `size` as lengths and counts are written: one byte up to 127, else 8n and n bytes."""
    if size < 0x80:
        if size < 0:
            raise ValueError(f"a length of {size}")
        return bytes((size,))
    width = (size.bit_length() + 7) // 8
    if width > 4:
        raise ValueError(f"a length of {size}, at most {0xFFFFFFFF}")
    return bytes((0x80 | width,)) + size.to_bytes(width, "big")


def decode_length(buf: bytes | memoryview, at: int) -> tuple[int, int]:
    """Return the length or count at `at`, and where it ends. Leading zeros are accepted. Raises DecodeError."""
    if at >= len(buf):
        raise DecodeError("the length is missing", at)
    first = buf[at]
    if first < 0x80:
        return first, at + 1
    end = at + 1 + (first & 0x7F)
    if not 0x81 <= first <= 0x84:
        raise DecodeError(f"0x{first:02X} starts no length", at)
    if end > len(buf):
        raise DecodeError("the length ends early", at)
    return int.from_bytes(buf[at + 1 : end], "big"), end


def decode_tag(value: int, at: int | None = None) -> Tag:
    """Return the tag of this number. Raises DecodeError."""
    tag = _TAGS.get(value)
    if tag is None:
        raise DecodeError(f"0x{value:02X} is the tag of no type", at)
    return tag


def decode_description(buf: bytes | memoryview, at: int, depth: int = 0) -> tuple[TypeDescription, int]:
    """Return the type-description of a compact-array at `at`, and where it ends. Raises DecodeError."""
    if at >= len(buf):
        raise DecodeError("the type-description ends early", at)
    if depth > MAX_DEPTH:
        raise DecodeError(f"nested deeper than {MAX_DEPTH}", at)
    tag, at = decode_tag(buf[at], at), at + 1
    if tag == Tag.ARRAY:
        count = int.from_bytes(buf[at : at + 2], "big")
        part, at = decode_description(buf, at + 2, depth + 1)
        return TypeDescription(tag, count, (part,)), at
    if tag == Tag.STRUCTURE:
        count, at = decode_length(buf, at)
        parts = []
        for _ in range(count):
            part, at = decode_description(buf, at, depth + 1)
            parts.append(part)
        return TypeDescription(tag, count, tuple(parts)), at
    if tag == Tag.COMPACT_ARRAY:
        raise DecodeError("a compact-array in a type-description", at - 1)
    return TypeDescription(tag), at


def _take(buf: bytes, at: int, depth: int) -> tuple[Data, int]:
    if at >= len(buf):
        raise DecodeError("the value ends early", at)
    tag = decode_tag(buf[at], at)
    return _contents(buf, at + 1, tag, depth)


def _contents(buf: bytes, at: int, tag: Tag, depth: int) -> tuple[Data, int]:
    """Decode what follows the tag."""
    form = FIXED.get(tag)
    if form:
        end = at + form.size
        if end > len(buf):
            raise DecodeError(f"{tag.name} ends early", at)
        return Data(tag, form.unpack_from(buf, at)[0]), end
    if tag in _EMPTY:
        return Data(tag), at
    if tag in (Tag.ARRAY, Tag.STRUCTURE):
        if depth >= MAX_DEPTH:
            raise DecodeError(f"nested deeper than {MAX_DEPTH}", at)
        count, at = decode_length(buf, at)
        if count > len(buf) - at:
            raise DecodeError(f"{count} elements in {len(buf) - at} bytes", at)
        items = []
        for _ in range(count):
            item, at = _take(buf, at, depth + 1)
            items.append(item)
        return Data(tag, tuple(items)), at
    start = at
    size, at = _variable(buf, tag, at)
    end = at + size
    if end > len(buf):
        raise DecodeError(f"{tag.name} ends early", at)
    if tag == Tag.COMPACT_ARRAY:
        description, _ = decode_description(buf, start)
        return Data(tag, CompactArray(description, _compact_items(buf[at:end], description, at))), end
    if tag == Tag.BIT_STRING:
        return Data(tag, BitString(decode_length(buf, start)[0], buf[at:end])), end
    return Data(tag, text(tag, buf[at:end], at)), end


def text(tag: int, raw: bytes, at: int | None = None) -> bytes | str:
    """The contents of an octet-, visible- or utf8-string. Raises DecodeError."""
    if tag == Tag.OCTET_STRING:
        return raw
    try:
        return raw.decode("latin-1" if tag == Tag.VISIBLE_STRING else "utf-8")
    except UnicodeDecodeError:
        raise DecodeError("a utf8-string that is not UTF-8", at) from None


def _variable(buf: bytes | memoryview, tag: int, at: int) -> tuple[int, int]:
    """Return how many bytes of contents a string, bit-string or compact-array has, and where they start."""
    if tag == Tag.BIT_STRING:
        bits, at = decode_length(buf, at)
        return (bits + 7) // 8, at
    if tag == Tag.COMPACT_ARRAY:
        _, at = decode_description(buf, at)
    elif tag not in STRINGS:
        raise DecodeError(f"0x{tag:02X} is the tag of no type", at - 1)
    return decode_length(buf, at)


def _compact_items(raw: bytes, description: TypeDescription, offset: int) -> tuple[Data, ...]:
    """Decode the contents of a compact-array.

    Types without contents (null) cost no byte, so a few bytes could stand for millions of them: their number is
    bounded by the bytes that are there, to four a byte (a structure in an array, its one byte, and a null).
    """
    budget = [4 * len(raw) + 64]

    def take(at: int, kind: TypeDescription) -> tuple[Data, int]:
        budget[0] -= 1
        if budget[0] < 0:
            raise DecodeError("a compact-array of next to nothing but empty elements", offset + at)
        if kind.tag not in (Tag.ARRAY, Tag.STRUCTURE):
            return _contents(raw, at, kind.tag, MAX_DEPTH)
        items = []
        for part in _parts(kind):
            item, at = take(at, part)
            items.append(item)
        return Data(kind.tag, tuple(items)), at

    items, at = [], 0
    while at < len(raw):
        item, end = take(at, description)
        if end == at:
            raise DecodeError("a compact-array whose elements are empty", offset)
        items.append(item)
        at = end
    return tuple(items)


def _parts(kind: TypeDescription) -> Iterable[TypeDescription]:
    return repeat(kind.parts[0], kind.count) if kind.tag == Tag.ARRAY else kind.parts


def _put(out: bytearray, data: Data) -> None:
    out.append(data.tag)
    if data.tag in (Tag.ARRAY, Tag.STRUCTURE):
        items = _expect(data, tuple)
        out += encode_length(len(items))
        for item in items:
            _put(out, item)
    elif data.tag == Tag.COMPACT_ARRAY:
        compact = _expect(data, CompactArray)
        _put_description(out, compact.description)
        contents = bytearray()
        for item in compact.items:
            size = len(contents)
            _put_compact(contents, item, compact.description)
            if len(contents) == size:
                raise ValueError("a compact-array cannot hold empty elements")
        out += encode_length(len(contents)) + contents
    else:
        _put_contents(out, data)


def _put_contents(out: bytearray, data: Data) -> None:
    form = FIXED.get(data.tag)
    if form:
        out += _packed(form, data)
    elif data.tag in _EMPTY:
        if data.value is not None:
            raise ValueError(f"{data.tag.name} has no value")
    elif data.tag == Tag.BIT_STRING:
        bits = _expect(data, BitString)
        out += encode_length(bits.length) + bits.raw
    elif data.tag == Tag.OCTET_STRING:
        raw = bytes(_expect(data, bytes))
        out += encode_length(len(raw)) + raw
    else:
        raw = _expect(data, str).encode("latin-1" if data.tag == Tag.VISIBLE_STRING else "utf-8")
        out += encode_length(len(raw)) + raw


def _packed(form: struct.Struct, data: Data) -> bytes:
    if isinstance(data.value, bytes) and form.format.endswith("s") and len(data.value) != form.size:
        raise ValueError(f"{data.tag.name} has {form.size} bytes, not {len(data.value)}")
    if data.tag == Tag.BOOLEAN and not isinstance(data.value, bool):
        raise ValueError(f"BOOLEAN cannot hold {data.value!r}")
    try:
        return form.pack(data.value)
    except (struct.error, OverflowError):
        raise ValueError(f"{data.tag.name} cannot hold {data.value!r}") from None


def _put_description(out: bytearray, kind: TypeDescription) -> None:
    out.append(kind.tag)
    if kind.tag == Tag.ARRAY:
        if len(kind.parts) != 1 or not 0 <= kind.count <= 0xFFFF:
            raise ValueError("an array in a type-description has one type and 0..65535 elements")
        out += kind.count.to_bytes(2, "big")
    elif kind.tag == Tag.STRUCTURE:
        if kind.count != len(kind.parts):
            raise ValueError(f"a structure of {kind.count} fields describes {len(kind.parts)}")
        out += encode_length(len(kind.parts))
    elif kind.tag == Tag.COMPACT_ARRAY or kind.parts:
        raise ValueError(f"{kind.tag.name} has no parts that a type-description could give")
    for part in kind.parts:
        _put_description(out, part)


def _put_compact(out: bytearray, data: Data, kind: TypeDescription) -> None:
    if data.tag != kind.tag:
        raise ValueError(f"{data.tag.name} in a compact-array of {kind.tag.name}")
    if data.tag not in (Tag.ARRAY, Tag.STRUCTURE):
        return _put_contents(out, data)
    items = _expect(data, tuple)
    if len(items) != kind.count:
        raise ValueError(f"{len(items)} elements where the description says {kind.count}")
    for item, part in zip(items, _parts(kind), strict=True):
        _put_compact(out, item, part)
    return None


def _expect(data: Data, kind: type[T]) -> T:
    if not isinstance(data.value, kind):
        raise ValueError(f"{data.tag.name} cannot hold {data.value!r}")
    return data.value
