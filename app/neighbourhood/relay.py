"""The states of a disconnect control (class 70) and what takes it from one to the other, by its control mode.

Remotely: the methods, whoever calls them; manually: the householder's button and switch; locally: a function of the
meter itself, the limiter for instance. What opens by itself or by hand waits for the button; what was opened remotely
is closed remotely.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.5.8: the state diagram, transitions a to h, and the table of its modes.
"""

from enum import Enum, IntEnum, auto


class Relay(IntEnum):
    DISCONNECTED = 0
    CONNECTED = 1
    READY = 2  # for reconnection: the householder presses a button


class Trigger(Enum):
    REMOTE_DISCONNECT = auto()
    REMOTE_RECONNECT = auto()
    MANUAL_DISCONNECT = auto()
    MANUAL_RECONNECT = auto()
    LOCAL_DISCONNECT = auto()
    LOCAL_RECONNECT = auto()


MODES = range(7)  # in mode 0 it is always connected
_ANY = frozenset(MODES) - {0}
_DIRECT = frozenset((2, 4))  # a remote reconnection needs no button
_TRANSITIONS = {
    (Relay.DISCONNECTED, Trigger.REMOTE_RECONNECT, Relay.CONNECTED): _DIRECT,  # a
    (Relay.CONNECTED, Trigger.REMOTE_DISCONNECT, Relay.DISCONNECTED): _ANY,  # b
    (Relay.READY, Trigger.REMOTE_DISCONNECT, Relay.DISCONNECTED): _ANY,  # c
    (Relay.DISCONNECTED, Trigger.REMOTE_RECONNECT, Relay.READY): _ANY - _DIRECT,  # d
    (Relay.READY, Trigger.MANUAL_RECONNECT, Relay.CONNECTED): _ANY,  # e
    (Relay.CONNECTED, Trigger.MANUAL_DISCONNECT, Relay.READY): frozenset((1, 2, 5)),  # f
    (Relay.CONNECTED, Trigger.LOCAL_DISCONNECT, Relay.READY): _ANY,  # g
    (Relay.READY, Trigger.LOCAL_RECONNECT, Relay.CONNECTED): frozenset((5, 6)),  # h
}


def after(state: Relay, trigger: Trigger, mode: int) -> Relay:
    """The state that `trigger` leads to; the same one where this mode does not know that transition."""
    for (before, by, then), modes in _TRANSITIONS.items():
        if before is state and by is trigger and mode in modes:
            return then
    return state
