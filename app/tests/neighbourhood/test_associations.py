"""Association objects, our client against the street's meter: secrets, lists, users; and who may change them.

Each change is looked at from the side of who is affected by it: in his own association, opened anew where that is due.
"""

from dataclasses import replace
from itertools import count

import pytest

from dcu.cosem import axdr, data
from dcu.cosem.application import Denied
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, UNPROTECTED, Association, Authentication
from dcu.cosem.association_setup import AssociationSetup, User, decode_users
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import drive
from dcu.cosem.hls import aes_ecb
from dcu.cosem.objects import AttributeAccess, MethodAccess, ObjectListElement
from dcu.cosem.short import ShortSession
from dcu.credentials import Secret
from dcu.errors import (
    AccessDenied,
    AssociationRefused,
    AuthenticationFailed,
    DcuError,
    MalformedAnswer,
    PolicyViolated,
    ServiceRefused,
)
from dcu.model import AttributeRef, MethodRef, Obis
from neighbourhood.associations import CURRENT, MAX_USERS, OTHERS
from neighbourhood.device import Device
from neighbourhood.fleet import Talk
from neighbourhood.meter import CONCENTRATOR, MANAGEMENT, PUBLIC, Habits
from tests.neighbourhood.conversation import TITLE, Street

ENERGY = AttributeRef.parse("3,1-0:1.8.0*255,2")
RELAY = Obis.parse("0-0:96.3.10*255")
STATE, MODE, DISCONNECT, RECONNECT = (
    AttributeRef(70, RELAY, 3),
    AttributeRef(70, RELAY, 4),
    MethodRef(70, RELAY, 1),
    MethodRef(70, RELAY, 2),
)
OF = {client: obis for obis, client in OTHERS.items()}  # the association objects by client
ZERO = axdr.encode(data.i8(0))
NEW = Secret(b"another secret")
ours = pytest.mark.conforms


class House:
    """One meter, and who opens associations with it."""

    def __init__(self, kind=Authentication.GMAC, **habits):
        self.street = Street(1, habits=Habits(authentication=kind, **habits))
        self.meter = self.street.meter(1)
        self.kind = kind
        self.counter = count(1_000_000)

    def open(self, client=CONCENTRATOR, *, password=None, policy=AUTHENTICATED_ENCRYPTED, user=None):
        """Associate over a connection of its own; return what runs an exchange, and the session."""
        kind = self.kind if client == CONCENTRATOR else Authentication.GMAC
        keys = self.meter.shipped_keys(client)
        settings = Association(
            client,
            1,
            kind,
            replace(keys, password=password or keys.password),
            TITLE,
            policy,
            manufacturer=aes_ecb,
            short=self.meter.habits.short,
            user=user,
        )
        made = ShortSession if settings.short else ClientSession
        session = made(settings, counter=self.counter.__next__)
        talk = Talk(self.street.fleet, self.meter, lossy=False)

        def run(exchange):
            return drive(exchange, lambda frame: talk(client, 1, frame))

        run(session.associate())
        return run, session

    def manager(self, client=None):
        """The manager, at the association object of `client`, or at its own."""
        run, session = self.open(MANAGEMENT)
        return run, AssociationSetup(session, CURRENT if client is None else OF[client])


def element(house, client, obis):
    """An object as `client` has it in its list."""
    run, setup = house.manager(client)
    return next(each for each in run(setup.listed()) if each.obis == obis)


# --- the secret


SECRETS = [
    (Authentication.LOW, False),
    (Authentication.HIGH, False),
    (Authentication.MD5, False),
    (Authentication.SHA1, False),
    (Authentication.SHA256, False),
    (Authentication.LOW, True),
    (Authentication.MD5, True),
    (Authentication.SHA256, True),
]
secrets = pytest.mark.parametrize(("kind", "short"), SECRETS, ids=[f"{k.name}{' SN' * s}" for k, s in SECRETS])


@ours("Object", lambda short: f"association: secret{', SN' * short}", peer="ours")
@secrets
def test_a_new_secret_opens_the_next_association_and_the_old_one_does_not(kind, short):
    house = House(kind, short=short, ciphered=True)
    new = Secret(b"0123456789abcdef") if kind is Authentication.HIGH else NEW
    run, session = house.open()
    run(AssociationSetup(session).change_secret(new))
    run(session.get(ENERGY))  # the one that stands goes on
    with pytest.raises(AuthenticationFailed):
        house.open()
    run, session = house.open(password=new)
    run(session.get(ENERGY))


def test_a_secret_is_not_sent_where_others_would_read_it_nor_one_that_is_none():
    house = House(Authentication.MD5)
    run, session = house.open(policy=UNPROTECTED)
    with pytest.raises(PolicyViolated, match="others would read it"):
        run(AssociationSetup(session).change_secret(NEW))
    house.open(policy=UNPROTECTED)  # the old one is still good
    run, session = House(Authentication.MD5, ciphered=True).open()
    for wrong in (b"", bytes(65)):
        with pytest.raises(ValueError, match="1 to 64 bytes"):
            run(AssociationSetup(session).change_secret(Secret(wrong)))


def test_the_manager_changes_the_secret_of_another_client_and_nobody_else_does():
    house = House(Authentication.SHA256, ciphered=True)
    run, session = house.open()
    for client in (PUBLIC, CONCENTRATOR, MANAGEMENT):  # by the objects of others, which it does not even see
        with pytest.raises(AccessDenied):
            run(AssociationSetup(session, OF[client]).change_secret(NEW))
    run, setup = house.manager(CONCENTRATOR)
    run(setup.change_secret(NEW))
    with pytest.raises(AuthenticationFailed):
        house.open()
    house.open(password=NEW)


# --- the list


@ours("Object", "association: object list", peer="ours")
def test_what_is_taken_out_of_a_clients_list_is_not_there_for_it_until_it_is_put_back():
    house = House()
    run, session = house.open()
    relay = element(house, CONCENTRATOR, RELAY)
    manage, setup = house.manager(CONCENTRATOR)
    manage(setup.remove_object(relay))
    for asked in (
        lambda: session.get(STATE),
        lambda: session.action(DISCONNECT, ZERO),
        lambda: session.set(MODE, axdr.encode(data.enum(1))),
    ):
        with pytest.raises(AccessDenied, match="object-undefined"):
            run(asked())
    assert RELAY not in {each.obis for each in run(AssociationSetup(session).listed())}
    assert RELAY in {each.obis for each in manage(AssociationSetup(setup._session).listed())}  # its own is as it was
    with pytest.raises(AccessDenied):
        manage(setup.remove_object(relay))
    manage(setup.add_object(relay))
    assert element(house, CONCENTRATOR, RELAY) == relay
    run(session.get(STATE))
    run(session.action(DISCONNECT, ZERO))


@ours("Object", "association: object list", peer="ours")
def test_an_object_is_shown_with_the_rights_that_the_manager_grants():
    house = House()
    run, session = house.open()
    manage, setup = house.manager(CONCENTRATOR)
    lesser = ObjectListElement(
        70, 0, RELAY, (AttributeAccess(3, 1),), (MethodAccess(1, 0), MethodAccess(2, 1))
    )  # it may see the state and reconnect
    manage(setup.add_object(lesser))
    assert axdr.decode(run(session.get(STATE))).value == 1
    run(session.action(RECONNECT, ZERO))
    for asked in (lambda: session.get(MODE), lambda: session.action(DISCONNECT, ZERO)):
        with pytest.raises(AccessDenied, match="read-write-denied"):
            run(asked())
    (shown,) = [each for each in run(AssociationSetup(session).listed()) if each.obis == RELAY]
    assert [each.attribute for each in shown.attribute_access if each.readable()] == [1, 3]
    assert [each.method for each in shown.method_access if each.mode] == [2]


def test_nobody_is_granted_more_than_the_works_allow():
    house = House()
    manage, setup = house.manager(CONCENTRATOR)
    for more in (
        ObjectListElement(70, 0, RELAY, (AttributeAccess(4, 3),)),  # the control mode is the manager's to write
        ObjectListElement(70, 0, RELAY, (AttributeAccess(3, 1),), (MethodAccess(3, 1),)),
        ObjectListElement(70, 0, RELAY, (AttributeAccess(9, 1),)),
        ObjectListElement(70, 0, RELAY, (AttributeAccess(3, 0),)),
        ObjectListElement(70, 1, RELAY, (AttributeAccess(3, 1),)),
        ObjectListElement(3, 0, RELAY, (AttributeAccess(2, 1),)),
        ObjectListElement(3, 0, Obis.parse("1-0:99.99.99*255"), (AttributeAccess(2, 1),)),
    ):
        with pytest.raises(AccessDenied, match="other-reason"):
            manage(setup.add_object(more))
    manage, setup = house.manager(PUBLIC)
    with pytest.raises(AccessDenied):  # what it never saw
        manage(setup.add_object(ObjectListElement(3, 0, ENERGY.obis, (AttributeAccess(2, 1),))))
    assert not house.meter.managed


def test_an_association_object_stays_so_that_there_is_a_way_back():
    house = House()
    manage, setup = house.manager()
    for each in manage(setup.listed()):
        if each.class_id == 15:
            with pytest.raises(AccessDenied):
                manage(setup.remove_object(each))
        else:
            manage(setup.remove_object(each))
    assert {each.class_id for each in manage(setup.listed())} == {15}


@pytest.mark.parametrize("client", [PUBLIC, CONCENTRATOR])
def test_only_the_manager_changes_lists_and_users(client):
    house = House()
    device = Device(house.meter)
    entry = axdr.encode(data.structure(data.u8(1), data.visible("somebody")))
    for obis in (CURRENT, *OTHERS):
        for method in (3, 4, 5, 6):
            with pytest.raises(Denied, match=r"read-write-denied|object-undefined"):
                device.action(client, MethodRef(15, obis, method), entry)
    assert not house.meter.managed


def test_by_short_names_a_list_is_the_makers():
    house = House(short=True)
    run, session = house.open(MANAGEMENT)
    with pytest.raises(ServiceRefused, match="short names"):
        run(AssociationSetup(session).remove_object(ObjectListElement(70, 0, RELAY)))


# --- users


@ours("Object", lambda short: f"association: users{', SN' * short}", peer="ours")
@pytest.mark.parametrize("short", [False, True], ids=["LN", "SN"])
def test_where_there_are_users_a_client_says_who_he_is_and_is_one_of_them(short):
    house = House(short=short)
    anna, otto = User(7, "Anna"), User(200, "Otto")
    run, session = house.open(MANAGEMENT)
    setup = AssociationSetup(session)
    assert (run(setup.users()), run(setup.current_user())) == ((), User(0, ""))
    run(setup.add_user(anna))
    run(setup.add_user(otto))
    assert run(setup.users()) == (anna, otto)
    run(session.get(ENERGY))  # the association that stands goes on
    for nobody in (None, 8):
        with pytest.raises(AssociationRefused, match="calling-ae-invocation-identifier-not-recognized"):
            house.open(MANAGEMENT, user=nobody)
    house.open()  # the concentrator has no users
    for user in (anna, otto):
        run, session = house.open(MANAGEMENT, user=user.number)
        assert run(AssociationSetup(session).current_user()) == user
    run(AssociationSetup(session).remove_user(anna))
    with pytest.raises(AssociationRefused):
        house.open(MANAGEMENT, user=anna.number)
    house.open(MANAGEMENT, user=otto.number)


def test_a_user_is_added_once_and_their_number_is_bounded():
    house = House()
    run, setup = house.manager(CONCENTRATOR)
    for number in range(MAX_USERS):
        run(setup.add_user(User(number, f"user {number}")))
    for refused in (setup.add_user(User(40, "one more")), setup.remove_user(User(99, "nobody"))):
        with pytest.raises(AccessDenied, match="other-reason"):
            run(refused)
    run(setup.remove_user(User(0, "user 0")))
    for refused in (setup.add_user(User(5, "again")), setup.add_user(User(40, "x" * 33))):
        with pytest.raises(AccessDenied):
            run(refused)
    assert len(run(setup.users())) == MAX_USERS - 1


@pytest.mark.parametrize("raw", ["", "1105", "01011105", "0101020211011105", "010102010901"])
def test_a_list_of_users_that_is_none_is_refused(raw):
    with pytest.raises(DcuError):
        decode_users(bytes.fromhex(raw))
    run, session = House().open(MANAGEMENT)
    session.get = lambda ref: (yield from ()) or bytes.fromhex(raw)
    with pytest.raises(MalformedAnswer):
        run(AssociationSetup(session).users())
