"""One meter: who it is, its keys, its clock, its relay, its events, and whom it has heard.

It holds what truth cannot know: what clients did to it. Everything else it asks `truth` for, so that a thousand of them
cost little more than their names.

Sources: DLMS Blue Book class 8 (clock), class 70 (disconnect control); Green Book 4.3.4 (system title).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING

from dcu.certificates import Purpose
from dcu.cosem.apdu import Conformance
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, SUPPORTED, Authentication, ServerAssociation
from dcu.cosem.hls import aes_ecb
from dcu.cosem.security import Framing
from dcu.cosem.security_setup import policy_bits, policy_of
from dcu.credentials import MeterKeys, Secret
from neighbourhood import truth
from neighbourhood.heard import Heard
from neighbourhood.identity import FLAG, LARGEST, keys_of, serial, system_title
from neighbourhood.image import ImageTransfer
from neighbourhood.relay import MODES, Relay, Trigger, after
from neighbourhood.times import Zone
from neighbourhood.truth import Registers
from neighbourhood.works import RATES, Tariffs, Works

if TYPE_CHECKING:
    from neighbourhood.associations import Managed

PUBLIC, CONCENTRATOR, MANAGEMENT = 16, 1, 2  # client SAPs: anybody, the collector, the head-end
ESTABLISHED, BROADCASTING = 102, 103  # the collector once more, without a handshake; by broadcast
MANAGEMENT_DEVICE = 1  # the SAP of a meter's first logical device
OWN_EVENTS = 200  # a meter's log is a ring
OWN_SETS = 64
OWN_BREAKS = 256


class Event(IntEnum):
    """Codes of the standard event log, as European meters number them (IDIS)."""

    POWER_UP = 2
    SAVING_CHANGED = 3  # daylight saving was enabled or disabled
    CLOCK_WAS = 4  # stamped with the time before the adjustment
    CLOCK_IS = 5  # and with the time after it
    CALENDAR_ACTIVE = 9
    FIRMWARE_READY = 17
    FIRMWARE_ACTIVE = 18
    CALENDAR_PROGRAMMED = 19
    NOT_AUTHENTIC = 49
    REPLAY = 50
    FIRMWARE_REFUSED = 51
    READY_FOR_RECONNECTION = 59
    MANUAL_DISCONNECTION = 60
    MANUAL_CONNECTION = 61
    REMOTE_DISCONNECTION = 62
    REMOTE_CONNECTION = 63
    LOCAL_DISCONNECTION = 64
    LIMIT_EXCEEDED = 65
    LIMIT_KEPT = 66


_SWITCHED = {  # a local reconnection has no code: what the meter did it for has
    Trigger.REMOTE_DISCONNECT: Event.REMOTE_DISCONNECTION,
    Trigger.REMOTE_RECONNECT: Event.REMOTE_CONNECTION,
    Trigger.MANUAL_DISCONNECT: Event.MANUAL_DISCONNECTION,
    Trigger.MANUAL_RECONNECT: Event.MANUAL_CONNECTION,
    Trigger.LOCAL_DISCONNECT: Event.LOCAL_DISCONNECTION,
}


@dataclass(frozen=True, slots=True)
class Habits:
    """What the meters of a street have in common."""

    zone: Zone = field(default_factory=Zone)
    period: int = truth.HOUR
    capacity: int = 3_000  # rows of the load profile: 125 days of hours
    compress: bool = False  # null-data in place of what has not changed
    authentication: Authentication = Authentication.GMAC  # of the concentrator's client
    suite: int = 0
    short: bool = False  # clients speak by short names
    general_blocks: bool = False  # general-block-transfer is offered
    framing: Framing = Framing.GLOBAL  # of the concentrator's client
    signed: bool = False
    ciphered: bool = False  # that client's services, whatever the authentication is; HLS 5 and 7 always cipher
    pre_established: bytes = b""  # the system title of a client for which one stands (SAP 102), "" for none
    relay_mode: int = 4  # remote disconnection and reconnection, no button needed
    max_pdu: int = 1_024  # what the meter takes, and gives in one block
    image_block: int = 800  # bytes of a firmware that it takes at a time


class Meter:
    __slots__ = (
        "_associations",
        "_born",
        "_breaks",
        "_events",
        "_moment",
        "_rekeyed",
        "_relay_mode",
        "_sets",
        "_street_time",
        "_works",
        "_zone",
        "certificates",
        "client_titles",
        "counter",
        "destination",
        "given",
        "habits",
        "heard",
        "key_salt",
        "managed",
        "new_pairs",
        "number",
        "policy",
        "preset",
        "relay",
        "sap",
        "seed",
        "together",
        "transport",
    )  # fmt: skip

    def __init__(self, seed: int, number: int, street_time: Callable[[], int], habits: Habits | None = None) -> None:
        """street_time: the street's true time, whole UTC seconds."""
        if not 1 <= number <= LARGEST:
            raise ValueError(f"meter number {number}: 1..{LARGEST}")
        self.seed, self.number = seed, number
        self.habits = habits or Habits()
        self.sap = MANAGEMENT_DEVICE  # of this logical device
        self.together: tuple[Meter, ...] = ()  # the logical devices of one physical meter, where it has several
        self.relay = Relay.CONNECTED
        self.heard = Heard(truth.household(seed, number).key % 1_000)
        self.given: MeterKeys | None = None  # keys from outside, for every client, in place of the seed's
        self.key_salt = ""  # another salt, other keys than the shipment says: the fault "wrong-key"
        # Frames sent: seconds since the installation, eightfold, so that a street started again does not fall behind
        # what it sent before (it would have to send eight frames a second for all its life).
        self.counter = (street_time() - truth.INSTALLED) * 8 & 0xFFFFFFFF
        self._street_time = street_time
        self._rekeyed: dict[int, MeterKeys] = {}  # by clients, through security setup
        self.client_titles: dict[int, bytes] = {}  # by client SAP: who proved itself last
        self.managed: dict[int, Managed] = {}  # by client SAP: what was changed of its association
        self.certificates: dict[tuple[int, Purpose, bytes], bytes] = {}
        self.new_pairs: dict[Purpose, Secret] = {}  # made, and not certified yet
        self.policy = policy_bits(AUTHENTICATED_ENCRYPTED, signed=self.habits.signed) if self._ciphers else 0
        self.preset: tuple[int, int, int] | None = None  # class 8: time to set, valid from, valid to
        self.destination = b""  # where its push setup sends to
        self.transport = 0
        self._relay_mode: int | None = None
        self._sets: list[tuple[int, int]] = []  # (true second, error from then on), by clients
        self._breaks: list[tuple[int, int | None]] = []  # (from, to): the relay was open, nothing was counted
        self._events: list[tuple[int, int]] = []
        self._associations: dict[int, ServerAssociation] | None = None
        self._works: Works | None = None
        self._born = street_time()
        self._moment: int | None = None  # at which something is carried out that was due then
        self._zone: Zone | None = None  # by clients, in place of the street's

    @property
    def works(self) -> Works:
        """What it has inside, made at the first question, as it was when the street began."""
        if self._works is None:
            first = self.registers(self._born).active_import
            tariffs = Tariffs([first, *[0] * (RATES - 1)], self._born)
            shown = self._born + self.clock_error(self._born)
            self._works = Works(ImageTransfer(self.habits.image_block), tariffs, self._born, shown)
            from neighbourhood.agenda import settle  # which asks meters

            settle(self)
        return self._works

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do by itself: nobody ever asked for it, or it is not time yet."""
        return self._works is None or self.now() < self._works.idle_until

    def bestir(self) -> None:
        """Something has changed: what it has to do next is thought about anew."""
        if self._works is not None:
            self._works.idle_until = 0

    @property
    def pushes(self) -> bool:
        """Whether there is something that it wants to say."""
        return self._works is not None and bool(self._works.push.sent)

    @contextmanager
    def at(self, second: int) -> Iterator[None]:
        """Be at a true second of the past while something is carried out."""
        self._moment = second
        try:
            yield
        finally:
            self._moment = None

    # identity

    @property
    def serial(self) -> str:
        return serial(self.seed, self.number)

    @property
    def system_title(self) -> bytes:
        return self.given.system_title if self.given else system_title(self.seed, self.number)

    @property
    def device_name(self) -> str:
        """The logical device name: the maker's letters, then what makes it unique, 16 in all."""
        return FLAG + self.serial.removeprefix(FLAG).rjust(13, "0")

    def associations(self) -> dict[int, ServerAssociation]:
        """Who may associate, and how."""
        if self._associations is None:
            from neighbourhood.device import short_names  # of its objects, which ask meters

            names = short_names() if self.habits.short else None
            kind = self.habits.authentication
            policy, signed = policy_of(self.policy)
            offered = SUPPORTED | Conformance.GENERAL_BLOCK_TRANSFER if self.habits.general_blocks else SUPPORTED
            users = {client: frozenset(managed.users) for client, managed in self.managed.items()}
            made = {
                PUBLIC: ServerAssociation(max_pdu=self.habits.max_pdu, names=names, conformance=offered),
                CONCENTRATOR: ServerAssociation(
                    authentication=kind,
                    keys=self.keys(CONCENTRATOR),
                    policy=policy,
                    max_pdu=self.habits.max_pdu,
                    manufacturer=aes_ecb,
                    names=names,
                    framing=self.habits.framing,
                    signed=self.habits.signed or signed,
                    conformance=offered,
                ),
                MANAGEMENT: ServerAssociation(
                    authentication=Authentication.GMAC,
                    keys=self.keys(MANAGEMENT),
                    policy=AUTHENTICATED_ENCRYPTED,
                    max_pdu=self.habits.max_pdu,
                    names=names,
                    conformance=offered,
                ),
            }
            if self.habits.pre_established:
                made[ESTABLISHED] = replace(
                    made[CONCENTRATOR],
                    authentication=Authentication.NONE,
                    client_title=self.habits.pre_established,
                    pre_established=True,
                )
                if self.keys(CONCENTRATOR).broadcast:
                    made[BROADCASTING] = replace(
                        made[ESTABLISHED],
                        policy=AUTHENTICATED_ENCRYPTED,
                        framing=Framing.GLOBAL,
                        signed=False,
                        broadcast=True,
                    )
            self._associations = {sap: replace(terms, users=users.get(sap, frozenset())) for sap, terms in made.items()}
        return self._associations

    def keys(self, client: int) -> MeterKeys:
        """What this meter holds for `client`; `shipped_keys` is what its maker says that it holds."""
        changed = self._rekeyed.get(client)
        return changed or self.given or keys_of(self.seed, self.number, client, self.habits.suite, self.key_salt)[1]

    def rekey(self, client: int, keys: MeterKeys) -> None:
        """From the next connection on."""
        self._rekeyed[client] = keys
        self.reopen()

    def reopen(self) -> None:
        """The terms of its associations have changed: those that stand go on, new ones are made by the new terms."""
        self._associations = None

    @property
    def _ciphers(self) -> bool:
        return self.habits.ciphered or self.habits.authentication in (Authentication.GMAC, Authentication.ECDSA)

    def shipped_keys(self, client: int = CONCENTRATOR) -> MeterKeys:
        return self.given or keys_of(self.seed, self.number, client, self.habits.suite)[0]

    # counters

    def next_counter(self) -> int:
        self.counter = self.counter + 1 & 0xFFFFFFFF
        return self.counter

    # time

    def now(self) -> int:
        """True UTC seconds, which the meter does not know."""
        return self._street_time() if self._moment is None else self._moment

    @property
    def zone(self) -> Zone:
        return self._zone or self.habits.zone

    @zone.setter
    def zone(self, zone: Zone) -> None:
        self._zone = zone

    def shown(self) -> int:
        """What its clock shows, as UTC seconds."""
        now = self.now()
        return now + self.clock_error(now)

    def clock_error(self, second: int) -> int:
        """Seconds ahead of UTC: the street's truth, unless a client has set the clock since the last round."""
        at = bisect_right(self._sets, (second, truth.DAY * 36_500)) - 1
        if at < 0 or self._sets[at][0] < truth.disciplined(self.seed, self.number, second):
            return truth.clock_error(self.seed, self.number, second)
        since, error = self._sets[at]
        return error + truth.household(self.seed, self.number).drift * (second - since) // 1_000_000

    def set_clock(self, shown: int) -> None:
        """A client sets the clock to show `shown`."""
        now = self.now()
        self.bestir()
        self.record(Event.CLOCK_WAS)
        self._sets = [*(entry for entry in self._sets if entry[0] < now), (now, shown - now)][-OWN_SETS:]
        self.record(Event.CLOCK_IS)

    # what it measures

    def registers(self, second: int) -> Registers:
        """The registers at a true UTC second: truth, less what was not taken while the relay was open."""
        value = truth.registers(self.seed, self.number, second)
        for start, end in self._breaks:
            if start < second:
                first = truth.registers(self.seed, self.number, start)
                last = truth.registers(self.seed, self.number, second if end is None else min(end, second))
                value = Registers._make(v - b + a for v, a, b in zip(value, first, last, strict=True))
        return value

    def captured(self, timestamp: int) -> Registers:
        """What the load profile's row of `timestamp` (what the clock showed, as UTC) holds."""
        return self.registers(timestamp - self.clock_error(timestamp))

    def adjusted(self, timestamp: int) -> bool:
        """Whether the clock was set in the period that ended at `timestamp`."""
        first = timestamp - self.habits.period
        return truth.disciplined(self.seed, self.number, timestamp) > first or any(
            first < at <= timestamp for at, _ in self._sets
        )

    def power(self) -> tuple[int, int]:
        """Active power in and out, W."""
        return truth.power(self.seed, self.number, self.now()) if self.relay is Relay.CONNECTED else (0, 0)

    # the relay

    @property
    def relay_mode(self) -> int:
        return self.habits.relay_mode if self._relay_mode is None else self._relay_mode

    @relay_mode.setter
    def relay_mode(self, mode: int) -> None:
        if mode not in MODES:
            raise ValueError(f"control mode {mode}: 0..{MODES[-1]}")
        self._relay_mode = mode
        if mode == 0:  # always connected
            self._move(Relay.CONNECTED)

    def switch(self, trigger: Trigger) -> bool:
        """What `trigger` does to the relay in its mode; whether it moved, or released the button."""
        before = self.relay
        self._move(after(before, trigger, self.relay_mode))
        if self.relay is before:
            return False
        remote = trigger is Trigger.REMOTE_RECONNECT and self.relay is Relay.READY
        if code := Event.READY_FOR_RECONNECTION if remote else _SWITCHED.get(trigger):
            self.record(code)
        return True

    def _move(self, to: Relay) -> None:
        if self.relay is Relay.CONNECTED is not to:
            self._breaks = [*self._breaks, (self.now(), None)][-OWN_BREAKS:]
        elif self.relay is not Relay.CONNECTED is to:
            start, _ = self._breaks.pop()
            self._breaks.append((start, self.now()))
        self.relay = to

    # events

    def record(self, code: Event) -> None:
        """Enter an event in the log; what fills it with one and the same thing is entered once a minute."""
        at = self.shown()
        if self._events and self._events[-1][1] == code and 0 <= at - self._events[-1][0] < 60:
            return
        self._events = [*self._events, (at, int(code))][-OWN_EVENTS:]

    def events(self) -> list[tuple[int, int]]:
        """(what the clock showed as UTC, code): the utility's rounds of a year, then what happened to this meter."""
        rounds: list[tuple[int, int]] = []
        at = truth.disciplined(self.seed, self.number, self.now())
        while len(rounds) < 24 and at > truth.INSTALLED:
            error = truth.clock_error(self.seed, self.number, at - 1)
            rounds += [(at, int(Event.CLOCK_IS)), (at + error, int(Event.CLOCK_WAS))]
            at -= truth.DISCIPLINED_EVERY
        return [*reversed(rounds), *self._events]
