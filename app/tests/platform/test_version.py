"""Versions compare as SWUpdate compares them: four numbers of 16 bits, and nothing else is a version."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import DecodeError
from dcu.platform.version import Version

numbers = st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=4)


def packed(parts):
    """SWUpdate's own comparison value (core/artifacts_versions.c)."""
    value = 0
    for part in parts:
        value = value << 16 | part
    return value << 16 * (4 - len(parts))


@given(numbers, numbers)
def test_the_order_is_swupdates(left, right):
    one, two = (Version.parse(".".join(map(str, parts))) for parts in (left, right))
    assert (one < two) == (packed(left) < packed(right))
    assert (one == two) == (packed(left) == packed(right))


def test_a_missing_number_is_zero_and_the_text_stays():
    assert Version.parse("1.2") == Version.parse("1.2.0.0")
    assert str(Version.parse("1.2")) == "1.2"
    assert str(Version((1, 2, 3, 0))) == "1.2.3.0"


@pytest.mark.parametrize(
    "text", ["", "1.", ".1", "1..2", "1.2.3.4.5", "1.65536", "1.2-rc1", "v1", "1 ", "１.2", "9" * 99]
)
def test_anything_else_is_refused(text):
    with pytest.raises(DecodeError):
        Version.parse(text)


@given(st.text(max_size=30))
def test_noise_is_a_decode_error_or_a_version(text):
    with contextlib.suppress(DecodeError):
        assert Version.parse(text) == Version.parse(str(Version.parse(text)))
