"""The part of the registry that reads what a meter says of its images and schedules."""

from dcu.cosem.image import decode_held, decode_to_activate
from dcu.cosem.schedules import decode_script, decode_times

from .engine import Target


def held(data):
    return sum(decode_held(data))


def to_activate(data):
    return tuple(each.size for each in decode_to_activate(data))


TARGETS = (
    Target("image-held", held, (b"\x04\x09\xa0\x80", b"\x04\x00"), ("dcu.cosem.image.decode_held",)),
    Target(
        "image-to-activate",
        to_activate,
        (bytes.fromhex("010102030600004e20090347444d0902abcd"),),
        ("dcu.cosem.image.decode_to_activate",),
    ),
    Target(
        "schedule-script",
        decode_script,
        (bytes.fromhex("0202090600000a006bff120001"),),
        ("dcu.cosem.schedules.decode_script",),
    ),
    Target(
        "schedule-times",
        decode_times,
        (bytes.fromhex("010102020904160000000905ffff0c18ff"),),
        ("dcu.cosem.schedules.decode_times",),
    ),
)
