"""Rows of a profile become readings: what the store cannot keep is refused here, for the meter that sent it."""

from datetime import UTC, datetime

import pytest

from dcu.collect.layout import Captured, ProfileLayout
from dcu.cosem import axdr
from dcu.cosem.axdr import BitString, Data, Tag
from dcu.cosem.datetimes import CosemDateTime, TimeZoneRule
from dcu.errors import MalformedAnswer
from dcu.store import rows

AT = 1_763_600_400
LAYOUT = ProfileLayout(
    3600, 0, 1, tuple(Captured(name, 0) for name in ("8,0-0:1.0.0*255,2", "1,0-0:96.10.1*255,2", "3,1-0:1.8.0*255,2"))
)


def row(status, value):
    when = CosemDateTime.from_utc(datetime.fromtimestamp(AT, UTC), TimeZoneRule())
    return axdr.encode(axdr.array([axdr.structure(axdr.octets(when.encode()), status, value)]))


def test_a_boolean_status_is_kept_as_a_number():
    (reading,) = LAYOUT.readings(row(Data(Tag.BOOLEAN, True), axdr.u32(7)), TimeZoneRule())
    assert type(reading.status) is int
    assert rows.unpack(AT, rows.pack(reading)) == reading


@pytest.mark.parametrize("status", [axdr.octets(b"\x01"), axdr.visible("1"), axdr.float32(1.0)], ids=str)
def test_a_status_of_another_type_is_refused(status):
    with pytest.raises(MalformedAnswer, match="status"):
        LAYOUT.readings(row(status, axdr.u32(7)), TimeZoneRule())


def test_a_number_that_the_store_cannot_keep_is_refused():
    wide = Data(Tag.BIT_STRING, BitString(72, b"\xff" * 9))
    for status, value in ((wide, axdr.u32(7)), (axdr.u8(0), wide)):
        with pytest.raises(MalformedAnswer, match="64 bits"):
            LAYOUT.readings(row(status, value), TimeZoneRule())
