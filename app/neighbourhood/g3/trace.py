"""What pictures, captures and tests see of the street: events, each a dict that is JSON as it stands.

`t` is seconds since the start. The first event is the street itself (`"e":"street"`), then what happens in it: frames,
joins, routes, cables, noise, nodes; the caller adds readings and progress with `emit`. A trace that nobody listens to
costs one test a frame. What an application datagram is (GET, PUSH…) only those know who have the meters' keys:
`kind_of` and `layers_of` are given from outside.
"""

import json
from collections.abc import Callable, Iterable
from typing import IO, TYPE_CHECKING, Any

from dcu.errors import DecodeError
from neighbourhood.g3 import explained

if TYPE_CHECKING:
    from neighbourhood.g3.channel import Transmission

Event = dict[str, Any]
Sink = Callable[[Event], None]


class Tag:
    """What the trace knows of a message, on all its hops. origin: a device's number; final: short address, or None.

    kind None: it is an application's packet, and `kind_of` will tell. data: the packet, or what an LBP or
    LOADng message holds.
    """

    __slots__ = ("data", "final", "kind", "layers", "origin")

    def __init__(self, origin: int, final: int | None, kind: str | None, data: bytes = b"") -> None:
        self.origin = origin
        self.final = final
        self.kind = kind
        self.data = data
        self.layers: list[Any] | None = None


class Trace:
    """Hands every event to every sink. `wanted`: anybody listens; bytes, layers: frames carry their `bytes`, `layers`.

    kind_of: an IPv6 packet → its kind; layers_of: an IPv6 packet → its layers, which follow
    those of the line; number_of: a short address → a device; keys: group keys that may open a frame.
    """

    __slots__ = ("_sinks", "bytes", "frames", "keys", "kind_of", "layers", "layers_of", "number_of", "wanted")

    def __init__(self, *sinks: Sink, bytes_too: bool = False, layers_too: bool = False) -> None:
        self._sinks = list(sinks)
        self.wanted = bool(sinks)
        self.bytes = bytes_too
        self.layers = layers_too
        self.frames = 0
        self.kind_of: Callable[[bytes], str] = lambda packet: "DATA"
        self.layers_of: Callable[[bytes], list[Any]] | None = None
        self.number_of: Callable[[int], int | None] = lambda short: None
        self.keys: Callable[[], Iterable[bytes]] = tuple

    def listen(self, sink: Sink) -> None:
        self._sinks.append(sink)
        self.wanted = True

    def leave(self, sink: Sink) -> None:
        self._sinks.remove(sink)
        self.wanted = bool(self._sinks)

    def emit(self, e: str, t: float, **fields: Any) -> None:
        if self.wanted:
            self._pass_on({"t": round(t, 6), "e": e, **fields})

    def frame(self, sent: "Transmission", got: list[int], attenuation: list[float], lost: str | None) -> None:
        """A frame is over: the channel's report."""
        if not self.wanted:
            return
        self.frames += 1
        tag: Tag = sent.tag
        if tag.kind is None:
            tag.kind = self.kind_of(tag.data)
        event: Event = {
            "t": round(sent.start, 6), "e": "frame", "id": self.frames, "src": sent.sender,
            "dst": sent.target if sent.target != sent.sender else None, "kind": tag.kind if sent.raw else "ACK",
            "d": round(sent.end - sent.start, 6), "mod": sent.modulation.name, "n": sent.length or ACK_BYTES,
            "got": got, "att": [round(loss, 1) for loss in attenuation], "lost": lost,
            "orig": tag.origin, "final": None if tag.final is None else self.number_of(tag.final),
        }  # fmt: skip
        if self.bytes:
            event["bytes"] = sent.raw.hex()
        if self.layers and sent.raw:
            line = explained.line(sent.raw, sent.modulation, sent.end - sent.start)
            event["layers"] = [*line, *self._carried(sent), *self._said(tag)]
        self._pass_on(event)

    def _carried(self, sent: "Transmission") -> list[Any]:
        """The layers between the MAC's and what the message says: they change from hop to hop."""
        try:
            frame = sent.decoded().frame
        except DecodeError:
            return []
        if frame.key is None:
            return explained.carried(frame, frame.payload)
        opened = (sent.opened(key) for key in self.keys())
        return next((explained.carried(frame, plain) for plain in opened if plain is not None), [])

    def _said(self, tag: Tag) -> list[Any]:
        """The layers of what a message says; the same on all its hops."""
        if tag.layers is None:
            tag.layers = explained.message(tag.kind or "", tag.data)
            if not tag.layers and tag.data and self.layers_of is not None:
                tag.layers = self.layers_of(tag.data)
        return tag.layers

    def _pass_on(self, event: Event) -> None:
        for sink in self._sinks:
            sink(event)


ACK_BYTES = 5  # of an acknowledgement: 33 bits of frame control header


def to_file(file: IO[str]) -> Sink:
    """A sink that writes NDJSON: one event a line, compact."""
    write, dumps = file.write, json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

    def sink(event: Event) -> None:
        write(dumps(event) + "\n")

    return sink
