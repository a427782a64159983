"""The options by which every command names a meter, and what they say together with the meter's family.

What an option leaves open the family decides (--family: a meter profile by name, or a TOML file); where neither says
anything, the meter is spoken to as the public client, without security. Secrets come from the keys file alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from dcu.cli.carriers import LINK_OPTIONS, ONLY_HERE, Carrier, carrier
from dcu.cli.collector import FILE, socket_option
from dcu.cli.counters import own_title
from dcu.cli.output import note
from dcu.collect.meter_profile import Families, MeterProfile, load
from dcu.cosem.association import MAX_PDU, UNPROTECTED, Association, Authentication
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.security import Policy, Protection
from dcu.credentials import MeterKeys, Secret
from dcu.errors import ConfigError
from dcu.keys import keysfile

F = TypeVar("F", bound=Callable[..., Any])

DIRECT = ("client", "server", "auth", "dedicated", "keys_path", *ONLY_HERE)  # what only a link of our own asks for
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
        "--auth",
        type=click.Choice(["none", "low", "gmac"]),
        help="How we authenticate; gmac (HLS 5) also ciphers. [default: the family's, else none]",
    ),
    click.option("--dedicated", is_flag=True, help="Cipher with a fresh key, made for this association."),
    click.option(
        "--keys",
        "keys_path",
        type=FILE,
        metavar="FILE",
        help="Secrets (TOML): system_title, guek, gak of the meter, password; client_title is ours.",
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
    auth: str | None,
    dedicated: bool,
    keys_path: Path | None,
    family: str | None,
    timeout: float | None,
    **link: Any,
) -> Target:
    """What the options say. Raises ConfigError."""
    named = family_named(family)
    known = named or MeterProfile(name="")
    way = carrier(hdlc=known.hdlc, **link)
    client = client or (known.addresses.client if named else known.addresses.public)
    if auth is None:
        auth = known.security.authentication if named and client != known.addresses.public else "none"
    size = known.session.max_pdu if named else MAX_PDU
    plain = Association(client, server or known.addresses.server, max_pdu=size)
    association = _secured(plain, Authentication[auth.upper()], known, keys_path, dedicated=dedicated)
    wait = timeout or (known.session.timeout if named else TIMEOUT)
    return Target(way, association, known, named.time_rule if named else None, wait)


def _secured(
    plain: Association, authentication: Authentication, family: MeterProfile, keys_path: Path | None, *, dedicated: bool
) -> Association:
    how = authentication.name.lower()
    if dedicated and authentication is not Authentication.GMAC:
        raise ConfigError(f"--dedicated is for --auth gmac: with {how} nothing is ciphered")
    if authentication is Authentication.NONE:
        return plain
    if keys_path is None:
        raise ConfigError(f"authentication {how} needs --keys FILE: secrets are never given on the command line")
    keys = keysfile.load(keys_path)
    for warning in keys.warnings:
        note(warning)
    if authentication is Authentication.LOW:
        only_password = MeterKeys(keys.system_title or b"", Secret(b""), Secret(b""), keys.low_password())
        return replace(plain, authentication=authentication, keys=only_password)
    if keys.suite:
        raise ConfigError(f"{keys_path}: key suite: 0 is the one suite that can be used so far")
    policy = Policy(_protection(family.security.request), _protection(family.security.response))
    try:
        return replace(
            plain,
            authentication=authentication,
            keys=keys.meter_keys(),
            client_title=keys.client_title or own_title(),
            policy=policy,
            dedicated=dedicated or (family.security.dedicated_key and policy != UNPROTECTED),
        )
    except ValueError as error:
        raise ConfigError(f"{keys_path}: {error}") from None


def _protection(written: str) -> Protection:
    return Protection.BOTH if written == "authenticated+encrypted" else Protection[written.upper()]
