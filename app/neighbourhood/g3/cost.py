"""What a link costs: the composite metric of LOADng in G3.

A direction costs ``Kr·robust + Km·rank of the modulation + Kc·share of unused tones + Kq·want of quality``, shares
rounded half down; a hop costs its dearer direction, `Krt` for a full routing table, and `Kh`.

Source: ITU-T G.9903, annex B (composite metric); defaults as one open stack has them, the LQI's limits [K].
"""

from dataclasses import dataclass
from math import ceil

from neighbourhood.g3 import phy
from neighbourhood.g3.phy import Modulation
from neighbourhood.g3.tables import Neighbour

_RANK = (3, 3, 2, 1, 0)  # by modulation


@dataclass(slots=True)
class Weights:
    """PIB 0x13-0x17, 0x1B (Kr to Kh, Krt), 0x04, 0x05 (LQI), 0x0A (what an unknown way back costs more), 0x1A."""

    kr: int = 0
    km: int = 0
    kc: int = 0
    kq: int = 10
    kh: int = 4
    krt: int = 0
    low_lqi: int = 44
    high_lqi: int = 80
    add_reverse: int = 0
    weak_lqi: int = 52


def direction(lqi: int, modulation: int, tones: int, weights: Weights) -> int:
    """Cost of a direction with this LQI, modulation and tone map."""
    span = weights.high_lqi - weights.low_lqi
    want = min(1.0, max(0.0, (weights.high_lqi - lqi) / span)) if span else float(lqi < weights.high_lqi)
    tone_count, most = phy.active(tones), phy.active(phy.ALL_TONES)
    cost = weights.kr * (modulation == Modulation.ROBO) + weights.km * _RANK[modulation]
    return cost + _half_down(weights.kc * (most - tone_count) / most) + _half_down(weights.kq * want)


def hop(neighbour: Neighbour, weights: Weights, table: float) -> int:
    """Cost of the hop from a neighbour to here. `table`: how full the routing table is, 0 to 1."""
    there = direction(neighbour.lqi, neighbour.modulation, neighbour.tones, weights)
    if neighbour.reverse_cost is not None:
        back = neighbour.reverse_cost
    elif neighbour.reverse_lqi is not None:
        back = direction(neighbour.reverse_lqi, neighbour.modulation, neighbour.tones, weights)
    else:
        back = there + weights.add_reverse
    return max(there, back) + _half_down(weights.krt * table) + weights.kh


def weak(neighbour: Neighbour, weights: Weights) -> bool:
    return min(neighbour.lqi, 255 if neighbour.reverse_lqi is None else neighbour.reverse_lqi) < weights.weak_lqi


def _half_down(value: float) -> int:
    return ceil(value - 0.5)
