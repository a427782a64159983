"""The options by which every command names a meter, and what they say together with the meter's family.

What an option leaves open the family decides (--family: a meter profile by name, or a TOML file); where neither says
anything, the meter is spoken to as the public client, without security. Secrets come from the keys file alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from dcu.cli.carriers import LINK_OPTIONS, ONLY_HERE, Carrier, carrier
from dcu.cli.collector import FILE, socket_option
from dcu.cli.counters import own_title
from dcu.cli.output import note
from dcu.collect.associations import FRAMINGS, manufacturer
from dcu.collect.associations import user as user_of
from dcu.collect.meter_profile import Families, MeterProfile, load
from dcu.cosem.apdu import Conformance
from dcu.cosem.association import (
    AUTHENTICATED_ENCRYPTED,
    MAX_PDU,
    SUPPORTED,
    UNPROTECTED,
    Association,
    Authentication,
)
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.security import Policy, Protection
from dcu.errors import ConfigError
from dcu.keys import keysfile

_CIPHERING = (Authentication.GMAC, Authentication.ECDSA)  # what ciphers unless a family says otherwise
F = TypeVar("F", bound=Callable[..., Any])

DIRECT = (
    "client",
    "server",
    "user",
    "auth",
    "ciphered",
    "short",
    "general_blocks",
    "dedicated",
    "protection",
    "general_signing",
    "pre_established",
    "broadcast",
    "keys_path",
    *ONLY_HERE,
)  # what a link of our own asks for
TIMEOUT = 10.0  # seconds for one answer


class Seconds(click.FloatRange):
    """A range that does not let `nan` through, which is neither below nor above anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        return self.fail(f"{value!r} is no number.", param, ctx) if number != number else number


_SAP = click.IntRange(1, 0xFFFF)
_OPTIONS = (
    *LINK_OPTIONS,
    click.option("--meter", metavar="NAME", help="A meter of the running collector, instead of where it is."),
    click.option(
        "--family",
        metavar="NAME|FILE",
        help="The meter's profile, for what is not said here: client, server, authentication, time zone.",
    ),
    click.option("--client", type=_SAP, metavar="SAP", help="Who we are. [default: the family's, else 16: public]"),
    click.option("--server", type=_SAP, metavar="SAP", help="The logical device. [default: the family's, else 1]"),
    click.option(
        "--user",
        type=click.IntRange(0, 255),
        metavar="ID",
        help="Which of the client's users we are, where the meter keeps a list of them.",
    ),
    click.option(
        "--auth",
        type=click.Choice(["none", "low", "high", "md5", "sha1", "gmac", "sha256", "ecdsa"]),
        help="How we authenticate; gmac (HLS 5) and ecdsa (HLS 7) also cipher. [default: the family's, else none]",
    ),
    click.option("--ciphered", is_flag=True, help="Cipher whatever --auth is: authenticated and encrypted."),
    click.option("--sn", "short", is_flag=True, help="Short-name referencing; over UDP where it is ciphered."),
    click.option("--general-blocks", is_flag=True, help="Offer general-block-transfer: long answers come in windows."),
    click.option("--dedicated", is_flag=True, help="Cipher with a fresh key, made for this association."),
    click.option(
        "--protection",
        type=click.Choice(tuple(FRAMINGS)),
        help="How services are ciphered: glo-, general-glo-, or general-ciphering with a key that is identified, "
        "wrapped, or agreed (one-pass C(1e,1s), static C(0e,2s)). [default: the family's, else service]",
    ),
    click.option("--general-signing", is_flag=True, help="Sign every request, and take signed answers only."),
    click.option(
        "--pre-established",
        is_flag=True,
        help="Use an association that stands without a handshake; what it ciphers is held against the meter's counter.",
    ),
    click.option(
        "--broadcast",
        is_flag=True,
        help="Under the broadcast key, pre-established: for `write` and `action`, of which nobody answers any.",
    ),
    click.option(
        "--keys",
        "keys_path",
        type=FILE,
        metavar="FILE",
        help="Secrets (TOML): the meter's system_title, guek, gak, password, suite and its keys; our client_title.",
    ),
    click.option(
        "--timeout",
        type=Seconds(0.1, 600),
        metavar="SECONDS",
        help="How long to wait for one answer (with a collector: for everything). [default: 10; 300]",
    ),
)


def meter_options(function: F) -> F:
    """They arrive as keyword arguments for `dcu.cli.access.open_access`."""
    function = socket_option(function)
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Target:
    """Where a meter is and how to speak to it. rule: its clock's, None where no family tells."""

    carrier: Carrier
    association: Association
    family: MeterProfile
    rule: TimeZoneRule | None
    timeout: float
    pre_established: bool = False

    def named(self, association: Association) -> str:
        """The address, and between whom: what an error says."""
        return f"{self.carrier}, client {association.client_sap}, server {association.server_sap}"


def family_named(name: str | None) -> MeterProfile | None:
    """A meter profile by name, or from a file ending in .toml. Raises ConfigError."""
    if name is None:
        return None
    return load(Path(name)) if name.endswith(".toml") else Families().get(name)


def target(
    *,
    client: int | None,
    server: int | None,
    user: int | None,
    auth: str | None,
    ciphered: bool,
    short: bool,
    general_blocks: bool,
    dedicated: bool,
    protection: str | None,
    general_signing: bool,
    pre_established: bool,
    broadcast: bool,
    keys_path: Path | None,
    family: str | None,
    timeout: float | None,
    **link: Any,
) -> Target:
    """What the options say. Raises ConfigError."""
    named = family_named(family)
    known = _protecting(named or MeterProfile(name=""), protection, signed=general_signing)
    way = carrier(hdlc=known.hdlc, **link)
    client = client or (known.addresses.client if named else known.addresses.public)
    if auth is None:
        auth = known.security.authentication if named and client != known.addresses.public else "none"
    size = known.session.max_pdu if named else MAX_PDU
    plain = Association(
        client,
        server or known.addresses.server,
        max_pdu=size,
        conformance=SUPPORTED | Conformance.GENERAL_BLOCK_TRANSFER
        if general_blocks or known.session.general_blocks
        else SUPPORTED,
        short=short or known.session.referencing == "sn",
        user=user_of(known) if user is None and client != known.addresses.public else user,
    )
    kind = Authentication[auth.upper()]
    policy = _policy(kind, named, ciphered=ciphered, public=client == known.addresses.public)
    if policy == UNPROTECTED and (dedicated or protection or general_signing):
        asked = "--dedicated" if dedicated else "--protection" if protection else "--general-signing"
        how = kind.name.lower()
        raise ConfigError(f"{asked} is for --auth gmac, --auth ecdsa or --ciphered: with {how} nothing is ciphered")
    association = _secured(plain, kind, policy, keys_path, dedicated=dedicated, family=known)
    wait = timeout or (known.session.timeout if named else TIMEOUT)
    if broadcast:
        if plain.short:
            raise ConfigError("--broadcast: short names are the meter's own, and nobody answers what they are")
        association, pre_established = _broadcast(association, keys_path), True
        way = _to_all(way)
    if pre_established and (association.authentication is not Authentication.NONE or association.dedicated):
        raise ConfigError(
            "--pre-established: there is no handshake, so neither --auth nor --dedicated (but --ciphered)"
        )
    return Target(way, association, known, named.time_rule if named else None, wait, pre_established)


def _protecting(family: MeterProfile, protection: Any, *, signed: bool) -> MeterProfile:
    """The family with what is said here of how services are protected."""
    security = family.security
    framing = protection or security.framing
    return msgspec.structs.replace(
        family, security=msgspec.structs.replace(security, framing=framing, signed=signed or security.signed)
    )


def _to_all(way: Carrier) -> Carrier:
    """Over HDLC: all meters of the line. By the wrapper a broadcast is for who has the address. Raises ConfigError."""
    if way.reach.physical is not None or way.mode_e:
        raise ConfigError("--broadcast is for all meters of the line: leave --physical and --mode-e out")
    return replace(way, broadcast=way.reach.hdlc)


def _broadcast(association: Association, keys_path: Path | None) -> Association:
    """Raises ConfigError."""
    if keys_path is None:
        raise ConfigError("--broadcast needs --keys FILE, with the broadcast_key")
    keys = keysfile.load(keys_path)
    title = keys.client_title or own_title()
    try:
        return replace(
            association,
            keys=keys.meter_keys(),
            client_title=title,
            policy=AUTHENTICATED_ENCRYPTED,
            framing=FRAMINGS["service"],
            signed=False,
            broadcast=True,
        )
    except ValueError as error:
        raise ConfigError(f"{keys_path}: {error}") from None


def _policy(kind: Authentication, family: MeterProfile | None, *, ciphered: bool, public: bool) -> Policy:
    """The least protection: what the family says of the authentication that it names, else as it is usual with it.

    public: it is the family's public client, which has no keys.
    """
    if ciphered:
        return AUTHENTICATED_ENCRYPTED
    security = (family or MeterProfile(name="")).security
    if kind not in _CIPHERING and (family is None or public or kind.name.lower() != security.authentication):
        return UNPROTECTED
    return Policy(_protection(security.request), _protection(security.response))


def _secured(
    plain: Association,
    kind: Authentication,
    policy: Policy,
    keys_path: Path | None,
    *,
    dedicated: bool,
    family: MeterProfile,
) -> Association:
    how = kind.name.lower()
    if kind is Authentication.NONE and policy == UNPROTECTED:
        return plain
    if keys_path is None:
        raise ConfigError(f"authentication {how} needs --keys FILE: secrets are never given on the command line")
    keys = keysfile.load(keys_path)
    for warning in keys.warnings:
        note(warning)
    if kind.secret:
        keys.low_password()  # says what is missing
    if kind is Authentication.ECDSA:
        keys.require_signing()
    ciphering = policy != UNPROTECTED or kind is Authentication.GMAC
    titled = ciphering or kind.titled
    try:
        return replace(
            plain,
            authentication=kind,
            keys=keys.meter_keys() if ciphering else keys.proving_keys(),
            client_title=(keys.client_title or own_title()) if titled else b"",
            policy=policy,
            dedicated=dedicated or (family.security.dedicated_key and policy != UNPROTECTED),
            manufacturer=manufacturer(kind, family),
            framing=FRAMINGS[family.security.framing if policy != UNPROTECTED else "service"],
            signed=family.security.signed and policy != UNPROTECTED,
        )
    except ValueError as error:
        raise ConfigError(f"{keys_path}: {error}") from None


def _protection(written: str) -> Protection:
    return Protection.BOTH if written == "authenticated+encrypted" else Protection[written.upper()]
