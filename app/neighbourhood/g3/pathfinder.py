"""Path discovery of LOADng: a PREQ goes along the routes and collects each hop, a PREP comes back so.

Where the way ends early, the device there sends the PREP: it tells how far the path leads.

Source: ITU-T G.9903, annex D (path discovery).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from neighbourhood.g3.events import Scheduler, Timer
from neighbourhood.g3.messages import MOST_HOPS, Message, Prep, Preq
from neighbourhood.g3.tables import Path, PathHop, Status

PATH_WAIT = 40.0  # s
BACK = 0x01  # a hop's flag: it belongs to the way back


class Send(Protocol):
    """How messages leave: to a neighbour or BROADCAST; `done` hears whether a unicast was acknowledged."""

    def __call__(
        self,
        destination: int,
        message: Message,
        done: Callable[[Status], None] | None,
        still: Callable[[], bool] | None = None,
    ) -> None:
        """still: asked when the line is free whether the message is still to be sent."""


class Router(Protocol):
    """What path discovery needs of LOADng."""

    short: int
    send: Send

    def next_hop(self, destination: int) -> int | None:
        """The neighbour that leads there."""

    def price(self, sender: int) -> int:
        """The cost of the hop from a neighbour to here."""


class Pathfinder:
    def __init__(self, router: Router, scheduler: Scheduler) -> None:
        self.on_request: Callable[[], None] = lambda: None  # a path that ends here was asked for
        self._router = router
        self._scheduler = scheduler
        self._wanted: dict[int, tuple[int, Callable[[Path], None], Timer]] = {}

    def forget(self) -> None:
        for _, _, timer in self._wanted.values():
            self._scheduler.cancel(timer)
        self._wanted.clear()

    def find(self, destination: int, metric: int, done: Callable[[Path], None]) -> None:
        """done(Path): ROUTE_ERROR where there is no route or the path ends early, TIMEOUT where nothing came back."""
        following = self._router.next_hop(destination)
        if following is None:
            done(Path(Status.ROUTE_ERROR, destination, self._router.short, metric, (), ()))
            return
        if (before := self._wanted.pop(destination, None)) is not None:
            self._scheduler.cancel(before[2])
            before[1](Path(Status.TIMEOUT, destination, self._router.short, before[0], (), ()))
        timer = self._scheduler.after(PATH_WAIT, self._late, destination)
        self._wanted[destination] = metric, done, timer
        self._router.send(following, Preq(destination, self._router.short, (), metric), None)

    def received(self, message: Preq | Prep, sender: int) -> None:
        router = self._router
        if len(message.hops) >= MOST_HOPS:
            return
        back = isinstance(message, Prep)
        hops = (*message.hops, PathHop(router.short, BACK if back else 0, min(255, router.price(sender))))
        if isinstance(message, Prep):
            if message.destination == router.short:
                self._found(message.expected, message.originator, hops)
            elif (following := router.next_hop(message.destination)) is not None:
                router.send(following, replace(message, hops=hops), None)
            return
        onward = router.next_hop(message.destination)
        if message.destination != router.short and onward is not None and onward != sender:
            router.send(onward, replace(message, hops=hops), None)
        elif (following := router.next_hop(message.originator)) is not None:
            self.on_request()
            answer = Prep(message.originator, message.destination, router.short, hops, message.metric)
            router.send(following, answer, None)

    def _found(self, expected: int, originator: int, hops: tuple[PathHop, ...]) -> None:
        wanted = self._wanted.pop(expected, None)
        if wanted is None:
            return
        metric, done, timer = wanted
        self._scheduler.cancel(timer)
        status = Status.OK if expected == originator else Status.ROUTE_ERROR
        there = tuple(hop for hop in hops if not hop.flags & BACK)
        back = tuple(hop for hop in hops if hop.flags & BACK)
        done(Path(status, expected, self._router.short, metric, there, back))

    def _late(self, destination: int) -> None:
        metric, done, _ = self._wanted.pop(destination)
        done(Path(Status.TIMEOUT, destination, self._router.short, metric, (), ()))
