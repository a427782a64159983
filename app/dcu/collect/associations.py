"""From a meter profile to the associations that a meter is opened with: ours, and the public client's."""

from dcu.collect.decoding import decoding
from dcu.collect.meter_profile import MeterProfile
from dcu.collect.services import Services
from dcu.cosem import objects
from dcu.cosem.apdu import Conformance
from dcu.cosem.association import SUPPORTED, Association, Authentication, Counter, Manufacturer
from dcu.cosem.client import ClientSession
from dcu.cosem.hls import MANUFACTURERS
from dcu.cosem.security import Framing, Policy, Protection
from dcu.cosem.short_names import ShortNames
from dcu.errors import ConfigError, MalformedAnswer
from dcu.model import AttributeRef

PROTECTION = {
    "none": Protection.NONE,
    "authenticated": Protection.AUTHENTICATED,
    "encrypted": Protection.ENCRYPTED,
    "authenticated+encrypted": Protection.BOTH,
}
FRAMINGS = {
    "service": Framing.GLOBAL,
    "general": Framing.GENERAL_GLOBAL,
    "identified": Framing.IDENTIFIED,
    "wrapped": Framing.WRAPPED,
    "one-pass": Framing.ONE_PASS,
    "static": Framing.STATIC,
}
DATA = 1  # interface class of the counter object


def secured(name: str, profile: MeterProfile, services: Services) -> Association:
    """Raises KeysError, ConfigError. It holds the keys: keep it no longer than the session."""
    security = profile.security
    needs_keys = security.ciphered or security.authentication != "none"
    try:
        return Association(
            client_sap=profile.addresses.client,
            server_sap=profile.addresses.server,
            authentication=Authentication[security.authentication.upper()],
            keys=services.keys.meter(name) if needs_keys else None,
            client_title=services.client_title,
            policy=Policy(PROTECTION[security.request], PROTECTION[security.response]),
            dedicated=security.dedicated_key,
            framing=FRAMINGS[security.framing],
            signed=security.signed,
            max_pdu=profile.session.max_pdu,
            conformance=_conformance(profile),
            short=_short(profile),
            user=user(profile),
            manufacturer=manufacturer(Authentication[security.authentication.upper()], profile),
        )
    except ValueError as error:
        raise ConfigError(f"{name}, meter profile {profile.name}: {error}") from None


def manufacturer(kind: Authentication, profile: MeterProfile) -> Manufacturer | None:
    """How the maker of this family has the answer of HLS 2 made; None where it is not used."""
    return MANUFACTURERS[profile.security.manufacturer] if kind is Authentication.HIGH else None


def user(profile: MeterProfile) -> int | None:
    """Which of the client's users we say that we are; None: we do not say."""
    return profile.addresses.user if profile.addresses.user >= 0 else None


def authenticated(profile: MeterProfile) -> bool:
    """Whether every answer of the meter is authenticated."""
    return PROTECTION[profile.security.response].authentic


def public(profile: MeterProfile) -> Association:
    addresses, session = profile.addresses, profile.session
    return Association(addresses.public, addresses.server, max_pdu=session.max_pdu, short=_short(profile))


def fresh_by_floor(settings: Association) -> bool:
    """Whether nothing but the meter's counter tells a recorded answer from a new one: it has to be remembered."""
    return settings.policy.response.authentic and not settings.authentication.high


def session(
    settings: Association,
    counter: Counter,
    *,
    lossy: bool,
    names: ShortNames | None = None,
    floor: int = -1,
    unproven: bool = False,
) -> ClientSession:
    """A client's session. names: the meter's short names, where they are known and it goes by them.

    floor: the meter's counter as earlier associations have seen it; it counts where `fresh_by_floor`. unproven: what is
    read is believed no further than if anybody had said it.

    Raises ConfigError: short names alone carry nothing that tells a late answer from the one that is due.
    """
    floor = floor if fresh_by_floor(settings) else -1
    if not settings.short:
        return ClientSession(settings, counter=counter, lossy=lossy, receive_floor=floor)
    if lossy and not (unproven or settings.policy.authentic):
        raise ConfigError(
            "short names over UDP: a late answer would pass for another: use TCP, HDLC or a serial line, or a policy "
            "that authenticates requests and responses"
        )
    from dcu.cosem.short import ShortSession  # memory: few meters go by short names

    return ShortSession(settings, counter=counter, names=names, receive_floor=floor, lossy=lossy, unproven=unproven)


def _short(profile: MeterProfile) -> bool:
    return profile.session.referencing == "sn"


def _conformance(profile: MeterProfile) -> Conformance:
    return SUPPORTED | Conformance.GENERAL_BLOCK_TRANSFER if profile.session.general_blocks else SUPPORTED


def counter_object(profile: MeterProfile) -> AttributeRef:
    return AttributeRef(DATA, profile.counter_object, 2)


def counter_value(raw: bytes) -> int:
    """Raises MalformedAnswer."""
    with decoding("the invocation counter object"):
        value = objects.decode_int(raw)
    if not 0 <= value <= 0xFFFFFFFF:
        raise MalformedAnswer("the invocation counter object holds no counter")
    return value
