"""A whole transfer that cannot be cut (an object list): begun anew when something more urgent has broken it off.

It gives way between any two blocks. So that it ever comes to its end where somebody asks on and on, it gives way to
alarms and commands alone after some attempts: on-demand reads then wait for this one transfer, which a meter sees once.
"""

from collections.abc import Callable
from itertools import count
from typing import TypeVar

from dcu.collect.meter import Meter
from dcu.collect.standing import Outranked
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange
from dcu.model import Priority

T = TypeVar("T")

PATIENCE = 3  # attempts that anything more urgent may break off


async def transfer(meter: Meter, make: Callable[[ClientSession], Exchange[T]], priority: Priority) -> T:
    """Run an exchange that may take many blocks."""
    for attempt in count():
        try:
            gives_way = Priority.BACKFILL if attempt < PATIENCE else Priority.COMMAND
            return await meter.run(make, priority, gives_way=gives_way)
        except Outranked:
            continue
    raise AssertionError
