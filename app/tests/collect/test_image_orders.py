"""Orders of images: what is refused before anything is sent."""

import msgspec
import pytest

from dcu.collect.jobs.image import Image, Order, checked, ordered
from dcu.cosem.image import LARGEST
from dcu.errors import ConfigError
from tests.collect.image_meter import BLOCK, RAW, an_order
from tests.collect.images import NAME


@pytest.mark.parametrize("damage", ["gone", "shorter", "another", "a false size"])
def test_an_image_that_is_not_that_of_the_order_is_never_sent(tmp_path, damage):
    path, order = tmp_path / "image", an_order()
    path.write_bytes({"shorter": RAW[:-1], "another": RAW[:-1] + b"\0"}.get(damage, RAW))
    if damage == "gone":
        path.unlink()
    if damage == "a false size":
        order = msgspec.structs.replace(order, size=len(RAW) + 1)
    told = "cannot be read: No such file" if damage == "gone" else "is not the image that was to be sent: send it anew"
    with pytest.raises(ConfigError, match=told):
        Image(path, order)


def sized(size):
    return Order(sha256="0" * 64, size=size, identifier=NAME, expected=NAME)


@pytest.mark.parametrize(("size", "wrong"), [(1, 0), (LARGEST, LARGEST + 1)])
def test_an_image_has_bytes_and_not_too_many(size, wrong):
    assert checked(sized(size)).size == size
    with pytest.raises(ConfigError, match=rf"an image of {wrong} bytes: it has 1 to {LARGEST}"):
        checked(sized(wrong))


@pytest.mark.parametrize(
    ("identifier", "expected", "good"),
    [
        (b"x", b"", True),
        (b"x" * 255, b"y" * 255, True),
        (b"", b"y", False),
        (b"x" * 256, b"y", False),
        (b"x", b"y" * 256, False),
    ],
)
def test_a_name_has_1_to_255_bytes(identifier, expected, good):
    if good:
        assert ordered(RAW, identifier=identifier, expected=expected).expected == (expected or identifier)
        return
    with pytest.raises(ConfigError, match="an image's identifier has 1 to 255 bytes"):
        ordered(RAW, identifier=identifier, expected=expected)


def test_a_time_has_to_come_and_none_is_at_once():
    assert checked(an_order(at=101), 100).at == 101
    assert checked(an_order(at=0), 100).at == 0
    with pytest.raises(ConfigError, match="the time of the activation has passed"):
        checked(an_order(at=100), 100)


def test_an_order_that_was_not_begun_has_no_blocks():
    assert an_order().count == 0
    assert an_order(block_size=BLOCK).count == 11
