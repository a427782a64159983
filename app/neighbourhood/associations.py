"""The association objects (class 15; 12 by short names): who may associate, with which secret, and what he sees.

An association sees the street's objects with the works' rights, less what its manager took out of its list: what is not
listed is not there for that client. What is put back has the rights that the manager names, and never more than the
works gave. Where an association has a list of users, its client has to say which of them he is.

Source: DLMS Blue Book (IEC 62056-6-2) 4.4.3 (association SN), 4.4.4 (association LN, version 2).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dcu.cosem import objects
from dcu.cosem.association import SUPPORTED
from dcu.cosem.axdr import Data
from dcu.cosem.objects import ObjectListElement
from dcu.credentials import Secret
from dcu.errors import DecodeError
from dcu.model import AttributeRef, MethodRef, Obis
from neighbourhood import values
from neighbourhood.meter import CONCENTRATOR, MANAGEMENT, PUBLIC, Meter
from neighbourhood.objects import Attribute, Method, Right, Thing, fixed, right_of
from neighbourhood.security_setup import SECURITY_SETUP, Refusal
from neighbourhood.taken import integer, parts

CLASS, SHORT_CLASS = 15, 12
CURRENT = Obis.parse("0-0:40.0.0*255")
OTHERS = {  # the associations by their own objects, which the manager alone sees
    Obis.parse("0-0:40.0.1*255"): PUBLIC,
    Obis.parse("0-0:40.0.2*255"): CONCENTRATOR,
    Obis.parse("0-0:40.0.3*255"): MANAGEMENT,
}
MAX_USERS, MAX_NAME = 32, 32
CONTEXT = bytes.fromhex("60857405080100")  # 2.16.756.5.8.1.x
MECHANISM = bytes.fromhex("60857405080200")  # 2.16.756.5.8.2.x
_SHORT_METHODS = {5: 2, 8: 1, 9: 5, 10: 6}  # of class 12: those of class 15 that do the same
_SHORT_ATTRIBUTES = {4: 9, 5: 10, 6: 11}


def long_method(method: MethodRef) -> MethodRef:
    """A method of the current Association SN as that of Association LN which does the same; any other as it is."""
    number = _SHORT_METHODS.get(method.method) if (method.class_id, method.obis) == (SHORT_CLASS, CURRENT) else None
    return method if number is None else MethodRef(CLASS, CURRENT, number)


def long_attribute(ref: AttributeRef) -> AttributeRef:
    """As `long_method`, of an attribute."""
    number = _SHORT_ATTRIBUTES.get(ref.attribute) if (ref.class_id, ref.obis) == (SHORT_CLASS, CURRENT) else None
    return ref if number is None else AttributeRef(CLASS, CURRENT, number)


@dataclass(frozen=True, slots=True)
class Granted:
    """What a manager granted of an object, by the numbers of its attributes and methods."""

    reads: frozenset[int]
    writes: frozenset[int]
    calls: frozenset[int]


NOTHING = Granted(frozenset(), frozenset(), frozenset())


@dataclass(slots=True)
class Managed:
    """What a manager changed of one association. granted: NOTHING where an object was taken out of the list."""

    granted: dict[Obis, Granted] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    user: int | None = None  # who associated last


def granted(meter: Meter, client: int, obis: Obis) -> Granted | None:
    """None: what the works gave."""
    managed = meter.managed.get(client)
    return managed.granted.get(obis) if managed else None


def _managed(meter: Meter, client: int) -> Managed:
    return meter.managed.setdefault(client, Managed())


# --- the list


def _add(meter: Meter, client: int, value: Data) -> None:
    """Take an object into the list, or grant other rights to one that is there."""
    element = _element(value)
    thing, right = _listable(element), right_of(client)
    if any(each.mode not in range(7) for each in element.attribute_access):
        raise ValueError("an access mode is 0 to 6")
    wanted = Granted(
        frozenset(each.attribute for each in element.attribute_access if each.readable()),
        frozenset(each.attribute for each in element.attribute_access if each.writable()),
        frozenset(each.method for each in element.method_access if each.mode),
    )
    if not wanted.reads <= {1} | {each.number for each in thing.attributes if each.read & right}:
        raise Refusal("more is to be read than the works allow")
    if not wanted.writes <= {each.number for each in thing.attributes if each.write & right}:
        raise Refusal("more is to be written than the works allow")
    if not wanted.calls <= {each.number for each in thing.methods if each.right & right}:
        raise Refusal("more is to be called than the works allow")
    if wanted == NOTHING:
        raise Refusal("an object of which nothing is granted")
    _managed(meter, client).granted[thing.obis] = wanted


def _remove(meter: Meter, client: int, value: Data) -> None:
    thing = _listable(_element(value))
    if granted(meter, client, thing.obis) == NOTHING or not thing.seen(right_of(client)):
        raise Refusal("it is not in the list")
    _managed(meter, client).granted[thing.obis] = NOTHING


def _element(value: Data) -> ObjectListElement:
    try:
        return objects.read_list_element(value)
    except DecodeError as error:
        raise ValueError(str(error)) from None


def _listable(element: ObjectListElement) -> Thing:
    """The object that is meant: one that the meter has. The association objects are what one comes back with."""
    from neighbourhood.device import thing_of  # the objects have these among them

    thing = thing_of(element.obis)
    if thing is None or (thing.class_id, thing.version) != (element.class_id, element.version):
        raise Refusal("the meter has no such object")
    if thing.class_id == CLASS:
        raise Refusal("an association object stays in the list")
    return thing


# --- users


def _user(value: Data) -> tuple[int, str]:
    number, name = parts(value, 2)
    if not 0 <= integer(number) <= 0xFF or not isinstance(name.value, str) or len(name.value) > MAX_NAME:
        raise ValueError("a user is a number of one byte and a name")
    if not name.value.isascii():
        raise ValueError("a user's name is ASCII")
    return integer(number), name.value


def _add_user(meter: Meter, client: int, value: Data) -> None:
    number, name = _user(value)
    users = _managed(meter, client).users
    if number in users or len(users) >= MAX_USERS:
        raise Refusal("the user is there already, or one too many")
    users[number] = name
    meter.reopen()


def _remove_user(meter: Meter, client: int, value: Data) -> None:
    number, _ = _user(value)
    if _managed(meter, client).users.pop(number, None) is None:
        raise Refusal("there is no such user")
    meter.reopen()


def _users(meter: Meter, client: int) -> bytes:
    managed = meter.managed.get(client)
    return values.array([_one(*each) for each in managed.users.items()] if managed else [])


def _one(number: int, name: str) -> bytes:
    return values.structure(values.u8(number), values.visible(name))


def _current_user(meter: Meter, client: int) -> bytes:
    managed = meter.managed.get(client)
    number = managed.user if managed and managed.user in managed.users else None
    return _one(number, managed.users[number]) if managed and number is not None else _one(0, "")


# --- the secret


def _change_secret(meter: Meter, client: int, value: Data) -> None:
    """LLS, and HLS 2, 3, 4 and 6; from the next association on."""
    meter.rekey(client, replace(meter.keys(client), password=_password(value)))


def _secret(meter: Meter, value: Data) -> None:
    """The attribute: a new password of the concentrator's client, whose LLS it is."""
    _change_secret(meter, CONCENTRATOR, value)


def _password(value: Data) -> Secret:
    if not isinstance(value.value, bytes) or not 1 <= len(value.value) <= 64:
        raise ValueError("a secret has 1 to 64 bytes")
    return Secret(value.value)


# --- what it tells


def _partners(meter: Meter, client: int) -> bytes:
    return values.structure(values.i8(client), values.u16(meter.sap))


def _context(meter: Meter, client: int) -> bytes:
    context = meter.associations()[client].context
    return values.octets(CONTEXT[:-1] + bytes((context,)))


def _initiated(meter: Meter, client: int) -> bytes:
    size = meter.associations()[client].max_pdu
    return values.structure(
        values.bits(SUPPORTED, 24), values.u16(size), values.u16(size), values.u8(6), values.i8(0), values.octets(b"")
    )


def _mechanism(meter: Meter, client: int) -> bytes:
    authentication = meter.associations()[client].authentication
    return values.octets(MECHANISM[:-1] + bytes((authentication.value,)))


_MANAGING: tuple[tuple[int, Callable[[Meter, int, Data], None]], ...] = (
    (3, _add),
    (4, _remove),
    (5, _add_user),
    (6, _remove_user),
)


def _association(obis: Obis, client: int | None) -> Thing:
    """client: None in the object of the association that asks."""
    read = Right.ALL if client is None else Right.MANAGEMENT

    def asked(kind: Callable[[Meter, int], bytes]) -> Callable[[Meter, int], bytes]:
        return kind if client is None else lambda meter, _: kind(meter, client)

    def done(kind: Callable[[Meter, int, Data], None]) -> Callable[[Meter, int, Data], None]:
        return kind if client is None else lambda meter, _, value: kind(meter, client, value)

    own = client is None
    return Thing(
        CLASS,
        2,
        obis,
        (
            Attribute(2, fixed(values.NULL), read),  # the object list: see `device`
            Attribute(3, asked(_partners), read),
            Attribute(4, asked(_context), read),
            Attribute(5, asked(_initiated), read),
            Attribute(6, asked(_mechanism), read),
            *((Attribute(7, put=_secret, write=Right.SECURED, read=Right.NOBODY),) if own else ()),
            Attribute(8, asked(lambda _, __: values.enum(2 if own else 0)), read),
            Attribute(9, fixed(values.octets(SECURITY_SETUP.obis.raw)), read),
            Attribute(10, asked(_users), read & Right.SECURED),
            Attribute(11, asked(_current_user), read & Right.SECURED),
        ),
        (
            # reply_to_HLS_authentication: the session answers it before the objects are asked
            *((Method(1, lambda _, __: False, Right.SECURED),) if own else ()),
            Method(2, call=done(_change_secret), right=Right.SECURED if own else Right.MANAGEMENT),
            *(Method(number, call=done(kind), right=Right.MANAGEMENT) for number, kind in _MANAGING),
        ),
    )


THINGS: tuple[Thing, ...] = (_association(CURRENT, None), *(_association(*each) for each in OTHERS.items()))
