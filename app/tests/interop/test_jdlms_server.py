"""Our client reads a meter made of jDLMS (org.openmuc:jdlms, GPL-3.0), a stack that shares nothing with ours.

The meter is ci/interop/jdlms, built with Maven and run as a program of its own.
"""

from datetime import UTC, timedelta

import pytest

from dcu.cosem import profile
from dcu.cosem.association import AUTHENTICATED_ENCRYPTED, Association, Authentication
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.cosem.security import Policy, Protection
from dcu.credentials import MeterKeys, Secret
from dcu.errors import AccessDenied, DcuError, LinkClosed
from dcu.model import AttributeRef, MethodRef
from tests.cosem.small_meter import ASSOCIATED

from .jdlms import (
    ASSOCIATIONS,
    CLOCK,
    ENERGY,
    GAK,
    GUEK,
    LOAD_PROFILE,
    METER_TITLE,
    OUR_TITLE,
    RELAY,
    SECURED,
    SERIAL,
    START,
    Ports,
    session,
)

DEFECTS = {  # what jDLMS 1.8.0 as a server cannot do, seen on the wire
    "it drops an association with a dedicated key": Association(
        18,
        1,
        Authentication.GMAC,
        MeterKeys(METER_TITLE, GUEK, GAK),
        OUR_TITLE,
        AUTHENTICATED_ENCRYPTED,
        True,
        protected_release=False,
    ),
    "it encrypts what its security control calls authenticated only": Association(
        19,
        1,
        Authentication.GMAC,
        MeterKeys(METER_TITLE, GUEK, GAK),
        OUR_TITLE,
        Policy(Protection.AUTHENTICATED, Protection.AUTHENTICATED),
        protected_release=False,
    ),
}


def _clock(hours: int) -> CosemDateTime:
    return CosemDateTime.from_utc(START + timedelta(hours=hours), TimeZoneRule(UTC))


every_association = pytest.mark.parametrize("association", ASSOCIATIONS.values(), ids=ASSOCIATIONS)


@pytest.mark.conforms(
    "Association", lambda association: ASSOCIATED[association.authentication], peer="jDLMS server", link="wrapper"
)
@pytest.mark.conforms(
    "Protection",
    lambda association: "glo-, suite 0" if association.ciphered else "none",
    peer="jDLMS server",
    link="wrapper",
)
@every_association
async def test_registers_and_data_are_read(jdlms_meter: Ports, association: Association) -> None:
    async with session(jdlms_meter.wrapper, association) as meter:
        assert await meter.value(ENERGY) == 123456
        assert await meter.value(SERIAL) == b"40799390"


@every_association
async def test_a_profile_of_720_rows_comes_in_blocks(jdlms_meter: Ports, association: Association) -> None:
    async with session(jdlms_meter.wrapper, association) as meter:
        rows = profile.decode_rows(await meter.get(LOAD_PROFILE), TimeZoneRule(UTC), period=3600)
    assert rows == [(START + timedelta(hours=n), 1000 + 17 * n, 3 * n) for n in range(720)]


@every_association
async def test_a_profile_is_read_by_range_and_by_entry(jdlms_meter: Ports, association: Association) -> None:
    expected = [(START + timedelta(hours=n), 1000 + 17 * n, 3 * n) for n in range(24, 48)]
    by_range = profile.by_range(profile.CLOCK, _clock(24), _clock(47))
    async with session(jdlms_meter.wrapper, association) as meter:
        for selection in (by_range, profile.by_entry(25, 48)):
            raw = await meter.get(LOAD_PROFILE, selection)
            assert profile.decode_rows(raw, TimeZoneRule(UTC), period=3600) == expected


@every_association
async def test_the_relay_opens_and_closes(jdlms_meter: Ports, association: Association) -> None:
    state = AttributeRef(70, RELAY, 2)
    async with session(jdlms_meter.wrapper, association) as meter:
        await meter.act(MethodRef(70, RELAY, 1))
        assert await meter.value(state) is False
        await meter.act(MethodRef(70, RELAY, 2))
        assert await meter.value(state) is True


@pytest.mark.conforms(
    "Protection",
    lambda association: "ded-, suite 0" if association.dedicated else None,
    peer="jDLMS server",
    defect="it drops an association with a dedicated key",
)
@pytest.mark.parametrize("association", DEFECTS.values(), ids=DEFECTS)
async def test_a_defect_of_the_peer_still_stands(jdlms_meter: Ports, association: Association) -> None:
    """Should jDLMS mend one of these, this fails: then move the association to those that are read."""
    with pytest.raises(LinkClosed):
        async with session(jdlms_meter.wrapper, association):
            pytest.fail("associated")


async def test_an_object_that_is_not_there_is_denied_and_the_session_goes_on(jdlms_meter: Ports) -> None:
    async with session(jdlms_meter.wrapper, ASSOCIATIONS[SECURED]) as meter:
        with pytest.raises(AccessDenied):
            await meter.get(CLOCK)
        assert await meter.value(ENERGY) == 123456


@pytest.mark.parametrize("wrong", ["guek", "gak"])
async def test_a_wrong_key_is_told_and_reads_nothing(jdlms_meter: Ports, wrong: str) -> None:
    keys = {"guek": GUEK, "gak": GAK} | {wrong: Secret(bytes(16))}
    association = Association(
        18, 1, Authentication.GMAC, MeterKeys(METER_TITLE, **keys), OUR_TITLE, AUTHENTICATED_ENCRYPTED
    )
    with pytest.raises(DcuError):
        async with session(jdlms_meter.wrapper, association):
            pytest.fail("associated with a wrong key")
