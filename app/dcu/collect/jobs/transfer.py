"""A whole transfer that must not be cut: begun anew when something more urgent has broken it off."""

from collections.abc import Callable
from typing import TypeVar

from dcu.collect.dialogue import Exchange
from dcu.collect.meter import Meter, Outranked
from dcu.cosem.client import ClientSession
from dcu.model import Priority

T = TypeVar("T")


async def transfer(meter: Meter, make: Callable[[ClientSession], Exchange[T]], priority: Priority) -> T:
    """Run an exchange that may take many blocks; it gives way between two of them and starts again later."""
    while True:
        try:
            return await meter.run(make, priority, abandonable=True)
        except Outranked:
            continue
