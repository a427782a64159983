"""What an operator reads: one line of bounded length, the advice at its end, whatever the input that it quotes."""

import pytest

from dcu.collect.reach import Reach
from dcu.config import parse
from dcu.errors import LONGEST, ConfigError, DcuError, DecodeError
from dcu.model import Obis


@pytest.mark.parametrize(
    ("read", "advice"),
    [
        pytest.param(Reach.parse, "or g3://EUI64", id="a meter's address"),
        pytest.param(Obis.parse, "write 1-0:1.8.0*255 or 1.0.1.8.0.255", id="an OBIS code"),
        pytest.param(lambda text: parse(f"{text} = 1\n{text} = 2", "collector.toml"), "", id="a key of TOML"),
    ],
)
def test_a_message_stays_short_and_ends_with_the_advice(read, advice):
    with pytest.raises(ConfigError) as raised:
        read("\x01" * 65536 if advice else "a" * 65536)
    assert len(str(raised.value)) <= LONGEST
    assert str(raised.value).endswith(advice)


def test_a_message_of_the_greatest_length_is_left_alone():
    assert str(DcuError("x" * LONGEST)) == "x" * LONGEST
    assert len(str(DcuError("x" * (LONGEST + 1)))) == LONGEST


def test_the_offset_of_a_long_message_is_kept():
    assert str(DecodeError("x" * 5000, 17)).endswith("(at byte 17)")
