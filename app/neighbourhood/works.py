"""What a meter has inside beside its registers: made when somebody first asks, so that a street costs nothing.

Plain state, as it stands in a new meter; what the objects do with it stands beside the objects.
"""

from collections import deque
from dataclasses import dataclass, field

from dcu.cosem.axdr import Data
from dcu.cosem.data import octets
from dcu.model import Obis
from neighbourhood.image import ImageTransfer
from neighbourhood.tokens import Prepayment

TARIFFS = Obis.parse("0-0:10.0.100*255")
DISCONNECTION = Obis.parse("0-0:10.0.106*255")
ACTIVATION = Obis.parse("0-0:10.0.107*255")
PUSHES = Obis.parse("0-0:10.0.108*255")
RATES = 4
ANY_MOMENT = b"\xff" * 9 + b"\x80\x00\xff"
WRITE, EXECUTE = 1, 2
UNLIMITED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a script: write an attribute, or execute a method."""

    service: int
    class_id: int
    obis: Obis
    index: int
    parameter: Data


Scripts = dict[int, tuple[Action, ...]]


@dataclass(slots=True)
class Schedule:
    """times: (time, date), patterns."""

    table: Obis
    selector: int
    times: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Season:
    name: bytes
    start: bytes
    week: bytes


@dataclass(frozen=True, slots=True)
class DayAction:
    time: bytes
    table: Obis
    selector: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A calendar. weeks: day ids from Monday on, by name; days: actions by day id."""

    name: bytes
    seasons: tuple[Season, ...]
    weeks: dict[bytes, tuple[int, ...]]
    days: dict[int, tuple[DayAction, ...]]


def _ordinary() -> Plan:
    """A day rate from six to ten in the evening, a night rate else."""
    marks = ((0, 2), (6, 1), (22, 2))
    day = tuple(DayAction(bytes((hour, 0, 0, 0)), TARIFFS, rate) for hour, rate in marks)
    return Plan(b"ORDINARY", (Season(b"YEAR", ANY_MOMENT, b"WEEK"),), {b"WEEK": (1,) * 7}, {1: day})


@dataclass(slots=True)
class Tariffs:
    """counted: Wh of each rate up to the true second `since`; masks: which rates count, by name."""

    counted: list[int]
    since: int
    active: Plan = field(default_factory=_ordinary)
    passive: Plan = field(default_factory=lambda: Plan(b"", (), {}, {}))
    switch_at: bytes = ANY_MOMENT  # when the passive calendar takes over
    special: dict[int, tuple[bytes, int]] = field(default_factory=dict)  # date, day id, by index
    masks: dict[bytes, tuple[int, ...]] = field(
        default_factory=lambda: {b"RATE%d" % (rate + 1): (rate,) for rate in range(RATES)}
    )
    mask: bytes = b"RATE1"


@dataclass(slots=True)
class Limiter:
    """Thresholds of what it watches, and scripts (table, selector) for when that is over one for long enough."""

    watched: tuple[int, Obis, int] = (3, Obis.parse("1-0:1.7.0*255"), 2)
    normal: int = UNLIMITED
    emergency: int = UNLIMITED
    over_for: int = 60
    under_for: int = 60
    profile: tuple[int, bytes, int] = (0, ANY_MOMENT, 0)  # id, begins, seconds
    groups: tuple[int, ...] = ()
    over: tuple[Obis, int] = (DISCONNECTION, 1)
    under: tuple[Obis, int] = (DISCONNECTION, 0)
    in_emergency: bool = False
    tripped: bool = False
    changed: int | None = None  # true second since which it is on the other side of the threshold

    @property
    def active(self) -> int:
        return self.emergency if self.in_emergency else self.normal


@dataclass(slots=True)
class Monitor:
    """A register monitor: for each threshold the scripts for up and down; above: on which side it was last seen."""

    watched: tuple[int, Obis, int] = (3, Obis.parse("1-0:1.7.0*255"), 2)
    thresholds: tuple[int, ...] = ()
    actions: tuple[tuple[tuple[Obis, int], tuple[Obis, int]], ...] = ()
    above: list[bool] = field(default_factory=list)


def _scripts() -> dict[Obis, Scripts]:
    activation, relay = Obis.parse("0-0:14.0.0*255"), Obis.parse("0-0:96.3.10*255")
    image, push, zero = Obis.parse("0-0:44.0.0*255"), Obis.parse("0-0:25.9.0*255"), Data(15, 0)  # type: ignore[arg-type]
    return {
        TARIFFS: {
            rate + 1: (Action(WRITE, 6, activation, 4, octets(b"RATE%d" % (rate + 1))),) for rate in range(RATES)
        },
        DISCONNECTION: {1: (Action(EXECUTE, 70, relay, 1, zero),), 2: (Action(EXECUTE, 70, relay, 2, zero),)},
        ACTIVATION: {1: (Action(EXECUTE, 18, image, 4, zero),)},
        PUSHES: {1: (Action(EXECUTE, 40, push, 1, zero),)},
    }


@dataclass(slots=True)
class Push:
    """The push setup as its clients wrote it; sent: what is to go out."""

    objects: tuple[tuple[int, Obis, int], ...] = (
        (1, Obis.parse("0-0:42.0.0*255"), 2),
        (1, Obis.parse("0-0:96.11.0*255"), 2),
    )
    window: tuple[tuple[bytes, bytes], ...] = ()
    start_interval: int = 0
    retries: int = 0
    delay: int = 0
    sent: deque[bytes] = field(default_factory=lambda: deque(maxlen=32))


@dataclass(slots=True)
class Works:
    """settled: the true second up to which what was due has been done; shown: what the clock showed then.

    idle_until: when there is something to do next, as far as is known.
    """

    image: ImageTransfer
    tariffs: Tariffs
    settled: int
    shown: int
    idle_until: int = 0
    prepayment: Prepayment = field(default_factory=Prepayment)
    scripts: dict[Obis, Scripts] = field(default_factory=_scripts)
    schedules: dict[Obis, Schedule] = field(
        default_factory=lambda: {
            Obis.parse("0-0:15.0.1*255"): Schedule(DISCONNECTION, 1),
            Obis.parse("0-0:15.0.2*255"): Schedule(ACTIVATION, 1),
            Obis.parse("0-0:15.0.4*255"): Schedule(PUSHES, 1),
        }
    )
    limiter: Limiter = field(default_factory=Limiter)
    monitor: Monitor = field(default_factory=Monitor)
    push: Push = field(default_factory=Push)
