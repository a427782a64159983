"""A prepayment token into a meter: through its token gateway (class 115), or the object that its maker has for that.

Which object, how the token is written and what its numbers mean says the meter profile (`[token]`). A token is entered
once: where no answer comes, what changes when a token arrives (`seen`) is read back before anything else is done. What
the meter makes of it is its own to say, and is asked for until it has made up its mind.

Source: DLMS Blue Book (IEC 62056-6-2) Token gateway (class 115); IEC 62055-41 clause 6.2 (20 digits for 66 bits).
"""

import asyncio
import re
from dataclasses import dataclass

from dcu.collect.jobs.effect import Deed, accomplish
from dcu.collect.meter_profile import TokenWay
from dcu.collect.scheduler import Job
from dcu.collect.services import Services
from dcu.cosem import axdr, catalogue, data
from dcu.cosem.asking import Asking
from dcu.cosem.data import BitString, Data
from dcu.cosem.exchange import Exchange
from dcu.errors import AccessDenied, ConfigError, DecodeError, JobError, LinkError
from dcu.model import AttributeRef, MethodRef, Priority

DIGITS = 20
_BITS = 66
LOOKS = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 20.0)  # seconds before each look at a token that is being worked on
_STATUS = "token_status"  # the catalogue's enumeration


@dataclass(frozen=True, slots=True)
class TokenReport:
    """accepted: None while the meter has not said; code: its own number; confirmed: whether it was seen to arrive."""

    accepted: bool | None
    code: int
    meaning: str
    confirmed: bool


Seen = tuple[bytes | None, ...]


def checked(text: str) -> str:
    """The twenty digits of a token, as people group them. Raises ConfigError, saying what is wrong."""
    digits = re.sub(r"[\s-]", "", text)
    for at, character in enumerate(digits, 1):
        if character not in "0123456789":
            raise ConfigError(f"a token has digits only: {character!r} stands at place {at}")
    if len(digits) != DIGITS:
        less = f"{DIGITS - len(digits)} missing" if len(digits) < DIGITS else f"{len(digits) - DIGITS} too many"
        raise ConfigError(f"a token has {DIGITS} digits, not {len(digits)}: {less}")
    if int(digits) >> _BITS:
        raise ConfigError(f"this is no token: its digits say more than {_BITS} bits hold; one of the first is wrong")
    return digits


def enter(session: Asking, way: TokenWay, digits: str) -> Exchange[None]:
    """Once: the caller reads back what it did."""
    parameter = axdr.encode(_written(digits, way))
    ref = AttributeRef.parse(way.call or way.write)
    if way.call:
        yield from session.action(MethodRef(ref.class_id, ref.obis, ref.attribute), parameter)
    else:
        yield from session.set(ref, parameter)


def seen(session: Asking, way: TokenWay) -> Exchange[Seen]:
    """What changes when a token arrives; None for what the meter does not let us read."""
    found: list[bytes | None] = []
    for written in way.seen:
        try:
            found.append((yield from session.get(AttributeRef.parse(written))))
        except AccessDenied:
            found.append(None)
    return tuple(found)


def result(session: Asking, way: TokenWay) -> Exchange[int]:
    """What the meter makes of the last token. Raises AccessDenied, DecodeError."""
    return _code((yield from session.get(AttributeRef.parse(way.status))))


def arrived(before: Seen, now: Seen) -> bool:
    """Whether a token came in between."""
    return any(was != is_ for was, is_ in zip(before, now, strict=True) if is_ is not None)


def meant(way: TokenWay, code: int, *, confirmed: bool) -> TokenReport:
    """What a result says."""
    own = way.meanings.get(str(code))
    known = catalogue.enumeration(_STATUS).get(code, "") if way.status.startswith("115,") else ""
    accepted = None if code in way.pending else code in way.accepted
    return TokenReport(accepted, code, own or known or f"code {code}", confirmed)


def unheard(error: LinkError) -> JobError:
    """It went in, and then the line ended."""
    return JobError(f"the token was entered; what the meter made of it is unknown, look at its credit ({error})")


def unsaid(*, confirmed: bool) -> TokenReport:
    """The meter does not tell what it made of it."""
    return TokenReport(None, -1, "the meter does not say", confirmed)


async def enter_token(services: Services, job: Job, digits: str, actor: str) -> TokenReport:
    """Raises JobError where it did not arrive, or nobody knows."""
    meter, way = job.meter, job.meter.profile.token
    before: Seen = await meter.run(lambda session: seen(session, way), Priority.COMMAND)

    async def look() -> Seen:
        return await meter.run(lambda session: seen(session, way), Priority.COMMAND)

    deed = Deed(
        actor,
        "token",
        f"…{digits[-4:]}",
        send=lambda session: enter(session, way, digits),
        look=look,
        shows=lambda now: arrived(before, now),
    )
    effect = await accomplish(services, job, deed)
    report = unsaid(confirmed=effect.confirmed)
    for wait in LOOKS:
        await asyncio.sleep(wait)
        try:
            code = await meter.run(lambda session: result(session, way), Priority.COMMAND)
        except (AccessDenied, DecodeError):  # it does not tell, or the profile names the wrong object
            break
        except LinkError as error:
            await services.store.audit(actor, "token", meter.name, f"…{digits[-4:]}: what became of it: {error}")
            raise unheard(error) from None
        report = meant(way, code, confirmed=effect.confirmed)
        if report.accepted is not None:
            break
    await services.store.audit(actor, "token", meter.name, f"…{digits[-4:]}: {report.meaning}")
    return report


def _written(digits: str, way: TokenWay) -> Data:
    if way.encoding == "text":
        return data.visible(digits)
    return data.octets(bytes.fromhex(digits) if way.encoding == "bcd" else digits.encode())


def _code(raw: bytes) -> int:
    """A number, or the first of a structure."""
    value = axdr.decode(raw).value
    if isinstance(value, tuple) and value:
        value = value[0].value
    if isinstance(value, BitString):
        value = value.number
    if isinstance(value, bool) or not isinstance(value, int):
        raise DecodeError("a token's result is a number")
    return value
