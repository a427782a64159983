"""What an application association is made with: SAPs, authentication, keys, the security policy per direction.

Frozen settings, shared by every session that uses them; nothing here changes while a session runs. `Refused` is the
other thing that both sides share: the count of what a session did not accept.

Source: DLMS Green Book (IEC 62056-5-3) clauses 4.2.2 (application context), 5.3 (security), 7.2 (association).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from dcu.cosem import general
from dcu.cosem.acse import ApplicationContext, Mechanism
from dcu.cosem.apdu import Conformance
from dcu.cosem.security import KEYED, Framing, Policy, Protection
from dcu.cosem.short_names import ShortNames
from dcu.credentials import MeterKeys, Secret
from dcu.errors import CounterReplayed, DcuError, MalformedAnswer, PolicyViolated, ServiceRefused, TagMismatch

UNPROTECTED = Policy(Protection.NONE, Protection.NONE)
AUTHENTICATED_ENCRYPTED = Policy(Protection.BOTH, Protection.BOTH)

SUPPORTED = (
    Conformance.PRIORITY_MANAGEMENT
    | Conformance.GET
    | Conformance.SET
    | Conformance.ACTION
    | Conformance.SELECTIVE_ACCESS
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.BLOCK_TRANSFER_WITH_GET
    | Conformance.BLOCK_TRANSFER_WITH_SET
    | Conformance.BLOCK_TRANSFER_WITH_ACTION
    | Conformance.ACCESS
    | Conformance.EVENT_NOTIFICATION
    | Conformance.DATA_NOTIFICATION
)

SUPPORTED_SHORT = (  # by short names
    Conformance.READ
    | Conformance.WRITE
    | Conformance.UNCONFIRMED_WRITE
    | Conformance.MULTIPLE_REFERENCES
    | Conformance.INFORMATION_REPORT
    | Conformance.PARAMETERIZED_ACCESS
    | Conformance.BLOCK_TRANSFER_WITH_GET  # with read
    | Conformance.BLOCK_TRANSFER_WITH_SET  # with write
)

MIN_PDU = 12  # the least that the standard lets anybody receive
MAX_PDU = 0xFFFF  # a 16-bit field


class Authentication(Enum):
    """How the two sides prove who they are. HLS is mutual (see `hls`); LLS sends the password as it is."""

    NONE = Mechanism.NONE
    LOW = Mechanism.LOW
    HIGH = Mechanism.HIGH  # a maker's own
    MD5 = Mechanism.HIGH_MD5
    SHA1 = Mechanism.HIGH_SHA1
    GMAC = Mechanism.HIGH_GMAC
    SHA256 = Mechanism.HIGH_SHA256
    ECDSA = Mechanism.HIGH_ECDSA

    @property
    def high(self) -> bool:
        return self not in (Authentication.NONE, Authentication.LOW)

    @property
    def titled(self) -> bool:
        """Whether what proves names both system titles."""
        return self in (Authentication.GMAC, Authentication.SHA256, Authentication.ECDSA)

    @property
    def secret(self) -> bool:
        """Whether it rests on the password."""
        return self in _BY_SECRET


_BY_SECRET = (Authentication.LOW, Authentication.HIGH, Authentication.MD5, Authentication.SHA1, Authentication.SHA256)
Manufacturer = Callable[[Secret, bytes], bytes]  # HLS 2: from the secret and a challenge, the answer to it


@dataclass(frozen=True, slots=True)
class Association:
    """The client's settings for one association with one meter.

    keys.system_title may be b"" (unknown) only where nothing is ciphered and HLS is not used.
    max_pdu: what we receive; max_answer: what the blocks of one answer may add up to.
    short: by short names (SN), where a `ShortSession` is needed; else by logical names.
    broadcast: requests under the broadcast key, which nobody answers; pre-established.
    user: who of our users asks, where the meter keeps a list of them (user_id, 0..255).
    protected_release: False for meters that neither take nor give user information in RLRQ and RLRE.
    """

    client_sap: int
    server_sap: int
    authentication: Authentication = Authentication.NONE
    keys: MeterKeys | None = None
    client_title: bytes = b""
    policy: Policy = UNPROTECTED
    dedicated: bool = False
    max_pdu: int = MAX_PDU
    conformance: Conformance = SUPPORTED
    max_answer: int = 8 << 20
    protected_release: bool = True
    manufacturer: Manufacturer | None = None
    framing: Framing = Framing.GLOBAL
    signed: bool = False
    short: bool = False
    user: int | None = None
    broadcast: bool = False

    def __post_init__(self) -> None:
        _check(self)
        if self.user is not None and not 0 <= self.user <= 0xFF:
            raise ValueError(f"user {self.user}: 0..255")
        if not (self.titled or self.dedicated):
            return
        if self.keys is None or len(self.keys.system_title) != 8:
            raise ValueError("ciphering and HLS 5, 6 and 7 need the meter's keys and its 8-byte system title")
        if len(self.client_title) != 8:
            raise ValueError("ciphering and HLS 5, 6 and 7 need a client system title of 8 bytes")
        if self.client_title == self.keys.system_title:
            raise ValueError("client and meter have the same system title: nonces would be used twice")
        if self.dedicated and self.broadcast:
            raise ValueError("a broadcast has no dedicated key")
        if self.dedicated and self.framing in KEYED:
            raise ValueError("general-ciphering takes the key that each frame tells of: there is no dedicated one")
        if self.dedicated and not self.policy.request.covers(Protection.BOTH):
            raise ValueError(
                "a dedicated key is sent in the initiate request: the policy must authenticate and encrypt requests"
            )

    @property
    def ciphered(self) -> bool:
        return bool(self.policy.request or self.policy.response)

    @property
    def secured(self) -> bool:
        """Whether symmetric keys and invocation counters are needed."""
        return self.ciphered or self.authentication is Authentication.GMAC

    @property
    def titled(self) -> bool:
        """Whether both system titles are needed."""
        return self.ciphered or self.authentication.titled

    @property
    def context(self) -> ApplicationContext:
        return _context(self.short, self.ciphered)

    @property
    def proposed(self) -> Conformance:
        return _offered(self, SUPPORTED_SHORT if self.short else self.conformance)

    @property
    def server_title(self) -> bytes:
        """The meter's configured system title, b"" where it is unknown."""
        return self.keys.system_title if self.keys else b""


@dataclass(frozen=True, slots=True)
class ServerAssociation:
    """A server's settings for one client SAP.

    keys: the server's own (system_title is the server's); client_title: the only client accepted, or None for any
    that holds the keys. policy: what requests must have at least, and what responses are given. pre_established: it
    stands without AARQ. broadcast: that is under the broadcast key, and never answered. users: who may (user_id);
    empty: whoever authenticates, and nobody is asked who he is.
    """

    authentication: Authentication = Authentication.NONE
    keys: MeterKeys | None = None
    client_title: bytes | None = None
    policy: Policy = UNPROTECTED
    max_pdu: int = MAX_PDU
    conformance: Conformance = SUPPORTED
    manufacturer: Manufacturer | None = None
    framing: Framing = Framing.GLOBAL
    signed: bool = False
    names: ShortNames | None = None
    pre_established: bool = False
    users: frozenset[int] = frozenset()
    broadcast: bool = False

    def __post_init__(self) -> None:
        _check(self)
        if self.pre_established and self.authentication is not Authentication.NONE:
            raise ValueError("a pre-established association has no handshake: nobody authenticates")
        if self.pre_established and self.ciphered and self.client_title is None:
            raise ValueError("a pre-established association that is ciphered needs the client's system title")
        if self.broadcast and not self.pre_established:
            raise ValueError("nobody opens an association by broadcast: it is pre-established")
        if self.titled and (self.keys is None or len(self.keys.system_title) != 8):
            raise ValueError("ciphering and HLS 5, 6 and 7 need keys and an 8-byte system title")

    @property
    def ciphered(self) -> bool:
        return bool(self.policy.request or self.policy.response)

    @property
    def secured(self) -> bool:
        return self.ciphered or self.authentication is Authentication.GMAC

    @property
    def titled(self) -> bool:
        return self.ciphered or self.authentication.titled

    @property
    def context(self) -> ApplicationContext:
        return _context(self.names is not None, self.ciphered)

    @property
    def granted(self) -> Conformance:
        return _offered(self, self.conformance if self.names is None else SUPPORTED_SHORT)


def _context(short: bool, ciphered: bool) -> ApplicationContext:
    if short:
        return ApplicationContext.SN_CIPHERED if ciphered else ApplicationContext.SN
    return ApplicationContext.LN_CIPHERED if ciphered else ApplicationContext.LN


def _offered(terms: "Association | ServerAssociation", services: Conformance) -> Conformance:
    """What a side can do: general protection, too, where it is to be used; a peer may use it only if that is agreed."""
    general_too = terms.framing is not Framing.GLOBAL or terms.signed
    return services | Conformance.GENERAL_PROTECTION if general_too else services


def _check(terms: "Association | ServerAssociation") -> None:
    """What holds for both sides. Raises ValueError."""
    authentication, keys, max_pdu = terms.authentication, terms.keys, terms.max_pdu
    general.check_keys(keys, terms.framing, signed=terms.signed)
    if terms.framing in (Framing.DEDICATED, Framing.GENERAL_DEDICATED):
        raise ValueError("the dedicated key takes the place of the global one by itself: say GLOBAL or GENERAL_GLOBAL")
    if (terms.framing is not Framing.GLOBAL or terms.signed) and not terms.policy.authentic:
        raise ValueError("general protection needs a policy that authenticates both ways: it does not count by itself")
    if terms.broadcast and not (keys and keys.broadcast and terms.policy.request.authentic):
        raise ValueError("a broadcast needs the broadcast key, and a policy that authenticates requests")
    if terms.broadcast and (authentication is not Authentication.NONE or terms.framing in KEYED or terms.signed):
        raise ValueError("a broadcast is under the broadcast key alone: no handshake, no other key, no signature")
    if not MIN_PDU <= max_pdu <= MAX_PDU:
        raise ValueError(f"a max PDU of {max_pdu} bytes: {MIN_PDU}..{MAX_PDU}")
    if authentication.secret and not (keys and keys.password):
        name = "low-level" if authentication is Authentication.LOW else f"HLS {authentication.value.value}"
        raise ValueError(f"{name} authentication needs a password")
    if authentication is Authentication.HIGH and terms.manufacturer is None:
        raise ValueError("HLS 2 is a maker's own: say how its answer is made")
    if authentication is Authentication.HIGH and terms.manufacturer and keys and keys.password:
        terms.manufacturer(keys.password, bytes(16))  # a secret that it does not take is found here, not at the meter
    if authentication is Authentication.ECDSA and not (keys and keys.suite and keys.signing):
        raise ValueError("HLS 7 needs security suite 1 or 2, a signing key of ours and the other side's public one")


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on. server_max_pdu: what the server takes (0: no limit); server_title: b"" if unsaid."""

    conformance: Conformance
    server_max_pdu: int
    server_title: bytes


class StaleAnswer(MalformedAnswer):
    """An answer that fits another request: the late answer to one that was given up, or a copy."""


class UnfitChallenge(PolicyViolated):
    """A challenge that is not answered, because that would sign an APDU. A random one may look like it by chance."""


@dataclass(slots=True)
class Refused:
    """Frames that a session did not accept, by cause.

    `last` is why the latest was refused. It comes from an unauthenticated frame: a hint for people, no fact.
    """

    tag: int = 0
    counter: int = 0
    policy: int = 0
    stale: int = 0  # the answer to an earlier request
    malformed: int = 0
    last: DcuError | None = field(default=None, repr=False)

    def add(self, error: DcuError) -> None:
        self.last = bare(error)
        if isinstance(error, TagMismatch):
            self.tag += 1
        elif isinstance(error, CounterReplayed):
            self.counter += 1
        elif isinstance(error, PolicyViolated | ServiceRefused):
            self.policy += 1
        elif isinstance(error, StaleAnswer):
            self.stale += 1
        else:
            self.malformed += 1

    @property
    def total(self) -> int:
        return self.tag + self.counter + self.policy + self.stale + self.malformed


def bare(error: DcuError) -> DcuError:
    """A copy of `error` to keep: without traceback and causes, whose frames hold what was deciphered."""
    kept = type(error).__new__(type(error), *error.args)
    vars(kept).update(vars(error))
    return kept


class Floors(Protocol):
    """The highest invocation counter accepted from each peer under one key; -1 where there was none yet.

    It outlives associations: whoever changes the key starts a new one.
    """

    def floor(self, title: bytes) -> int: ...

    def accept(self, title: bytes, counter: int) -> None: ...


class MemoryFloors:
    """Floors in memory. It grows only with peers that hold the key."""

    __slots__ = ("_floors",)

    def __init__(self, floors: Mapping[bytes, int] | None = None) -> None:
        self._floors = dict(floors or {})

    def floor(self, title: bytes) -> int:
        return self._floors.get(title, -1)

    def accept(self, title: bytes, counter: int) -> None:
        self._floors[title] = counter


class BroadcastFloors:
    """The floors of the broadcast key, beside those of the unicast one: a client counts under each by itself."""

    __slots__ = ("_floors",)

    def __init__(self, floors: Floors) -> None:
        self._floors = floors

    def floor(self, title: bytes) -> int:
        return self._floors.floor(title + _BROADCAST)

    def accept(self, title: bytes, counter: int) -> None:
        self._floors.accept(title + _BROADCAST, counter)


_BROADCAST = b"broadcast"  # behind a title: no title is so long

Counter = Callable[[], int]  # a call gives an invocation counter never used before; where it raises, nothing is sent
