"""The invocation counters that we send with: never one twice (design decision 6).

They are reserved from the store in blocks, durably before the first is used; what a crash leaves of a block is lost,
which costs nothing. Where the store knows no counter (a new meter, a lost state), the meter's own counter object must
be read first. The counter that a meter names in a complaint is not authentic and is never used.
"""

from dcu.errors import KeysError, PolicyViolated
from dcu.store.store import Store

AT_HAND = 8  # what one step of an exchange may spend, and more: HLS spends two
LARGEST_JUMP = 1 << 28  # by which a meter's own counter may be ahead: nobody may wear out the key by lying once


class Counters:
    """The counters of one meter."""

    __slots__ = ("_block", "_meter", "_reserved", "_store")

    def __init__(self, store: Store, meter: str, block: int) -> None:
        self._store = store
        self._meter = meter
        self._block = block
        self._reserved: list[range] = []  # one block, two when it runs low

    async def known(self) -> bool:
        """Whether there is a floor to start from."""
        return bool(self._reserved) or await self._store.counter(self._meter) is not None

    async def ensure(self) -> None:
        """See to it that the next step of an exchange finds counters at hand. Raises StoreError: none are left."""
        while sum(map(len, self._reserved)) < AT_HAND:
            self._reserved.append(await self._store.reserve_counters(self._meter, self._block))

    def take(self) -> int:
        """The next counter, never given before."""
        if not self._reserved:
            raise KeysError(f"{self._meter}: no reserved invocation counter at hand: nothing is sent")
        block = self._reserved[0]
        if len(block) > 1:
            self._reserved[0] = block[1:]
        else:
            del self._reserved[0]
        return block[0]

    async def learn(self, last_used: int) -> int:
        """Go on above what the meter's counter object says was used; return the new floor."""
        persisted = await self._store.counter(self._meter) or 0
        if last_used + 1 - persisted > LARGEST_JUMP:
            raise PolicyViolated(
                f"{self._meter}: its counter object says {last_used}, {persisted} is what we know: not believed"
            )
        floor = await self._store.raise_counter(self._meter, last_used + 1)
        if self._reserved and self._reserved[0][0] <= last_used:
            self._reserved.clear()
        return floor
