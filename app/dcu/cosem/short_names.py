"""Short names: which number stands for which attribute or method, as the meter's Association SN lists it.

An object has a base name; attribute n stands 8·(n-1) above it, method n 8·(n-1) above where the methods of its class
begin. So one object list (class 12, attribute 2) gives every name, and everything above works with logical names.

Source: DLMS Blue Book (IEC 62056-6-2) class 12 and the short names of each class.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from dcu.cosem import axdr, catalogue, objects
from dcu.cosem.objects import AttributeAccess, MethodAccess, ObjectListElement
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef, Obis

ASSOCIATION = 0xFA00  # the base name of the current association, everywhere
CURRENT = Obis(bytes((0, 0, 40, 0, 0, 255)))
CLASS = 12
MAX_OBJECTS = 8192
_STEP = 8
# Class: where its methods begin. 10 and 64's version 0 stand in one public source only (jDLMS 1.8,
# SnInterfaceClassList); 17, 61 and 72 in two (that, and Gurux Java 4, getActionInfo, or Connexo). 115 stands in none.
_METHODS: Mapping[int, int] = {
    3: 0x28, 4: 0x38, 5: 0x48, 6: 0x30, 7: 0x58, 8: 0x60, 9: 0x20, 10: 0x20, 11: 0x10, 12: 0x20, 17: 0x20, 18: 0x40,
    20: 0x50, 21: 0x28, 40: 0x38, 42: 0x60, 61: 0x28, 64: 0x30, 70: 0x20, 72: 0x70,
}  # fmt: skip
_OLDER: Mapping[tuple[int, int], int] = {(64, 0): 0x28, (72, 0): 0x60}  # a version with fewer attributes
_WITH_USERS, _USERS_END = 4, 0x30  # from this version on attributes 5 and 6 stand where methods 1 and 2 stood
_REPLY = 8  # reply_to_HLS_authentication, as a method of Association SN
_REPLY_TO_HLS = MethodRef(15, CURRENT, 1)  # and of Association LN


@dataclass(frozen=True, slots=True, order=True)
class ShortObject:
    base: int
    class_id: int
    version: int
    obis: Obis


class ShortNames:
    """A meter's object list, both ways."""

    def __init__(self, listed: Iterable[ShortObject] = ()) -> None:
        current = ShortObject(ASSOCIATION, CLASS, 2, CURRENT)
        self.objects = tuple(sorted({each.base: each for each in (current, *listed)}.values()))
        self._bases = [each.base for each in self.objects]
        self._by_name = {(each.class_id, each.obis): each for each in self.objects}

    def attribute(self, ref: AttributeRef) -> int:
        """Raises KeyError for what the meter does not list, or what has no short name."""
        found = self._by_name.get((ref.class_id, ref.obis))
        if found is None:
            raise KeyError(ref)
        return self._of(ref, found.base, ref.attribute)

    def method(self, ref: MethodRef) -> int:
        """Raises KeyError."""
        if ref == _REPLY_TO_HLS:
            return ASSOCIATION + _METHODS[CLASS] + _STEP * (_REPLY - 1)
        found = self._by_name.get((ref.class_id, ref.obis))
        if found is None or found.class_id not in _METHODS:
            raise KeyError(ref)
        return self._of(ref, found.base + _methods(found), ref.method)

    def _of(self, ref: AttributeRef | MethodRef, begin: int, number: int) -> int:
        """The name of `ref`, number `number` from `begin` on. Raises KeyError where it would be another's: a method in
        an attribute's place would be called by who reads it."""
        name = begin + _STEP * (number - 1)
        with suppress(KeyError):
            if number >= 1 and name <= 0xFFFF and self.resolve(name) == ref:
                return name
        raise KeyError(ref)

    def resolve(self, name: int) -> AttributeRef | MethodRef:
        """Raises KeyError for a name that stands for nothing here."""
        at = bisect_right(self._bases, name) - 1
        if at < 0 or (name - self._bases[at]) % _STEP:
            raise KeyError(name)
        found, offset = self.objects[at], name - self._bases[at]
        begin = _methods(found) if found.class_id in _METHODS else 0xFFFF
        attributes_end = _USERS_END if found.class_id == CLASS and found.version >= _WITH_USERS else begin
        if offset < attributes_end:
            return AttributeRef(found.class_id, found.obis, offset // _STEP + 1)
        number = (offset - begin) // _STEP + 1
        if (found.base, found.class_id, number) == (ASSOCIATION, CLASS, _REPLY):
            return _REPLY_TO_HLS
        return MethodRef(found.class_id, found.obis, number)

    def encode(self) -> bytes:
        """Attribute 2 of Association SN; a base name is a signed number there."""
        return axdr.encode(
            axdr.array(
                axdr.structure(
                    axdr.i16(each.base - 0x10000 if each.base > 0x7FFF else each.base),
                    axdr.u16(each.class_id),
                    axdr.u8(each.version),
                    axdr.octets(each.obis.raw),
                )
                for each in self.objects
            )
        )

    def logical(self) -> bytes:
        """The list as an Association LN would give it: short names carry no access rights, so all that is known may be
        tried."""
        return objects.encode_object_list(_element(each) for each in self.objects if each.class_id != CLASS)


def _methods(each: ShortObject) -> int:
    """Where the methods of a class begin that has short names for them."""
    return _OLDER.get((each.class_id, each.version), _METHODS[each.class_id])


def decode_short_names(raw: bytes) -> ShortNames:
    """Read attribute 2 of Association SN. Raises DecodeError."""
    listed = axdr.decode(raw).value
    if not isinstance(listed, tuple) or len(listed) > MAX_OBJECTS:
        raise DecodeError("the object list is no array, or has too many elements")
    found = []
    for item in listed:
        parts = item.value if isinstance(item.value, tuple) else ()
        values = [part.value for part in parts]
        match values:
            case [int(base), int(class_id), int(version), bytes(raw_name)] if (
                -0x8000 <= base <= 0xFFFF and 0 <= class_id <= 0xFFFF and 0 <= version <= 0xFF and len(raw_name) == 6
            ):
                found.append(ShortObject(base & 0xFFFF, class_id, version, Obis(raw_name)))
            case _:
                raise DecodeError("an element of the object list is no base name, class, version and OBIS code")
    return ShortNames(found)


def _element(each: ShortObject) -> ObjectListElement:
    known = catalogue.interface_class(each.class_id, each.version)
    attributes = range(1, len(known.attributes) + 1) if known else range(1, 3)
    methods = range(1, len(known.methods) + 1) if known else range(0)
    return ObjectListElement(
        each.class_id,
        each.version,
        each.obis,
        tuple(AttributeAccess(number, 3) for number in attributes),
        tuple(MethodAccess(number, 1) for number in methods),
    )
