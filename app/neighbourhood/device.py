"""The meter as a COSEM server: which objects it has, who may do what with them (cosem.server.Application).

The objects are one table for the whole street; what differs from meter to meter is asked of the meter when the value is
read. The public client sees who the meter is, its clock and the counters that a secured client must exceed; the
concentrator's client reads everything, sets the clock and switches the relay; the head-end's client configures, too.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4 (interface classes), Green Book 9.5 (results).
"""

from dataclasses import dataclass
from functools import cache

from dcu.cosem import axdr
from dcu.cosem.apdu import ActionResult, DataAccessResult
from dcu.cosem.application import Denied
from dcu.cosem.selection import Selection
from dcu.cosem.short_names import ASSOCIATION, CLASS, CURRENT, ShortNames, ShortObject
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef, Obis
from neighbourhood import associations, values
from neighbourhood.agenda import settle
from neighbourhood.equipment import THINGS
from neighbourhood.meter import Meter
from neighbourhood.objects import Attribute, Method, Right, Thing, right_of
from neighbourhood.security_setup import Refusal

READ, WRITE = 1, 2  # bits of an access mode of class 15 up to version 2
BASE = 0x100  # from one object's base name to the next
SHORT_LIST = AttributeRef(CLASS, CURRENT, 2)
MAX_PARAMETER = 4_096  # bytes of a value that a client may set


@dataclass(frozen=True, slots=True)
class Device:
    """A meter's objects as its clients may use them."""

    meter: Meter

    def get(self, client_sap: int, attribute: AttributeRef, selection: Selection | None) -> bytes:
        settle(self.meter)
        if self.meter.habits.short:
            if attribute == SHORT_LIST:
                return short_names(right_of(client_sap)).encode()
            attribute = associations.long_attribute(attribute)
        found, right, limit = self._attribute(client_sap, attribute)
        if attribute.attribute == 1:
            return values.octets(attribute.obis.raw)
        if found is None or not found.read & right or (limit and found.number not in limit.reads):
            raise Denied(DataAccessResult.READ_WRITE_DENIED)
        if attribute.class_id == associations.CLASS and attribute.attribute == 2:
            return object_list(self.meter, associations.OTHERS.get(attribute.obis, client_sap))
        if selection is not None and found.select is None:
            raise Denied(DataAccessResult.SCOPE_OF_ACCESS_VIOLATED)
        if found.select is not None:
            return found.select(self.meter, selection)
        assert found.get is not None
        return found.get(self.meter, client_sap)

    def set(self, client_sap: int, attribute: AttributeRef, selection: Selection | None, value: bytes) -> None:
        settle(self.meter)
        found, right, limit = self._attribute(client_sap, attribute)
        if found is None or found.put is None or not found.write & right or selection is not None:
            raise Denied(DataAccessResult.READ_WRITE_DENIED)
        if limit and found.number not in limit.writes:
            raise Denied(DataAccessResult.READ_WRITE_DENIED)
        try:
            found.put(self.meter, _taken(value))
        except (DecodeError, ValueError, TypeError, OverflowError):
            raise Denied(DataAccessResult.TYPE_UNMATCHED) from None
        finally:
            self.meter.bestir()

    def action(self, client_sap: int, method: MethodRef, parameter: bytes | None) -> bytes | None:
        settle(self.meter)
        right = right_of(client_sap)
        if self.meter.habits.short:
            method = associations.long_method(method)
        thing, limit = self._thing(client_sap, method.obis)
        if thing is None:
            raise Denied(ActionResult.OBJECT_UNDEFINED)
        if thing.class_id != method.class_id:
            raise Denied(ActionResult.OBJECT_CLASS_INCONSISTENT)
        found = next((known for known in thing.methods if known.number == method.method), None)
        if found is None or not found.right & right or (limit and method.method not in limit.calls):
            raise Denied(ActionResult.READ_WRITE_DENIED)
        try:
            taken = _taken(parameter if parameter is not None else values.NULL)
            if found.call is not None:
                return found.call(self.meter, client_sap, taken)
            assert found.run is not None
            done = found.run(self.meter, taken)
        except (DecodeError, ValueError, TypeError, OverflowError, KeyError) as error:
            refused = isinstance(error, Refusal)
            raise Denied(ActionResult.OTHER_REASON if refused else ActionResult.TYPE_UNMATCHED) from None
        finally:
            self.meter.bestir()
        if not done:
            raise Denied(ActionResult.OTHER_REASON)
        return None

    def _attribute(
        self, client_sap: int, attribute: AttributeRef
    ) -> tuple[Attribute | None, Right, associations.Granted | None]:
        thing, limit = self._thing(client_sap, attribute.obis)
        if thing is None:
            raise Denied(DataAccessResult.OBJECT_UNDEFINED)
        if thing.class_id != attribute.class_id:
            raise Denied(DataAccessResult.OBJECT_CLASS_INCONSISTENT)
        found = next((known for known in thing.attributes if known.number == attribute.attribute), None)
        return found, right_of(client_sap), limit

    def _thing(self, client_sap: int, obis: Obis) -> tuple[Thing | None, associations.Granted | None]:
        """An object as a client's list has it, None where it has not; and to what its manager limits it."""
        thing, limit = _things().get(obis), associations.granted(self.meter, client_sap, obis)
        listed = thing is not None and thing.seen(right_of(client_sap)) and limit != associations.NOTHING
        return thing if listed else None, limit


def _taken(value: bytes) -> axdr.Data:
    if len(value) > MAX_PARAMETER:
        raise ValueError(f"a value of {len(value)} bytes")
    return axdr.decode(value)


def thing_of(obis: Obis) -> Thing | None:
    return _things().get(obis)


@cache
def _things() -> dict[Obis, Thing]:
    return {thing.obis: thing for thing in THINGS}


def object_list(meter: Meter, client: int) -> bytes:
    """What the association of a client lists (class 15, attribute 2)."""
    managed = meter.managed.get(client)
    if managed is None or not managed.granted:
        return _ordinary_list(right_of(client))
    right, limits = right_of(client), managed.granted
    listed = (thing for thing in THINGS if thing.seen(right) and limits.get(thing.obis) != associations.NOTHING)
    return values.array([_listed(thing, right, limits.get(thing.obis)) for thing in listed])


@cache
def _ordinary_list(right: Right) -> bytes:
    """The same for every meter of the street, as it comes from the works."""
    return values.array([_listed(thing, right) for thing in THINGS if thing.seen(right)])


@cache
def short_names(right: Right = Right.ALL) -> ShortNames:
    """The short names of what a client sees: the same numbers for every client and meter of the street."""
    listed = (
        ShortObject(BASE * (number + 1), thing.class_id, thing.version, thing.obis)
        for number, thing in enumerate(THINGS)
        if thing.class_id != associations.CLASS and thing.seen(right)
    )
    return ShortNames((ShortObject(ASSOCIATION, CLASS, 4, CURRENT), *listed))


def _listed(thing: Thing, right: Right, limit: associations.Granted | None = None) -> bytes:
    names = values.structure(values.i8(1), values.enum(READ), values.NULL)
    attributes = [names, *(_attribute_right(attribute, right, limit) for attribute in thing.attributes)]
    methods = [_method_right(method, right, limit) for method in thing.methods]
    return values.structure(
        values.u16(thing.class_id),
        values.u8(thing.version),
        values.octets(thing.obis.raw),
        values.structure(values.array(attributes), values.array(methods)),
    )


def _attribute_right(attribute: Attribute, right: Right, limit: associations.Granted | None) -> bytes:
    mode = (READ if attribute.read & right else 0) | (WRITE if attribute.write & right else 0)
    if limit:
        mode &= (READ if attribute.number in limit.reads else 0) | (WRITE if attribute.number in limit.writes else 0)
    selectors = values.array([values.i8(1), values.i8(2)]) if attribute.select is not None else values.NULL
    return values.structure(values.i8(attribute.number), values.enum(mode), selectors)


def _method_right(method: Method, right: Right, limit: associations.Granted | None) -> bytes:
    allowed = bool(method.right & right) and (limit is None or method.number in limit.calls)
    return values.structure(values.i8(method.number), values.enum(allowed))
