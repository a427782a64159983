"""How long an answer of one meter is waited for over a network that loses, delays and mends: learned from the meter.

The round trip is smoothed with its deviation in the manner of RFC 6298, from answers that were accepted and belong to
one request only (Karn). The limit leaves a network the time to mend a route, grows twofold with each answer that does
not come, and never exceeds what the meter's family says. Before the first answer it follows from the hops on the way.

Only what may be asked again is given up early (`Waiting`): a command waits for as long as its family says.
Source: RFC 6298, clauses 2 and 5.
"""

import asyncio

ALPHA, BETA, DEVIATIONS = 1 / 8, 1 / 4, 4.0  # RFC 6298, 2.3
LEAST = 10.0  # seconds before which no answer is given up: a network may be mending its route
REPAIR = 16.0  # seconds: LOADng floods, waits 4 s for the better copies, and may have to do so twice
SLOWEST_HOP = 4.0  # seconds: the largest answer in the slowest modulation, every second frame repeated
DOUBLINGS = 6


class Patience:
    """Of one meter."""

    __slots__ = ("_deviation", "_missed", "_smoothed")

    def __init__(self) -> None:
        self._smoothed = 0.0  # seconds; 0: no answer yet
        self._deviation = 0.0
        self._missed = 0

    def limit(self, hops: int | None, cap: float) -> float:
        """Seconds after which an answer is given up: at most `cap`, at least `LEAST` where that allows it.

        hops: on the way to the meter, None where nobody knows.
        """
        if self._smoothed:
            base = self._smoothed + DEVIATIONS * self._deviation + REPAIR
        elif hops is None:
            return cap
        else:
            base = SLOWEST_HOP * hops + REPAIR
        return min(cap, max(LEAST, base) * float(1 << min(self._missed, DOUBLINGS)))

    def answered(self, seconds: float) -> None:
        """The answer to a request that was made once came after so long."""
        if self._smoothed:
            self._deviation += BETA * (abs(self._smoothed - seconds) - self._deviation)
            self._smoothed += ALPHA * (seconds - self._smoothed)
        else:
            self._smoothed, self._deviation = max(seconds, 1e-6), seconds / 2
        self._missed = 0

    def missed(self) -> None:
        """No answer came."""
        self._missed += 1


class Waiting:
    """For the answers of one exchange. early: an answer may be given up before `cap`, the family's limit in seconds."""

    __slots__ = ("_began", "_cap", "_clear", "_early", "_hops", "_patience")

    def __init__(self, patience: Patience, hops: int | None, cap: float, *, early: bool) -> None:
        self._patience = patience
        self._hops = hops
        self._cap = cap
        self._early = early
        self._began = 0.0
        self._clear = True  # the answer can belong to one saying of the request only

    def asked(self, *, again: bool = False) -> float:
        """A request goes out; return for how many seconds its answer is waited for. again: it was said before."""
        self._began, self._clear = asyncio.get_running_loop().time(), not again
        return self._patience.limit(self._hops, self._cap) if self._early else self._cap

    def answered(self) -> None:
        """An answer to it was accepted."""
        if self._clear:
            self._patience.answered(asyncio.get_running_loop().time() - self._began)

    def missed(self) -> None:
        self._patience.missed()


class Unlearned:
    """A `Waiting` that always waits as long."""

    __slots__ = ("_limit",)

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def asked(self, *, again: bool = False) -> float:
        return self._limit

    def answered(self) -> None: ...

    def missed(self) -> None: ...
