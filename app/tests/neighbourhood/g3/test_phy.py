import pytest
from hypothesis import given
from hypothesis import strategies as st

from neighbourhood.g3 import phy
from neighbourhood.g3.phy import Modulation

from .packets import patient

modulations = st.sampled_from(Modulation)
groups = st.tuples(*[st.floats(-20, 60)] * 6)


def test_robo_carries_exactly_133_bytes():
    assert phy.longest(Modulation.ROBO) == 133
    assert phy.symbols(133, Modulation.ROBO) == 252
    with pytest.raises(ValueError, match="at most 133"):
        phy.symbols(134, Modulation.ROBO)


@pytest.mark.parametrize(
    ("modulation", "longest", "air", "exchange"),
    [
        pytest.param(Modulation.ROBO, 133, 190.3, 233.9, id="ROBO"),
        pytest.param(Modulation.DBPSK, 239, 95.7, 139.3, id="DBPSK"),
        pytest.param(Modulation.DQPSK, 239, 56.8, 100.4, id="DQPSK"),
        pytest.param(Modulation.D8PSK, 239, 42.9, 86.5, id="D8PSK"),
    ],
)
def test_the_published_table_of_times_comes_out(modulation, longest, air, exchange):
    assert phy.longest(modulation) == longest
    assert phy.air(longest, modulation) * 1e3 == pytest.approx(air, abs=0.051)
    assert phy.exchange(longest, modulation) * 1e3 == pytest.approx(exchange, abs=0.051)


def test_an_acknowledgement_lasts_15_ms():
    assert pytest.approx(15.1e-3, abs=5e-5) == phy.ACK


@patient
@given(modulations, st.integers(1, 63))
def test_the_longest_frame_fits_and_one_byte_more_does_not(modulation, tones):
    longest = phy.longest(modulation, tones)
    if longest:
        assert phy.symbols(longest, modulation, tones) <= 252
    with pytest.raises(ValueError, match="do not fit"):
        phy.symbols(longest + 1, modulation, tones)


@patient
@given(groups)
def test_what_a_receiver_asks_for_is_understood(snr):
    modulation, tones = phy.choose(snr)
    if modulation is not Modulation.ROBO:
        assert phy.error_100(phy.over(snr, tones), modulation) < 1e-3
        assert all(value > phy.THRESHOLD[modulation] for group, value in enumerate(snr) if tones >> group & 1)


def test_each_modulation_has_its_place():
    assert [phy.choose((snr,) * 6)[0] for snr in (0.0, 7.5, 11.0, 20.0)] == list(Modulation)
    notched = (20.0, 20.0, -5.0, 20.0, 20.0, 20.0)
    assert phy.choose(notched) == (Modulation.D8PSK, 0b111011)


@patient
@given(st.floats(-30, 30), modulations)
def test_more_signal_never_hurts(snr, modulation):
    assert phy.error_100(snr + 0.5, modulation) <= phy.error_100(snr, modulation)


def test_an_interferer_as_strong_as_the_signal_leaves_nothing_to_understand():
    assert phy.beside(30.0, 1e3) == pytest.approx(0.0, abs=0.01)
    assert phy.beside(30.0, 1e-2) == pytest.approx(30.0, abs=0.05)
