"""Our client brings an image into a meter made of the Gurux Java library, and fills the tables by which meters act.

What we write there goes through Gurux's own typed objects and comes back from them. Where a test meets a defect of its
own, it says so: "(gurux)".
"""

import hashlib

import pytest

from dcu.collect.jobs.image import Image, Phase, Transfer, Where, ordered
from dcu.cosem import axdr, catalogue, described, objects, schedules
from dcu.cosem.datetimes import TimeZoneRule
from dcu.cosem.image import CURRENT
from dcu.errors import JobError
from dcu.model import AttributeRef

from .gurux_java import meter

CONTEXT = "gmac, global key"


def confirms(row):
    return pytest.mark.conforms("Object", row, peer="Gurux Java server", link="wrapper")


async def carried(do, order, path, kept):
    async def keep(changed):
        kept.append(changed)

    where = Where(CURRENT, schedules.IMAGE_ACTIVATION, TimeZoneRule())
    return await Transfer(do, order, Image(path, order), where, keep, lambda share, text: None).run()


@confirms("image transfer")
async def test_an_image_goes_into_a_gurux_java_meter(gurux_meter, tmp_path):
    raw, path, kept = hashlib.shake_128(b"image").digest(7_777), tmp_path / "image", []
    path.write_bytes(raw)
    async with meter(gurux_meter, CONTEXT) as do:
        order = await carried(do, ordered(raw, identifier=b"image", activate=True), path, kept)
        assert order.phase is Phase.ACTIVE
    assert [each.phase for each in kept][-4:] == [Phase.VERIFYING, Phase.ACTIVATING, Phase.ACTIVATING, Phase.ACTIVE]
    assert hashlib.sha256(raw).hexdigest() in gurux_meter.say("state")


async def test_what_it_would_activate_is_not_what_was_ordered_and_nothing_is_activated(gurux_meter, tmp_path):
    raw, path = b"\1" * 1_000, tmp_path / "image"
    path.write_bytes(raw)
    async with meter(gurux_meter, CONTEXT) as do:
        with pytest.raises(JobError, match="the meter would activate"):
            await carried(do, ordered(raw, identifier=b"image", expected=b"another", activate=True), path, [])
    assert "ACTIVATION" not in gurux_meter.say("state")


TABLES = {
    "activity calendar": [
        ("20,0-0:13.0.0*255,6", "WINTER"),
        ("20,0-0:13.0.0*255,7", [["S1", "*-10-01 **:**", "W1"]]),
        ("20,0-0:13.0.0*255,8", [["W1", 1, 1, 1, 1, 1, 2, 2]]),
        ("20,0-0:13.0.0*255,9", [[1, [["06:00", "0-0:10.0.100*255", 1], ["22:00", "0-0:10.0.100*255", 2]]], [2, []]]),
    ],
    "special days table": [("11,0-0:11.0.0*255,2", [[1, "*-12-25", 2], [2, "2027-01-01", 2]])],
    "single action schedule": [
        ("22,0-0:15.0.2*255,2", ["0-0:10.0.107*255", 1]),
        ("22,0-0:15.0.2*255,4", [["02:30", "2027-03-04"]]),
    ],
    "limiter": [
        ("71,0-0:17.0.0*255,6", 300),
        ("71,0-0:17.0.0*255,9", [1, 2]),
        ("71,0-0:17.0.0*255,11", [["0-0:10.0.106*255", 1], ["0-0:10.0.106*255", 2]]),
    ],
}

TABLE_ROWS = {
    "activity calendar": "activity calendar, register activation",
    "special days table": "special days table",
    "single action schedule": "script table, single action schedule",
    "limiter": "limiter",
}


@pytest.mark.conforms("Object", lambda table: TABLE_ROWS[table], peer="Gurux Java server", link="wrapper")
@pytest.mark.parametrize("table", TABLES)
async def test_a_table_that_we_fill_comes_back_from_gurux_java(gurux_meter, table):
    async with meter(gurux_meter, CONTEXT) as do:
        for written, value in TABLES[table]:
            ref = AttributeRef.parse(written)
            raw = described.encoded(value, catalogue.interface_class(ref.class_id).attribute(ref.attribute))
            await do(lambda session, ref=ref, raw=raw: session.set(ref, raw))
            back = await do(lambda session, ref=ref: session.get(ref))
            meant = [objects.interpret(ref, axdr.decode(each)) for each in (back, raw)]
            assert meant[0] == meant[1], (written, back.hex(), raw.hex())  # (gurux) leaves hundredths of 0 out
