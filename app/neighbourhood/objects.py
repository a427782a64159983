"""What a COSEM object of the street is made of: attributes, methods, and who may use them; and the plain classes.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4; units: table of clause 4.3.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntFlag

from dcu.cosem.axdr import Data
from dcu.cosem.selection import Selection
from dcu.model import AttributeRef, Obis
from neighbourhood import values
from neighbourhood.buffers import Profile
from neighbourhood.meter import BROADCASTING, CONCENTRATOR, ESTABLISHED, MANAGEMENT, PUBLIC, Meter

WATT, VAR, WATT_HOUR, VAR_HOUR, VOLT = 27, 29, 30, 32, 35


class Right(IntFlag):
    """Who may."""

    NOBODY = 0
    PUBLIC = 1
    CONCENTRATOR = 2
    MANAGEMENT = 4
    SECURED = 6
    ALL = 7


_RIGHTS = {
    PUBLIC: Right.PUBLIC,
    CONCENTRATOR: Right.CONCENTRATOR,
    ESTABLISHED: Right.CONCENTRATOR,
    BROADCASTING: Right.CONCENTRATOR,
    MANAGEMENT: Right.MANAGEMENT,
}

Getter = Callable[[Meter, int], bytes]  # meter, client SAP


@dataclass(frozen=True, slots=True)
class Attribute:
    """get: its value, encoded; select: in its place where selective access is possible.

    put: takes a new value, raising ValueError for one that it cannot be.
    """

    number: int
    get: Getter | None = None
    read: Right = Right.SECURED
    put: Callable[[Meter, Data], None] | None = None
    write: Right = Right.NOBODY
    select: Callable[[Meter, Selection | None], bytes] | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """call, in place of run, knows the client and returns a value.

    run: does it; False where the object's state does not allow it. Both raise ValueError for a wrong parameter.
    """

    number: int
    run: Callable[[Meter, Data], bool] | None = None
    right: Right = Right.SECURED
    call: Callable[[Meter, int, Data], bytes | None] | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """An object. Attribute 1, the logical name, is understood."""

    class_id: int
    version: int
    obis: Obis
    attributes: tuple[Attribute, ...]
    methods: tuple[Method, ...] = ()

    def seen(self, right: Right) -> bool:
        """Whether it is in the list of who has this right."""
        return any((attribute.read | attribute.write) & right for attribute in self.attributes)


def right_of(client_sap: int) -> Right:
    return _RIGHTS.get(client_sap, Right.NOBODY)


def fixed(value: bytes) -> Getter:
    return lambda _meter, _client: value


def data(obis: str, get: Callable[[Meter], bytes], read: Right = Right.SECURED) -> Thing:
    return Thing(1, 0, Obis.parse(obis), (Attribute(2, lambda meter, _: get(meter), read),))


def register(obis: str, get: Callable[[Meter], bytes], unit: int, scaler: int = 0) -> Thing:
    return Thing(
        3,
        0,
        Obis.parse(obis),
        (Attribute(2, lambda meter, _: get(meter)), Attribute(3, fixed(scaler_unit(scaler, unit)))),
    )


def scaler_unit(scaler: int, unit: int) -> bytes:
    return values.structure(values.i8(scaler), values.enum(unit))


def profile(obis: str, kind: Profile) -> Thing:
    captured = values.array([capture_object(column) for column in kind.columns])
    return Thing(
        7,
        1,
        Obis.parse(obis),
        (
            Attribute(2, select=kind.buffer),
            Attribute(3, fixed(captured)),
            Attribute(4, lambda meter, _: values.u32(kind.period(meter))),
            Attribute(5, fixed(values.enum(1))),  # FIFO
            Attribute(6, fixed(capture_object(None))),
            Attribute(7, lambda meter, _: values.u32(len(kind.rows(meter)))),
            Attribute(8, lambda meter, _: values.u32(kind.capacity(meter))),
        ),
    )


def capture_object(column: AttributeRef | None) -> bytes:
    class_id, obis, number = (column.class_id, column.obis.raw, column.attribute) if column else (0, bytes(6), 0)
    return values.structure(values.u16(class_id), values.octets(obis), values.i8(number), values.u16(0))
