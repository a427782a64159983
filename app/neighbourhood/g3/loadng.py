"""LOADng of one device: routes on demand, the least cost first, none that loops.

A RREQ floods outward and leaves routes back to its originator; the destination waits for the better copies and answers
the best with a RREP, which leaves routes to the destination. A node passes on a RREQ once it has waited (the dearer the
link and the thicker the crowd, the longer, so that the cheap copies run ahead), and once more for each copy that is
better, at most `MOST_COPIES` times; one that hears enough neighbours pass it on as cheaply keeps silent (less soon in a
repair), unless it has the sought one for a neighbour. Routes carry the sequence number of the device they lead to:
what is older never replaces what is newer, and of one number only what is better does: fewer weak links, lower cost,
fewer hops. A broken route keeps its number.

Sans-IO: messages in, messages out through `send`; time and chance are given.
Source: ITU-T G.9903, annex D; draft-clausen-lln-loadng (processing rules). Delays are [K].
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from neighbourhood.g3 import cost
from neighbourhood.g3.events import Scheduler, Timer
from neighbourhood.g3.messages import HOP_LIMIT, Message, Prep, Preq, Rerr, Rlc, Rreq
from neighbourhood.g3.pathfinder import Pathfinder, Send
from neighbourhood.g3.tables import BROADCAST, NOT_JOINED, Neighbour, Route, Status

MAX_HOPS = 8
NET_TRAVERSAL = 20.0  # s
RREP_WAIT = 4.0
RREQ_WAIT = 30.0  # s between two floods of one device (adpRREQWait); without it a large street drowns in its repairs
RREQ_RETRIES = 1
ROUTE_TTL = 360 * 60.0
BLACKLIST_TTL = 600.0
MOST_ROUTES = 2048
MOST_COPIES = 3
ENOUGH = 3  # copies from neighbours that reached as cheaply: the flood needs no more here
ENOUGH_OF_A_REPAIR = 12  # of a flood after one that found nothing …
STUBBORN = 0.25  # … in which some speak all the same: any of them may be the only bridge to somewhere
DELAY = 0.6  # s that a RREQ waits over the dearest link, among CROWD neighbours; longer among more
JITTER = 0.4  # s of chance on top, the same
CROWD = 12
WIDEST = 5.0  # times that a crowd may stretch the wait


@dataclass(slots=True)
class _Flood:
    """One originator's RREQ: the best copy, what waits to be passed on, how often it was, who passed it as cheaply."""

    sequence: int
    best: Rreq
    waiting: Timer | None = None
    passed: int = 0
    covered: int = 0
    answered: bool = False
    stubborn: bool = False


@dataclass(slots=True)
class _Quest:
    """A discovery of ours."""

    done: list[Callable[[Status], None]]
    hops: int
    tries: int = 0
    timer: Timer | None = None


class Loadng:
    """`short`: this device's address, NOT_JOINED: it takes no part. `sequence` survives a reset."""

    def __init__(self, scheduler: Scheduler, random: Random, neighbours: dict[int, Neighbour], send: Send) -> None:
        self.short = NOT_JOINED
        self.routes: dict[int, Route] = {}
        self.blacklist: dict[int, float] = {}
        self.weights = cost.Weights()
        self.max_hops = MAX_HOPS
        self.ttl = ROUTE_TTL
        self.suppress = True
        self.ask_reverse = False  # adpRLCEnabled
        self.rreq_wait = RREQ_WAIT
        self.sequence = random.randrange(0x10000)
        self.on_route: Callable[[int, Route | None], None] | None = None
        self.on_lost: Callable[[int, int], None] | None = None
        self.paths = Pathfinder(self, scheduler)
        self.send = send
        self.scheduler = scheduler
        self._random = random
        self._neighbours = neighbours
        self._floods: dict[int, _Flood] = {}
        self._quests: dict[int, _Quest] = {}
        self._flooded = -NET_TRAVERSAL - RREQ_WAIT

    def forget(self) -> None:
        for flood in self._floods.values():
            self.scheduler.cancel(flood.waiting)
        for quest in self._quests.values():
            self.scheduler.cancel(quest.timer)
        for table in (self.routes, self.blacklist, self._floods, self._quests):
            table.clear()
        self.paths.forget()

    # -- routes

    def next_hop(self, destination: int) -> int | None:
        route = self.routes.get(destination)
        if route is None or not route.valid:
            return None
        if route.expires < self.scheduler.now:
            self._invalidate(route)
            return None
        return route.next

    def price(self, sender: int) -> int:
        """The cost of the hop from a neighbour to here; 255 where nothing is known of it."""
        neighbour = self._neighbours.get(sender)
        return 255 if neighbour is None else cost.hop(neighbour, self.weights, len(self.routes) / MOST_ROUTES)

    def used(self, destination: int) -> int:
        """A route that carries traffic lives on. Returns how many hops lie behind the first."""
        route = self.routes.get(destination)
        if route is None:
            return 0
        route.expires = self.scheduler.now + self.ttl
        return route.hops - 1

    def broken(self, destination: int, via: int) -> None:
        """A neighbour did not acknowledge what was for `destination`."""
        route = self.routes.get(destination)
        if route is not None and route.valid and route.next == via:
            self._invalidate(route)

    def report(self, unreachable: int, origin: int) -> None:
        """Tell the origin of a message that its destination cannot be reached from here."""
        if (back := self.next_hop(origin)) is not None:
            self.send(back, Rerr(origin, self.short, unreachable, hop_limit=self.max_hops), None)

    def discover(
        self, destination: int, done: Callable[[Status], None], max_hops: int = 0, *, repair: bool = False
    ) -> None:
        """Flood for a route. Several wishes for one destination share a flood.

        done(ROUTE_ERROR) at once where the last flood of this device was less than `rreq_wait` ago.
        """
        if self.short == NOT_JOINED or destination in (self.short, BROADCAST) or max_hops > HOP_LIMIT:
            done(Status.INVALID_REQUEST)
            return
        if (quest := self._quests.get(destination)) is not None:
            quest.done.append(done)
            return
        if self.scheduler.now - self._flooded < self.rreq_wait:
            done(Status.ROUTE_ERROR)
            return
        self._quests[destination] = _Quest([done], max_hops or self.max_hops, 1 if repair else 0)
        self._flood(destination, self._quests[destination])

    def _flood(self, destination: int, quest: _Quest) -> None:
        self.sequence = self.sequence + 1 & 0xFFFF
        self._flooded = self.scheduler.now
        repair = quest.tries > 0
        quest.timer = self.scheduler.after(NET_TRAVERSAL, self._unanswered, destination)
        self.send(BROADCAST, Rreq(destination, self.short, self.sequence, 0, quest.hops, repair=repair), None)

    def _unanswered(self, destination: int) -> None:
        quest = self._quests[destination]
        quest.tries += 1
        if quest.tries <= RREQ_RETRIES:
            self._flood(destination, quest)
        else:
            self._settle(destination, Status.ROUTE_ERROR)

    def _settle(self, destination: int, status: Status) -> None:
        quest = self._quests.pop(destination, None)
        if quest is not None:
            self.scheduler.cancel(quest.timer)
            for done in quest.done:
                done(status)

    # -- messages

    def received(self, message: Message, sender: int) -> None:
        """A message came from a neighbour."""
        if self.short == NOT_JOINED or sender == self.short:
            return
        match message:
            case Rreq():
                (self._rrep if message.reply else self._rreq)(message, sender)
            case Rerr():
                self._rerr(message, sender)
            case Preq() | Prep():
                self.paths.received(message, sender)
            case Rlc():
                self._rlc(message, sender)

    def _rreq(self, came: Rreq, sender: int) -> None:
        if came.originator == self.short or self.blacklist.get(sender, 0.0) > self.scheduler.now:
            return
        flood = self._floods.get(came.originator)
        if flood is not None and flood.sequence != came.sequence and not newer(came.sequence, flood.sequence):
            return
        here = self._through(came, sender)
        if here is None:
            return
        if flood is None or flood.sequence != came.sequence:
            if flood is not None:
                self.scheduler.cancel(flood.waiting)
            stubborn = came.repair and self._random.random() < STUBBORN
            flood = self._floods[came.originator] = _Flood(came.sequence, here, stubborn=stubborn)
        elif rank(here) < rank(flood.best):
            flood.best = here
            flood.covered = 0
        else:
            flood.covered += came.weak <= flood.best.weak and came.cost <= flood.best.cost
            return
        self._learn(here, sender)
        if came.destination == self.short:
            if not flood.answered:
                flood.answered = True
                self.scheduler.after(RREP_WAIT, self._answer, came.originator, came.sequence)
        elif here.hops < came.hops + came.hop_limit and flood.waiting is None and flood.passed < MOST_COPIES:
            share = min(1.0, (here.cost - came.cost) / (self.weights.kq + self.weights.kh))
            crowd = min(WIDEST, max(1.0, len(self._neighbours) / CROWD))
            delay = (share * DELAY + self._random.random() * JITTER) * crowd
            flood.waiting = self.scheduler.after(delay, self._pass_on, flood)

    def _through(self, came: Rreq, sender: int) -> Rreq | None:
        """A RREQ or RREP as it is here, the last hop counted in; None: it has gone too far."""
        neighbour = self._neighbours.get(sender)
        if neighbour is None or came.hop_limit == 0 or came.hops >= 15:
            return None
        if self.ask_reverse and neighbour.reverse_cost is None and neighbour.reverse_lqi is None:
            self.send(sender, Rlc(sender, self.short), None)
        added = cost.hop(neighbour, self.weights, len(self.routes) / MOST_ROUTES)
        return replace(
            came, cost=min(came.cost + added, 0xFFFF), hop_limit=came.hop_limit - 1, hops=came.hops + 1,
            weak=min(15, came.weak + cost.weak(neighbour, self.weights)),
        )  # fmt: skip

    def _pass_on(self, flood: _Flood) -> None:
        flood.waiting = None
        message = flood.best

        def still() -> bool:
            """Asked once the line is free: others may have spoken meanwhile, or something better come."""
            if flood.best is not message:
                flood.passed -= 1
            current = self._floods.get(message.originator) is flood
            return current and flood.best is message and self._needed(flood)

        if message.hop_limit and self._needed(flood):
            flood.passed += 1
            self.send(BROADCAST, message, None, still)

    def _needed(self, flood: _Flood) -> bool:
        if flood.best.destination in self._neighbours or not self.suppress:
            return True
        return flood.covered < (ENOUGH_OF_A_REPAIR if flood.best.repair else ENOUGH) or flood.stubborn

    def _answer(self, originator: int, sequence: int) -> None:
        flood = self._floods.get(originator)
        back = self.next_hop(originator)
        if flood is not None and flood.sequence == sequence and back is not None:
            self.sequence = self.sequence + 1 & 0xFFFF
            self._reply(Rreq(originator, self.short, self.sequence, 0, self.max_hops, reply=True), back)

    def _rrep(self, came: Rreq, sender: int) -> None:
        here = self._through(came, sender)
        if came.originator == self.short or here is None:
            return
        self._learn(here, sender)
        if came.destination == self.short:
            self._settle(came.originator, Status.OK)
        elif (following := self.next_hop(came.destination)) is not None and following != sender:
            self._reply(here, following)

    def _reply(self, message: Rreq, following: int) -> None:
        def told(status: Status) -> None:
            if status is not Status.OK:  # heard, but not hearing: a link of one direction
                self.blacklist[following] = self.scheduler.now + BLACKLIST_TTL

        self.send(following, message, told)

    def _rerr(self, came: Rerr, sender: int) -> None:
        route = self.routes.get(came.unreachable)
        if route is not None and route.valid and route.next == sender:
            self._invalidate(route)
        if came.destination == self.short:
            if self.on_lost is not None:
                self.on_lost(came.unreachable, came.originator)
        elif came.hop_limit and (following := self.next_hop(came.destination)) is not None and following != sender:
            self.send(following, replace(came, hop_limit=came.hop_limit - 1), None)

    def _rlc(self, came: Rlc, sender: int) -> None:
        neighbour = self._neighbours.get(sender)
        if neighbour is None or came.destination != self.short:
            return
        if came.cost is None:
            there = cost.direction(neighbour.lqi, neighbour.modulation, neighbour.tones, self.weights)
            self.send(sender, Rlc(came.originator, self.short, there), None)
        else:
            neighbour.reverse_cost = came.cost

    def _learn(self, here: Rreq, sender: int) -> None:
        """A route to the message's originator, through its sender, where that is news."""
        known = self.routes.get(here.originator)
        if known is not None and known.sequence != here.sequence and not newer(here.sequence, known.sequence):
            return
        if known is not None and known.sequence == here.sequence:
            better = rank(here) < (known.weak, known.cost, known.hops)
            if not (known.valid and better):
                return
        if known is None and len(self.routes) >= MOST_ROUTES:
            del self.routes[min(self.routes, key=lambda destination: self.routes[destination].expires)]
        expires = self.scheduler.now + self.ttl
        route = Route(here.originator, sender, here.cost, here.hops, here.weak, here.sequence, expires)
        self.routes[here.originator] = route
        if self.on_route is not None:
            self.on_route(here.originator, route)

    def _invalidate(self, route: Route) -> None:
        route.valid = False
        if self.on_route is not None:
            self.on_route(route.destination, None)


def newer(sequence: int, than: int) -> bool:
    """Of two sequence numbers, in the arithmetic of 16 bits that wrap."""
    return 0 < (sequence - than & 0xFFFF) < 0x8000


def rank(message: Rreq) -> tuple[int, int, int]:
    """Less is better."""
    return message.weak, message.cost, message.hops
