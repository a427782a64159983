"""How a G3 network is run; the collector's configuration fills it (docs/collector.toml)."""

from dataclasses import dataclass

from dcu.fan.g3.message import Band

BANDS = {"cenelec-a": Band.CENELEC_A, "cenelec-b": Band.CENELEC_B, "fcc": Band.FCC, "arib": Band.ARIB}


@dataclass(frozen=True, slots=True)
class G3Settings:
    """pan: the PAN identifier; band: BANDS; max_hops: of a route; window: datagrams that the modem is given at a time;
    retries: of a frame that is not acknowledged, before its route is given up (5 as delivered: hidden devices outlast
    that, and each route that is given up costs 5 s); allowed: EUI-64 of meters that may join without being registered.
    In seconds: silent_after: without a word from a meter, then an alarm; probe: of silence of the modem, then it is
    asked; sweep: between two readings of its tables; paths: between two path discoveries of the background, 0: only on
    demand; confirm: for a datagram's confirm, then it is taken for sent; down: that a sender waits for a network that
    is being set up. tun: the interface that lets Linux reach the meters, "": none.
    """

    name: str
    pan: int
    band: Band = Band.CENELEC_A
    max_hops: int = 8
    window: int = 4
    allowed: frozenset[bytes] = frozenset()
    silent_after: float = 86_400.0
    probe: float = 10.0
    sweep: float = 300.0
    paths: float = 0.0
    confirm: float = 60.0
    down: float = 30.0
    counter_block: int = 1 << 16
    tun: str = ""
    retries: int = 10
