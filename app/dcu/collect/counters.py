"""The invocation counters that we send with: never one twice (design decision 6).

They are reserved from the store in blocks, durably before the first is used; what a crash leaves of a block is lost,
which costs nothing. Where the store knows no counter (a new meter, a lost state), the meter's own counter object must
be read first. It says what the meter has heard; what we sent besides, and was lost on the line, is kept clear of by a
margin. The counter that a meter names in a complaint is not authentic and is never used.
"""

from dcu.errors import KeysError, PolicyViolated
from dcu.store.store import Store

AT_HAND = 8  # what one step of an exchange may spend, and more: HLS spends two
LARGEST = 0xFFFFFFFF
LARGEST_JUMP = 1 << 20  # by which a meter's own counter may be ahead of ours: nobody may wear out the key by lying
LEAST_LEFT = 1 << 28  # counters, where nothing but the meter says what was used: some begin with the UNIX time
MARGIN = 4  # blocks that are skipped then


Reserved = dict[bytes, list[range]]
"""By key, what is reserved and not used: one block, two when it runs low."""


class Counters:
    """The counters of one meter, under the key that it has now (`use`).

    reserved: shared by all, so that several associations under one key (of one meter, or of its logical devices) send
    rising counters whichever of them speaks.
    """

    __slots__ = ("_all", "_block", "_key", "_meter", "_reserved", "_store")

    def __init__(self, store: Store, meter: str, block: int, reserved: Reserved) -> None:
        self._store = store
        self._meter = meter
        self._block = block
        self._key = b""
        self._all = reserved
        self._reserved: list[range] = []

    def use(self, key: bytes) -> None:
        """Go on with the counters of this key (`MeterKeys.fingerprint`): a nonce is a key and a counter."""
        if key != self._key:
            self._key = key
            self._reserved = self._all.setdefault(key, [])

    async def known(self) -> bool:
        """Whether there is a floor to start from."""
        return bool(self._reserved) or await self._store.counter(self._meter, self._key) is not None

    async def ensure(self) -> None:
        """See to it that the next step of an exchange finds counters at hand. Raises StoreError: none are left."""
        while sum(map(len, self._reserved)) < AT_HAND:
            self._reserved.append(await self._store.reserve_counters(self._meter, self._block, self._key))

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

    async def learn(self, last_used: int, *, believe: bool = False) -> int:
        """Go on above what the meter's counter object says was used; return the new floor.

        believe: however far ahead it is. Raises PolicyViolated.
        """
        known = await self._store.counter(self._meter, self._key)
        most = LARGEST - LEAST_LEFT if known is None else known + LARGEST_JUMP
        if last_used >= most and not believe:
            raise PolicyViolated(
                f"{self._meter}: its counter object says {last_used}, {known or 'nothing'} is what we know: not "
                "believed; if it is right, say so (`dcu meters counter`)"
            )
        margin = max(0, min(MARGIN * self._block, LARGEST - last_used - AT_HAND))
        floor = await self._store.learn_counter(self._meter, last_used, margin, self._key)
        if self._reserved and self._reserved[0][0] <= last_used:
            self._reserved.clear()
        return floor
