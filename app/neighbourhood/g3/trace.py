"""What pictures, captures and tests see of the street: events, each a dict that is JSON as it stands.

`t` is seconds since the start. The first event is the street itself (`"e":"street"`), then what happens in it: frames,
joins, routes, cables, noise, nodes; the caller adds readings and progress with `emit`. A trace that nobody listens to
costs one test a frame. What an application datagram is (GET, PUSH…) only those know who have the meters' keys:
`kind_of` and `layers_of` are given from outside.
"""

import json
from collections.abc import Callable
from typing import IO, Any

Event = dict[str, Any]
Sink = Callable[[Event], None]


class Trace:
    """Hands every event to every sink. `wanted`: anybody listens; bytes, layers: frames carry their `bytes`, `layers`.

    kind_of: a UDP payload and whether it goes to the coordinator → its kind; layers_of: a UDP payload → its layers.
    """

    __slots__ = ("_sinks", "bytes", "frames", "kind_of", "layers", "layers_of", "wanted")

    def __init__(self, *sinks: Sink, bytes_too: bool = False, layers_too: bool = False) -> None:
        self._sinks = list(sinks)
        self.wanted = bool(sinks)
        self.bytes = bytes_too
        self.layers = layers_too
        self.frames = 0
        self.kind_of: Callable[[bytes, bool], str] | None = None
        self.layers_of: Callable[[bytes], list[Any]] | None = None

    def listen(self, sink: Sink) -> None:
        self._sinks.append(sink)
        self.wanted = True

    def leave(self, sink: Sink) -> None:
        self._sinks.remove(sink)
        self.wanted = bool(self._sinks)

    def emit(self, e: str, t: float, **fields: Any) -> None:
        if self.wanted:
            self.pass_on({"t": round(t, 6), "e": e, **fields})

    def pass_on(self, event: Event) -> None:
        for sink in self._sinks:
            sink(event)


def to_file(file: IO[str]) -> Sink:
    """A sink that writes NDJSON: one event a line, compact."""
    write, dumps = file.write, json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

    def sink(event: Event) -> None:
        write(dumps(event) + "\n")

    return sink
