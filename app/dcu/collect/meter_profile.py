"""Meter profiles: what is special about a meter family, as one TOML file each (`families/`, or a folder of one's own).

A profile says how a family is spoken to (addresses, authentication, policy), how its clock is to be understood, what
is polled, and its quirks. What a meter *holds* is never in it: the object list is read from the meter itself.
`families/generic.toml` explains every key.
"""

from collections.abc import Iterator
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from dcu import config
from dcu.cosem.datetimes import TimeZoneRule
from dcu.errors import ConfigError
from dcu.link.hdlc_parameters import MAX_INFORMATION, MAX_WINDOW
from dcu.model import AttributeRef, Obis

Protection = Literal["none", "authenticated", "encrypted", "authenticated+encrypted"]


class Addresses(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    client: int = 1
    server: int = 1
    public: int = 16
    user: int = -1


class Security(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    authentication: Literal["none", "low", "high", "md5", "sha1", "gmac", "sha256", "ecdsa"] = "gmac"
    manufacturer: Literal["aes-128"] = "aes-128"
    request: Protection = "authenticated+encrypted"
    response: Protection = "authenticated+encrypted"
    dedicated_key: bool = False
    framing: Literal["service", "general", "identified", "wrapped", "one-pass", "static"] = "service"
    signed: bool = False
    counter: str = "0-0:43.1.1*255"

    @property
    def ciphered(self) -> bool:
        """Whether this client spends invocation counters."""
        return self.authentication == "gmac" or self.request != "none"


class Session(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    referencing: Literal["ln", "sn"] = "ln"
    general_blocks: bool = False
    max_pdu: int = 1200
    timeout: float = 10.0
    idle: float = 60.0
    release: bool = False
    get_list: bool = True


class Hdlc(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    address_size: Literal[0, 1, 2, 4] = 0
    information: int = 1024
    window: int = 7
    negotiate: bool = True
    timeout: float = 2.0
    retries: int = 2
    inter_octet: float = 0.2


class Time(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    zone: str = "UTC"
    deviation_sign: Literal[1, -1] = 1
    deviation_valid: bool = True


class ClockRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    object: str = "0-0:1.0.0*255"
    adjust: Literal["shift", "set", "never"] = "shift"
    every: float = 86400.0
    tolerance: float = 3.0
    largest: float = 900.0


class Relay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    object: str = "0-0:96.3.10*255"


class ImageObjects(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    object: str = "0-0:44.0.0*255"
    schedule: str = "0-0:15.0.2*255"


class TokenWay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    call: str = "115,0-0:19.40.0*255,1"
    write: str = ""
    encoding: Literal["octets", "text", "bcd"] = "octets"
    status: str = "115,0-0:19.40.0*255,6"
    accepted: tuple[int, ...] = (3,)
    pending: tuple[int, ...] = (0, 1, 2, 8)
    seen: tuple[str, ...] = ("115,0-0:19.40.0*255,2", "115,0-0:19.40.0*255,3")
    meanings: dict[str, str] = {}


class Poll(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    profile: str
    every: float = 3600.0
    delay: float = 60.0
    scheduled: float = 86400.0
    history: float = 7 * 86400.0
    verify: float = 86400.0


class Quirks(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    selective_access: Literal["range", "entry"] = "range"
    rows_per_exchange: int = 0


class MeterProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, dict=True):
    """One meter family."""

    name: str
    description: str = ""
    addresses: Addresses = Addresses()
    security: Security = Security()
    session: Session = Session()
    hdlc: Hdlc = Hdlc()
    time: Time = Time()
    clock: ClockRules = ClockRules()
    relay: Relay = Relay()
    image: ImageObjects = ImageObjects()
    token: TokenWay = TokenWay()
    poll: tuple[Poll, ...] = ()
    quirks: Quirks = Quirks()

    @cached_property
    def time_rule(self) -> TimeZoneRule:
        return TimeZoneRule(ZoneInfo(self.time.zone), self.time.deviation_sign, self.time.deviation_valid)

    @cached_property
    def counter_object(self) -> Obis:
        return Obis.parse(self.security.counter)

    @cached_property
    def clock_object(self) -> Obis:
        return Obis.parse(self.clock.object)

    @cached_property
    def relay_object(self) -> Obis:
        return Obis.parse(self.relay.object)


def load(path: Path) -> MeterProfile:
    """Read and check one profile. Raises ConfigError."""
    return check(config.load(path, MeterProfile), str(path))


def check(profile: MeterProfile, where: str) -> MeterProfile:
    """Check what types cannot say. Raises ConfigError."""

    def require(holds: bool, key: str, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{where}: key {key}: {allowed}")

    for key, written in (
        ("security.counter", profile.security.counter),
        ("clock.object", profile.clock.object),
        ("relay.object", profile.relay.object),
        ("image.object", profile.image.object),
        ("image.schedule", profile.image.schedule),
        *((f"poll[{index}].profile", poll.profile) for index, poll in enumerate(profile.poll)),
    ):
        try:
            Obis.parse(written)
        except ConfigError as error:
            raise ConfigError(f"{where}: key {key}: {error}") from None
    token = profile.token
    require(bool(token.call) != bool(token.write), "token.call", "CLASS,OBIS,METHOD; or token.write: one of them")
    for key, written in (
        ("token.call", token.call or token.write),
        ("token.status", token.status),
        *(("token.seen", each) for each in token.seen),
    ):
        try:
            AttributeRef.parse(written)
        except ConfigError as error:
            raise ConfigError(f"{where}: key {key}: {error}") from None
    try:
        ZoneInfo(profile.time.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        require(False, "time.zone", f"{profile.time.zone!r} is no IANA zone such as UTC or Asia/Riyadh")
    for sap in ("client", "server", "public"):
        require(0 < getattr(profile.addresses, sap) <= 0xFFFF, f"addresses.{sap}", "1..65535")
    require(-1 <= profile.addresses.user <= 0xFF, "addresses.user", "-1 (none) .. 255")
    require(64 <= profile.session.max_pdu <= 0xFFFF, "session.max_pdu", "64..65535 bytes")
    require(profile.session.timeout > 0, "session.timeout", "seconds, above 0")
    require(profile.session.idle >= 0, "session.idle", "seconds, 0 or more")
    hdlc = profile.hdlc
    require(32 <= hdlc.information <= MAX_INFORMATION, "hdlc.information", f"32..{MAX_INFORMATION} bytes")
    require(1 <= hdlc.window <= MAX_WINDOW, "hdlc.window", f"1..{MAX_WINDOW} frames")
    require(hdlc.timeout > 0, "hdlc.timeout", "seconds, above 0")
    require(0 <= hdlc.retries <= 10, "hdlc.retries", "0..10")
    require(hdlc.inter_octet > 0, "hdlc.inter_octet", "seconds, above 0")
    rules = profile.clock
    require(0 < rules.tolerance <= rules.largest, "clock.tolerance", "seconds, above 0, at most clock.largest")
    require(rules.every >= 60, "clock.every", "seconds, 60 or more")
    require(0 <= profile.quirks.rows_per_exchange <= 10_000, "quirks.rows_per_exchange", "0 (automatic) .. 10000")
    for index, poll in enumerate(profile.poll):
        require(poll.every >= 1, f"poll[{index}].every", "seconds, 1 or more")
        require(0 <= poll.delay < poll.every, f"poll[{index}].delay", "seconds, 0 or more, below every")
        require(poll.verify > 0, f"poll[{index}].verify", "seconds, above 0")
        require(0 < poll.scheduled <= poll.history, f"poll[{index}].scheduled", "seconds, above 0, at most history")
    return profile


class Families:
    """The profiles by name: those that ship, then those of `folder`, which win."""

    def __init__(self, folder: Path | None = None) -> None:
        """Raises ConfigError."""
        self._profiles: dict[str, MeterProfile] = {}
        shipped = Path(str(files("dcu.collect") / "families"))
        for path in [*sorted(shipped.glob("*.toml")), *(sorted(folder.glob("*.toml")) if folder else ())]:
            profile = load(path)
            self._profiles[profile.name] = profile

    def __iter__(self) -> Iterator[MeterProfile]:
        return iter(self._profiles.values())

    def get(self, name: str) -> MeterProfile:
        """Raises ConfigError."""
        try:
            return self._profiles[name]
        except KeyError:
            known = ", ".join(sorted(self._profiles))
            raise ConfigError(f"no meter profile {name!r}; there are: {known}") from None
