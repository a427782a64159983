"""The adaptation layer of one device: packets into MSDUs, along routes, relayed for others, put together again.

A packet without a route waits while one is looked for. A hop that is not acknowledged breaks its route: whoever stands
there, the sender or a relay, looks for another once and sends the message on; a relay that finds none tells the
message's origin (RERR). Broadcasts are passed on once by everybody.

Source: ITU-T G.9903, 9.4 (adaptation sublayer); RFC 4944 (mesh under).
"""

from collections.abc import Callable
from functools import lru_cache, partial
from random import Random

from dcu.errors import DecodeError
from neighbourhood.g3 import lowpan, messages
from neighbourhood.g3.frames import LONGEST_MSDU
from neighbourhood.g3.loadng import Loadng
from neighbourhood.g3.lowpan import LBP, LOADNG, Mesh, Reassembly
from neighbourhood.g3.mac import Mac
from neighbourhood.g3.messages import Message
from neighbourhood.g3.msdu import Arrived, Msdu
from neighbourhood.g3.tables import BROADCAST, NOT_JOINED, Status
from neighbourhood.g3.trace import Tag

MOST_HELD = 16  # messages of others that wait for a repair
HOPS_APART = 2  # fragments of a message: further ahead, nobody disturbs the next one's first hop
BROADCAST_JITTER = 0.5  # s
BROADCAST_TTL = 120.0  # s that a broadcast is remembered, adpBroadcastLogTableEntryTTL
Done = Callable[[int], None]

_decode = lru_cache(256)(messages.decode)  # a flood is heard by many


class Outgoing:
    """A message of ours: what travels in its MSDUs, and how far that has got."""

    __slots__ = ("at", "discover", "done", "final", "parts", "priority", "searched", "sent", "sequence", "tag", "via")

    def __init__(self, final: int, parts: list[bytes], done: Done, discover: bool, priority: bool, tag: Tag) -> None:
        self.final = final
        self.parts = parts
        self.done = done
        self.discover = discover
        self.priority = priority
        self.tag = tag
        self.at = 0
        self.searched = 0
        self.via = BROADCAST
        self.sent = 0.0
        self.sequence: int | None = None


class Adaptation:
    """on_packet(IPv6 packet, LQI of its last hop); on_lbp(sender: short or EUI-64, what follows `40 02`)."""

    def __init__(self, mac: Mac, random: Random) -> None:
        self.mac = mac
        self.loadng = Loadng(mac.scheduler, random, mac.neighbours, self._send_message)
        self.on_packet: Callable[[bytes, int], None] = lambda packet, lqi: None
        self.on_lbp: Callable[[int | bytes, bytes], None] = lambda sender, payload: None
        self.malformed = 0
        self.relayed = 0
        self.dropped = 0
        self._random = random
        self._tag = random.randrange(0x10000)
        self._sequence = random.randrange(256)
        self._reassembly = Reassembly()
        self._broadcasts: dict[tuple[int, int], float] = {}
        self._held = 0
        mac.on_data = self._received

    def forget(self) -> None:
        self.loadng.forget()
        self._reassembly.clear()
        self._broadcasts.clear()
        self._held = 0

    # -- sending

    def send_packet(self, final: int, packet: bytes, done: Done, discover: bool, priority: bool) -> None:
        if self.mac.short == NOT_JOINED or final == self.mac.short:
            done(Status.INVALID_REQUEST)
            return
        self._tag = self._tag + 1 & 0xFFFF
        try:
            parts = lowpan.pieces(packet, self.mac.pan, self.mac.short, final, self._tag, LONGEST_MSDU - 7)
        except ValueError:
            done(Status.INVALID_REQUEST)
            return
        self._go(Outgoing(final, parts, done, discover, priority, Tag(self.mac.number, final, None, packet)))

    def send_lbp(self, destination: int | bytes, payload: bytes, done: Done) -> None:
        tag = Tag(self.mac.number, destination if isinstance(destination, int) else None, "LBP", payload)
        if isinstance(destination, int) and self.mac.short != NOT_JOINED:
            self._go(Outgoing(destination, [LBP + payload], done, True, False, tag))
        else:
            self.mac.send(Msdu(destination, LBP + payload, done, tag, secured=False))

    def _go(self, message: Outgoing) -> None:
        """Send the next part, once there is a route."""
        if message.final == BROADCAST:
            self._sequence = self._sequence + 1 & 0xFF
            message.sequence = self._sequence
            self._broadcasts[self.mac.short, self._sequence] = self.mac.scheduler.now
        elif (via := self.loadng.next_hop(message.final)) is not None:
            message.via = via
        else:
            if message.discover and message.searched < 2:
                message.searched += 1
                self.loadng.discover(message.final, partial(self._found, message), repair=message.searched > 1)
            else:
                message.done(Status.ROUTE_ERROR)
            return
        mesh = Mesh(self.loadng.max_hops, self.mac.short, message.final, message.sequence, message.parts[message.at])
        done = partial(self._sent, message)
        message.sent = self.mac.scheduler.now
        self.mac.send(Msdu(message.via, lowpan.encode_mesh(mesh), done, message.tag, priority=message.priority))

    def _found(self, message: Outgoing, status: Status) -> None:
        if status is Status.OK:
            self._go(message)
        else:
            message.done(status)

    def _sent(self, message: Outgoing, status: Status) -> None:
        if status is Status.OK:
            message.at += 1
            ahead = 0 if message.via == BROADCAST else self.loadng.used(message.final)
            if message.at == len(message.parts):
                message.done(Status.OK)
            elif ahead:  # what follows at once meets its predecessor, which the hop after next still sends on
                pause = (self.mac.scheduler.now - message.sent) * min(ahead, HOPS_APART)
                self.mac.scheduler.after(pause, self._go, message)
            else:
                self._go(message)
        elif status is Status.NO_ACK:
            self.loadng.broken(message.final, message.via)
            message.searched = max(message.searched, 1)  # what is looked for now is a repair
            self._go(message)
        else:
            message.done(status)

    def _send_message(
        self,
        destination: int,
        message: Message,
        done: Callable[[Status], None] | None,
        still: Callable[[], bool] | None = None,
    ) -> None:
        payload = messages.encode(message)
        tag = Tag(self.mac.number, None, messages.kind(message).name, payload)
        self.mac.send(Msdu(destination, LOADNG + payload, done, tag, still=still))

    # -- receiving

    def _received(self, arrived: Arrived) -> None:
        payload = arrived.payload
        try:
            if payload[:1] and payload[0] & 0xF0 == 0xB0:
                self._mesh(lowpan.decode_mesh(payload), arrived)
            elif payload[:2] == LOADNG and isinstance(arrived.source, int):
                self.loadng.received(_decode(payload[2:]), arrived.source)
            elif payload[:2] == LBP:
                if isinstance(arrived.source, int) and self.mac.short != NOT_JOINED and not arrived.secured:
                    self.mac.counters.unsecured += 1  # anybody can say that it is the coordinator
                    return
                self.on_lbp(arrived.source, payload[2:])
            else:
                raise DecodeError("unknown dispatch", 0)
        except DecodeError:
            self.malformed += 1

    def _mesh(self, mesh: Mesh, arrived: Arrived) -> None:
        if mesh.final == self.mac.short:
            self._deliver(mesh, arrived)
        elif mesh.final == BROADCAST:
            self._broadcast(mesh, arrived)
        elif mesh.hops <= 1 or mesh.origin == self.mac.short:
            self.dropped += 1
        else:
            mesh.hops -= 1
            self._relay(mesh, arrived, 0)

    def _deliver(self, mesh: Mesh, arrived: Arrived) -> None:
        if mesh.body[:2] == LBP:
            self.on_lbp(mesh.origin, mesh.body[2:])
            return
        packet = self._reassembly.feed(mesh, self.mac.pan, self.mac.scheduler.now)
        if packet is not None:
            self.on_packet(packet, arrived.lqi)

    def _broadcast(self, mesh: Mesh, arrived: Arrived) -> None:
        if mesh.sequence is None:
            raise DecodeError("a broadcast without its number")
        now, what = self.mac.scheduler.now, (mesh.origin, mesh.sequence)
        if now - self._broadcasts.get(what, -BROADCAST_TTL) < BROADCAST_TTL:
            return
        if len(self._broadcasts) > 64:
            self._broadcasts = {key: when for key, when in self._broadcasts.items() if now - when < BROADCAST_TTL}
        self._broadcasts[what] = now
        self._deliver(mesh, arrived)
        if mesh.hops > 1:
            mesh = Mesh(mesh.hops - 1, mesh.origin, mesh.final, mesh.sequence, mesh.body)
            msdu = Msdu(BROADCAST, lowpan.encode_mesh(mesh), None, arrived.tag)
            self.mac.scheduler.after(self._random.random() * BROADCAST_JITTER, self.mac.send, msdu)

    def _relay(self, mesh: Mesh, arrived: Arrived, searched: int) -> None:
        """Pass a message of somebody else on."""
        via = self.loadng.next_hop(mesh.final)
        if via is None:
            if searched:
                self._give_up(mesh)
            else:
                self._repair(mesh, arrived)
            return
        self.relayed += 1
        done = partial(self._relayed, mesh, arrived, via, searched)
        self.mac.send(Msdu(via, lowpan.encode_mesh(mesh), done, arrived.tag, priority=arrived.priority))

    def _relayed(self, mesh: Mesh, arrived: Arrived, via: int, searched: int, status: Status) -> None:
        if status is Status.OK:
            self.loadng.used(mesh.final)
        elif status is Status.NO_ACK:
            self.loadng.broken(mesh.final, via)
            self._relay(mesh, arrived, searched)
        else:
            self.dropped += 1

    def _repair(self, mesh: Mesh, arrived: Arrived) -> None:
        if self._held >= MOST_HELD:
            self._give_up(mesh)
            return
        self._held += 1

        def found(status: Status) -> None:
            self._held -= 1
            if status is Status.OK:
                self._relay(mesh, arrived, 1)
            else:
                self._give_up(mesh)

        self.loadng.discover(mesh.final, found, repair=True)

    def _give_up(self, mesh: Mesh) -> None:
        self.dropped += 1
        self.loadng.report(mesh.final, mesh.origin)
