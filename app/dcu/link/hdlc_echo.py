"""Frames that come back to their sender: an optical head or an RS-485 adapter hears itself.

Addresses tell an echo from an answer, unless client and server have the same one (client 1 at meter 1). There an RR
may be either, so it has to be known that the line echoes: by configuration, or because a frame came back that only we
would send.
"""

from collections import deque
from collections.abc import Iterable

from dcu.link.hdlc import Frame, Kind

_KEPT = 64  # a few turns of a window each
_BOTH_SEND = (Kind.I, Kind.RR, Kind.RNR, Kind.UI)


class Echo:
    """What was sent and did not come back yet: each frame is taken for an echo once."""

    def __init__(self, *, known: bool = False) -> None:
        self._sent: deque[Frame] = deque(maxlen=_KEPT)
        self._known = known

    def sent(self, frames: Iterable[Frame]) -> None:
        """`frames` are about to be sent."""
        self._sent.extend(frames)

    def cancels(self, frame: Frame) -> bool:
        """Whether `frame` is the echo of what we sent."""
        # an answer that comes late may stand before the echo of what we sent since: it must not end the waiting
        if frame not in self._sent:
            return False
        self._known = self._known or frame.control.kind not in _BOTH_SEND
        if frame.source == frame.destination and not self._known:
            return False
        while self._sent.popleft() != frame:
            pass  # an echo before it was damaged
        return True
