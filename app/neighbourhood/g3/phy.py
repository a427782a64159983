"""The OFDM physical layer of G3-PLC in CENELEC-A: how long a frame lasts, and how surely it is understood.

A frame is preamble, frame control header (FCH) and data symbols; 36 tones in six groups of six. Air time is exact:
the convolutional code doubles the bits, ROBO repeats them four times, the interleaver wants a multiple of four symbols.
What noise does is a curve a modulation: half the 100-byte frames are lost at its threshold, fewer by a factor of e
each `STEEPNESS` dB above it.

Source: ITU-T G.9903 clauses 7.3-7.7 (symbol, preamble, FCH, tone groups, ROBO, Reed-Solomon parity); the thresholds
and times marked [K] are recalled and unconfirmed.
"""

from enum import IntEnum
from functools import cache
from math import ceil, exp, log10

SYMBOL = 278 / 400_000  # s: 256 samples and the rest of the cyclic prefix, at 400 kHz
PREAMBLE = 6.08e-3
FCH_SYMBOLS = 13
GROUPS = 6
TONES_A_GROUP = 6
ALL_TONES = (1 << GROUPS) - 1
MOST_SYMBOLS = 252
LONGEST = 239  # bytes of a Reed-Solomon block, less its 16 of parity

SLOT = 2 * SYMBOL  # [K], so the next six
CIFS = 8 * SYMBOL
RIFS = 10 * SYMBOL
PRIORITY_SLOTS = 7
HPCW = PRIORITY_SLOTS * SLOT
CFS = SLOT  # where a segment that follows another begins: nobody else contends for it
MIN_BE = 3
MAX_BE = 8
MEAN_BACKOFF = ((1 << MIN_BE) - 1) / 2 * SLOT  # slots are drawn from 0 to 2^BE - 1

ACK = PREAMBLE + FCH_SYMBOLS * SYMBOL  # an acknowledgement is a frame without data: all of it is in the FCH
AFTER = RIFS + ACK  # what an acknowledged frame reserves behind itself
BEFORE = CIFS + CFS + HPCW + MEAN_BACKOFF

STEEPNESS = 0.35  # dB, [K]
MARGIN = 3.0  # dB above its threshold that a modulation must have to be asked for, [K]


class Modulation(IntEnum):
    ROBO = 0
    DBPSK = 1
    DQPSK = 2
    D8PSK = 3


BITS = {Modulation.ROBO: 1, Modulation.DBPSK: 1, Modulation.DQPSK: 2, Modulation.D8PSK: 3}
REPETITION = {Modulation.ROBO: 4, Modulation.DBPSK: 1, Modulation.DQPSK: 1, Modulation.D8PSK: 1}
PARITY = {Modulation.ROBO: 8, Modulation.DBPSK: 16, Modulation.DQPSK: 16, Modulation.D8PSK: 16}
THRESHOLD = (-1.0, 4.0, 7.5, 12.0)  # dB of SNR in the tones used, by modulation, [K]

SENSED = -3.0  # dB: a preamble is noticed below what ROBO needs, [K]


@cache
def active(tones: int) -> int:
    """How many tones a tone map (a bit a group) leaves."""
    return tones.bit_count() * TONES_A_GROUP


@cache
def symbols(length: int, modulation: Modulation, tones: int = ALL_TONES) -> int:
    """Data symbols of a frame of `length` bytes, FCS included. Raises ValueError where it does not fit one frame."""
    bits = ((length + PARITY[modulation]) * 8 + 6) * 2 * REPETITION[modulation]
    count = 4 * ceil(bits / (active(tones) * BITS[modulation]) / 4)
    if count > MOST_SYMBOLS or length > LONGEST:
        raise ValueError(
            f"{length} bytes do not fit a frame in {modulation.name}, at most {longest(modulation, tones)}"
        )
    return count


@cache
def longest(modulation: Modulation, tones: int = ALL_TONES) -> int:
    """The most bytes of one frame, FCS included: 133 in ROBO with all tones."""
    bits = MOST_SYMBOLS * active(tones) * BITS[modulation] // (2 * REPETITION[modulation])
    return max(0, min(LONGEST, (bits - 6) // 8 - PARITY[modulation]))


@cache
def air(length: int, modulation: Modulation, tones: int = ALL_TONES) -> float:
    """Seconds that a frame of `length` bytes lasts."""
    return PREAMBLE + (FCH_SYMBOLS + symbols(length, modulation, tones)) * SYMBOL


@cache
def exchange(length: int, modulation: Modulation, tones: int = ALL_TONES) -> float:
    """Seconds from a free line to the end of the acknowledgement, mean back-off included."""
    return BEFORE + air(length, modulation, tones) + AFTER


def lqi(snr: float) -> int:
    """Link quality as G3 counts it: 0.25 dB a step from -10 dB."""
    return max(0, min(255, round((snr + 10.0) * 4)))


def error_100(snr: float, modulation: int) -> float:
    """The probability that a frame of 100 bytes is lost."""
    above = (snr - THRESHOLD[modulation]) / STEEPNESS
    return 0.0 if above > 17 else 1.0 if above < -17 else 1 / (1 + exp(above))


def choose(snr: tuple[float, ...]) -> tuple[Modulation, int]:
    """The fastest modulation and tone map for an SNR (dB) a group of tones: what a receiver asks its sender for."""
    best, rate = (Modulation.ROBO, ALL_TONES), 0
    for modulation in (Modulation.D8PSK, Modulation.DQPSK, Modulation.DBPSK):
        wanted = THRESHOLD[modulation] + MARGIN
        tones = sum(1 << group for group, value in enumerate(snr) if value >= wanted)
        if active(tones) * BITS[modulation] > rate and longest(modulation, tones) >= longest(Modulation.ROBO):
            best, rate = (modulation, tones), active(tones) * BITS[modulation]
    return best


def over(snr: tuple[float, ...], tones: int) -> float:
    """The SNR that a frame meets in the groups it uses: the interleaver spreads it over all of them."""
    used = [value for group, value in enumerate(snr) if tones >> group & 1]
    return sum(used) / len(used)


def beside(snr: float, interference: float) -> float:
    """What is left of `snr` (dB) beside interferers of so much power, as a ratio to the noise."""
    return snr - 10 * log10(1 + interference)
