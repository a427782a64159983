"""The association object (classes 15 and 12) as a client uses it: its secret, its list of objects, its users.

Each is an exchange over an open association, whose own object it is unless another's is named: a manager changes what
other clients see and who they are. A new secret is for the associations that follow; who changed it keeps it before he
closes this one.

Source: DLMS Blue Book (IEC 62056-6-2) 4.4.3 (association SN, version 4), 4.4.4 (association LN, version 3).
"""

from dataclasses import dataclass

from dcu.cosem import axdr, data, objects
from dcu.cosem.asking import Asking
from dcu.cosem.axdr import Data
from dcu.cosem.exchange import Exchange
from dcu.cosem.objects import ObjectListElement
from dcu.cosem.security import Protection
from dcu.cosem.short_names import CURRENT
from dcu.credentials import Secret
from dcu.errors import DecodeError, MalformedAnswer, PolicyViolated, ServiceRefused
from dcu.model import AttributeRef, MethodRef, Obis

LONG, SHORT = 15, 12  # the classes
OBJECT_LIST, USERS, CURRENT_USER = 2, 10, 11  # attributes of class 15
CHANGE_SECRET, ADD_OBJECT, REMOVE_OBJECT, ADD_USER, REMOVE_USER = range(2, 7)  # its methods
_OF_SHORT = {CHANGE_SECRET: 5, ADD_USER: 9, REMOVE_USER: 10}  # methods of class 12 that do the same
_SHORT_ATTRIBUTES = {USERS: 5, CURRENT_USER: 6}
MAX_SECRET = 64


@dataclass(frozen=True, slots=True)
class User:
    """One of a client's users. number: user_id, 0..255, as `Association.user` says it when he associates."""

    number: int
    name: str


class AssociationSetup:
    """The meter's object, over `session`."""

    def __init__(self, session: Asking, obis: Obis = CURRENT) -> None:
        self._session = session
        self._obis = obis

    def change_secret(self, new: Secret) -> Exchange[None]:
        """A new secret of LLS or HLS 2, 3, 4, 6. Raises PolicyViolated where others could read or forge it.

        Raises ValueError for one that is empty or longer than 64 bytes.
        """
        if not 1 <= len(new) <= MAX_SECRET:
            raise ValueError(f"a secret has 1 to {MAX_SECRET} bytes")
        policy = self._session.association.policy
        if not (policy.request.covers(Protection.BOTH) and policy.response.authentic):
            raise PolicyViolated("a secret is changed in an association that ciphers: here others would read it")
        yield from self._call(CHANGE_SECRET, data.octets(new.reveal()))

    # --- the list

    def listed(self) -> Exchange[tuple[ObjectListElement, ...]]:
        """What the association's client sees, with his rights."""
        raw = yield from self._session.get(self._attribute(OBJECT_LIST))
        try:
            return objects.decode_object_list(raw)
        except DecodeError as error:
            raise MalformedAnswer(f"object list: {error}") from None

    def add_object(self, element: ObjectListElement) -> Exchange[None]:
        """Show the client an object, with these rights. Raises ServiceRefused by short names."""
        yield from self._call(ADD_OBJECT, objects.list_element(element))

    def remove_object(self, element: ObjectListElement) -> Exchange[None]:
        """Hide an object from the client. Raises ServiceRefused by short names."""
        yield from self._call(REMOVE_OBJECT, objects.list_element(element))

    # --- users

    def users(self) -> Exchange[tuple[User, ...]]:
        """Who may associate; nobody is asked who he is where there is none."""
        raw = yield from self._session.get(self._attribute(USERS))
        try:
            return decode_users(raw)
        except DecodeError as error:
            raise MalformedAnswer(str(error)) from None

    def current_user(self) -> Exchange[User]:
        """Who is associated; number 0 without a name where there are no users."""
        raw = yield from self._session.get(self._attribute(CURRENT_USER))
        try:
            return _user(axdr.decode(raw))
        except DecodeError as error:
            raise MalformedAnswer(str(error)) from None

    def add_user(self, user: User) -> Exchange[None]:
        """From then on whoever associates with this client's SAP has to be one of the users."""
        yield from self._call(ADD_USER, _entry(user))

    def remove_user(self, user: User) -> Exchange[None]:
        yield from self._call(REMOVE_USER, _entry(user))

    # --- what they share

    def _attribute(self, number: int) -> AttributeRef:
        if not self._session.association.short or number == OBJECT_LIST:
            return AttributeRef(LONG, self._obis, number)
        return AttributeRef(SHORT, self._obis, _SHORT_ATTRIBUTES[number])

    def _call(self, method: int, parameter: Data) -> Exchange[None]:
        ref = MethodRef(LONG, self._obis, method)
        if self._session.association.short:
            if method not in _OF_SHORT:
                raise ServiceRefused("by short names an association's list of objects is as its maker made it")
            ref = MethodRef(SHORT, self._obis, _OF_SHORT[method])
        yield from self._session.action(ref, axdr.encode(parameter))


def decode_users(raw: bytes) -> tuple[User, ...]:
    """Read the attribute user_list. Raises DecodeError."""
    listed = axdr.decode(raw).value
    if not isinstance(listed, tuple):
        raise DecodeError("a list of users is an array")
    return tuple(map(_user, listed))


def _user(value: Data) -> User:
    match value.value:
        case (Data(_, int() as number), Data(_, (str() | bytes()) as name)):
            return User(number, name if isinstance(name, str) else name.decode("latin-1"))
    raise DecodeError("a user is a structure of a number and a name")


def _entry(user: User) -> Data:
    return data.structure(data.u8(user.number), data.visible(user.name))
