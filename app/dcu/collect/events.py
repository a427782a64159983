"""What others may want to hear of while the collector works: events by topic, to whoever has subscribed."""

from collections.abc import Callable
from typing import Any

Listener = Callable[[str, dict[str, Any]], None]

TOPICS = ("reading", "meter", "progress", "job", "alarm", "image", "network")


class Events:
    """Hands each event to every listener at once; a listener must not block, and bounds what it keeps."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` from now on; returns how to end it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self, topic: str, **data: Any) -> None:
        for listener in list(self._listeners):
            listener(topic, data)
