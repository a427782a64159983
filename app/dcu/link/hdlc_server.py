"""The meter's end of HDLC links: the secondary station, which speaks when it is asked.

A `Station` sits on one line: it finds the frames, keeps one `ServerLink` per pair of addresses that connected, hands
whole APDUs to a handler and puts the answer into the same turn. Before an SNRM it answers DM; after a frame that no
standard allows it answers FRMR until it is connected anew. Notifications go out in UI frames, unasked.

Bytes in, bytes out; the time is handed in.

Source: IEC 62056-46 clauses 6.4.4 and 6.4.5 (states of the secondary station), ISO/IEC 13239 clause 5.6.4 (FRMR).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain

from dcu.errors import DecodeError
from dcu.link.hdlc import ALL, LLC_RESPONSE, Address, Control, Decoder, Frame, Kind, encode, notification
from dcu.link.hdlc_echo import Echo
from dcu.link.hdlc_numbered import BACKLOG, Counted, Numbered
from dcu.link.hdlc_parameters import (
    DEFAULT,
    Parameters,
    Reason,
    Rejection,
    agree,
    decode_parameters,
    encode_parameters,
)
from dcu.link.segments import MAX_APDU, Joiner, Seams
from dcu.streams import Sent, each

Handler = Callable[[int, int, bytes], Sent]
"""Gets (client SAP, server SAP, APDU), returns the answer's APDU, or several, or None; as in `dcu.link.listen`."""

CLIENTS = 16  # links that one station keeps; one more, and that which was silent longest goes
_OFFERED = Parameters(2030, 2030, 7, 7)
_COMMANDS = (Kind.I, Kind.RR, Kind.RNR, Kind.SNRM, Kind.DISC, Kind.UI, Kind.REJ, Kind.OTHER)
_UNKNOWN = (Kind.REJ, Kind.OTHER)  # to IEC 62056-46


def to_all_devices(address: Address) -> bool:
    """Whether every physical device on the line is meant; with a single byte, every logical one in them."""
    return (address.upper if address.size == 1 else address.lower) == ALL[address.size]


def is_broadcast(address: Address) -> bool:
    """Whether several are meant, logical or physical devices: they hear UI frames, and none of them answers."""
    return address.upper == ALL[address.size] or to_all_devices(address)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a station offers. Times are in seconds.

    inactivity: a link on which nothing came for so long is disconnected
    inter_octet: a gap in a frame that ends it
    echo: as in the client's Setup
    """

    parameters: Parameters = _OFFERED
    inactivity: float = 120.0
    inter_octet: float = 1.0
    echo: bool = False
    max_apdu: int = MAX_APDU
    backlog: int = BACKLOG


class ServerLink:
    """One client's link to one logical device: frames in, frames out. Not connected (NDM) until an SNRM comes."""

    def __init__(self, server: Address, client: Address, terms: Terms) -> None:
        self.server = server
        self.client = client
        self.connected = False
        self.heard_at = 0.0
        self.counted = Counted()
        self._terms = terms
        self._numbered = self._fresh(DEFAULT)
        self._asked = False  # the client has given us the turn
        self._reply: tuple[Kind, bytes] | None = None  # an unnumbered frame to answer with
        self._rejection: Rejection | None = None  # set: every answer is this FRMR

    @property
    def parameters(self) -> Parameters:
        """What was agreed."""
        return self._numbered.parameters

    @property
    def unacknowledged(self) -> int:
        """Segments that the client has not acknowledged, sent or not."""
        return self._numbered.unacknowledged

    def received(self) -> bytes | None:
        """The next whole APDU, if there is one."""
        return self._numbered.received.popleft() if self._numbered.received else None

    def send(self, apdu: bytes) -> None:
        """Queue an APDU for the next turns. Raises ValueError when it is too long. Without a link it is dropped."""
        if self.connected:
            self._numbered.queue(apdu)

    def hear(self, frame: Frame) -> bool:
        """Take one frame of this link. Returns whether an established link ended with it (a new one may begin)."""
        kind, final = frame.control.kind, frame.control.final
        was = self.connected
        self._asked = self._asked or final
        if kind is Kind.SNRM:
            self._connect(frame)
            return was
        if kind is Kind.DISC:
            self.connected = False
            self._rejection = None
            self._reply = (Kind.UA if was else Kind.DM, b"")
            return was
        if not self.connected:
            self._reply = (Kind.DM, b"")
        elif self._rejection is None:
            self._numbers(frame)
        return False

    def turn(self) -> list[Frame]:
        """The frames of our turn; none where it is not ours."""
        if not self._asked:
            return []
        self._asked = False
        reply, self._reply = self._reply, None
        if reply is not None:
            return [Frame(self.client, self.server, Control(reply[0], True), reply[1])]
        if self._rejection is not None:
            return [Frame(self.client, self.server, Control(Kind.FRMR, True), self._rejection.encode())]
        return self._numbered.turn(self.client, self.server)

    def drop(self) -> None:
        """Be disconnected, without a word."""
        self.connected = False

    def _connect(self, frame: Frame) -> None:
        self._rejection = None
        try:
            asked = decode_parameters(frame.information)
        except DecodeError:
            self.connected = False
            self._reply = (Kind.DM, b"")
            return
        terms = agree(self._terms.parameters, asked)
        self.connected = True
        self._numbered = self._fresh(terms)
        # who says nothing about parameters may not understand ours either, and the defaults need not be said
        self._reply = (Kind.UA, encode_parameters(terms) if frame.information or terms != DEFAULT else b"")

    def _numbers(self, frame: Frame) -> None:
        reason = Reason.CONTROL if frame.control.kind in _UNKNOWN else self._numbered.hear(frame)
        if reason is not None:
            self._rejection = Rejection(
                frame.control.encode(), self._numbered.send, self._numbered.receive, reason, response=False
            )

    def _fresh(self, terms: Parameters) -> Numbered:
        # a client that sends longer frames than were agreed, but no longer than we can take, is put up with
        terms = replace(terms, receive=max(terms.receive, self._terms.parameters.receive))
        return Numbered(terms, LLC_RESPONSE, self.counted, max_apdu=self._terms.max_apdu, backlog=self._terms.backlog)


class Station:
    """A meter's place on one line.

    physical: its lower address, which frames of 2- and 4-byte addresses must have; None: it answers to any.
    ended: is told (client SAP, server SAP) when a link ended, and with it the association on it.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        physical: int | None = None,
        terms: Terms | None = None,
        ended: Callable[[int, int], None] | None = None,
        clients: int = CLIENTS,
    ) -> None:
        self.terms = terms or Terms()
        self.links: OrderedDict[tuple[Address, Address], ServerLink] = OrderedDict()
        self.decoder = Decoder()
        self.strays = 0  # frames for other stations, and echoes
        self._handler = handler
        self._physical = physical
        self._ended = ended or (lambda client, server: None)
        self._clients = clients
        self._echo = Echo(known=self.terms.echo)
        self._joiner = Joiner(self.terms.max_apdu)
        self._seams = Seams(self.decoder)
        self._octet_at = 0.0

    @property
    def deadline(self) -> float | None:
        """When `tick()` has to be called, if nothing comes before."""
        times = [link.heard_at + self.terms.inactivity for link in self.links.values()]
        if self.decoder.pending > 1:
            times.append(self._octet_at + self.terms.inter_octet)
        return min(times, default=None)

    def feed(self, data: bytes, now: float) -> bytes:
        """Take what the line brought; return what to write."""
        frames = self._expire(now)
        self._octet_at = now
        return self.hear(self._seams.mark(chain(frames, self.decoder.feed(data))), now)

    def tick(self, now: float) -> bytes:
        """Notice what did not come in time; return what to write."""
        frames = self._expire(now)
        wire = self.hear(self._seams.mark(frames), now) if frames else b""
        # the one that was heard longest ago is the first
        while self.links and now >= next(iter(self.links.values())).heard_at + self.terms.inactivity:
            self._forget(next(iter(self.links)))
        return wire

    def push(self, server_sap: int, client_sap: int, apdu: bytes) -> bytes:
        """An APDU that nobody asked for, in UI frames. Raises ValueError for addresses that do not fit."""
        client = Address(client_sap)
        for link in self.links.values():
            if link.client == client and link.server.upper == server_sap:
                server, size = link.server, link.parameters.transmit
                break
        else:
            size = DEFAULT.transmit
            server = Address(server_sap) if self._physical is None else Address(server_sap, self._physical, 2)
            if server.lower > 0x7F:
                server = server._replace(size=4)
        return self._wire(list(notification(client, server, apdu, max_information=size)))

    def hear(self, frames: Iterable[Frame | None], now: float) -> bytes:
        """Take frames, with a None wherever something unusable came between two; return what to write."""
        answered: dict[tuple[Address, Address], ServerLink] = {}
        wire = b""
        for frame in frames:
            if frame is None:
                self._joiner.lost()
            elif self._echo.cancels(frame) or not self._is_for_us(frame):
                self.strays += 1
            elif frame.control.kind is Kind.UI:
                wire += self._unnumbered(frame)
            elif not is_broadcast(frame.destination):
                link = self._link(frame)
                link.heard_at = now
                if link.hear(frame):
                    self._ended(link.client.upper, link.server.upper)
                self._handle(link)
                answered[frame.destination, frame.source] = link
        # two polls that were read at once are one turn: the client has given up waiting for the first answer
        return wire + b"".join(self._wire(link.turn()) for link in answered.values())

    def _is_for_us(self, frame: Frame) -> bool:
        destination, source = frame.destination, frame.source
        if frame.control.kind not in _COMMANDS or ((source, destination) in self.links and source != destination):
            return False
        return (
            to_all_devices(destination)
            or self._physical is None
            or destination.size == 1
            or destination.lower == self._physical
        )

    def _link(self, frame: Frame) -> ServerLink:
        key = (frame.destination, frame.source)
        link = self.links.get(key) or ServerLink(frame.destination, frame.source, self.terms)
        if frame.control.kind is Kind.SNRM:
            while key not in self.links and len(self.links) >= self._clients:
                self._forget(next(iter(self.links)))
            self.links[key] = link
        if key in self.links:
            self.links.move_to_end(key)
        return link

    def _handle(self, link: ServerLink) -> None:
        while (apdu := link.received()) is not None:
            for answer in each(self._handler(link.client.upper, link.server.upper, apdu)):
                link.send(answer)

    def _unnumbered(self, frame: Frame) -> bytes:
        """A UI frame: the one service without a link, and without an answer unless P asks for one."""
        if (message := self._joiner.add(frame)) is None:
            return b""
        answers = each(self._handler(frame.source.upper, frame.destination.upper, message.apdu))
        if not answers or not frame.control.final or is_broadcast(frame.destination):
            return b""
        parts = (notification(frame.source, frame.destination, answer) for answer in answers)
        return self._wire(list(chain.from_iterable(parts)))

    def _forget(self, key: tuple[Address, Address]) -> None:
        link = self.links.pop(key)
        if link.connected:
            link.drop()
            self._ended(link.client.upper, link.server.upper)

    def _wire(self, frames: list[Frame]) -> bytes:
        self._echo.sent(frames)
        return b"".join(map(encode, frames))

    def _expire(self, now: float) -> list[Frame]:
        if self.decoder.pending > 1 and now >= self._octet_at + self.terms.inter_octet:
            return list(self.decoder.abandon())
        return []
