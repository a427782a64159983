"""The bootstrapping server in the coordinator's modem (LBS): asks the host whether a device may join, proves the key to
it, hands out its short address and the group key, changes that key, and sends devices away.

What firmware does and ours does not: it gives a device that joins while a key is changed the new key alone (such a
device refuses), reports the short address of an earlier run when a key was handed out, and sends a repetition of that
to an earlier agent.

Sources: ITU-T G.9903, 9.4.4; Microchip smartenergy_g3 (slots, repetition, what the host is told).
"""

from collections.abc import Callable
from enum import Enum, auto
from random import Random
from typing import Any

from dcu.errors import AuthenticationFailed, DecodeError, TagMismatch
from neighbourhood.g3 import eap_psk, lbp
from neighbourhood.g3.events import Scheduler, Timer
from neighbourhood.g3.node import Node

DEFAULT_IDS = bytes.fromhex("8172635445362718")
DECLINED = 0xFFFF
LAST_SHORT = 0x7FFF  # above are groups
SLOTS = 5  # devices that may be under way at a time
TIMEOUT = 300.0  # seconds until a message is said again, as the firmware has it
ATTEMPTS = 2
STALE = 20.0  # seconds (a device's own limit) after which one that begins anew is believed to have given up
ABANDONED = 30.0  # seconds without a move after which another device may have the slot
SIZES = {0: (8, 34), 2: (16,), 3: (16,), 4: (16,), 6: (2,)}  # of what may be set
UNSUPPORTED, WRONG_INDEX, WRONG_LENGTH = 2, 3, 4
RETIRE = 3600.0  # seconds that the key before the active one is still understood


class Step(Enum):
    ASKED = auto()  # the host, whether it may join
    PROVING = auto()
    ACCEPTED = auto()
    DECLINED = auto()


class Slot:
    """A device under way. `agent`: through whom it speaks, None: itself, one hop away."""

    __slots__ = ("agent", "attempts", "begun", "eap", "eui64", "message", "moved", "rekeying", "short", "step", "timer")

    def __init__(self, eui64: bytes, agent: int | None, now: float) -> None:
        self.eui64, self.agent = eui64, agent
        self.begun = self.moved = now
        self.short = DECLINED
        self.step = Step.ASKED
        self.rekeying = False
        self.eap: eap_psk.Server | None = None
        self.message = b""
        self.attempts = 0
        self.timer: Timer | None = None


class Server:
    """join_request(EUI-64), join_complete(EUI-64, short), left(short): what the host is told."""

    def __init__(self, node: Node, scheduler: Scheduler, random: Random, *, slots: int = SLOTS) -> None:
        self.node, self.scheduler = node, scheduler
        self.psk = bytes(16)
        self.id_s = DEFAULT_IDS
        self.gmk = bytes(16)
        self.new_gmk = bytes(16)
        self.index = 0
        self.rekeying = False
        self.timeout = TIMEOUT
        self.slots: dict[bytes, Slot] = {}
        self.limit = slots
        self.refused = 0  # that did not hold the key
        self.undecoded = 0
        self.ignored = 0
        self.join_request: Callable[[bytes], Any] = _nobody
        self.join_complete: Callable[[bytes, int], Any] = _nobody
        self.left: Callable[[int], Any] = _nobody
        self._random = random
        self._identifier = 0
        node.on_lbp = self.heard

    # --- what the host asks for

    def set(self, attribute: int, index: int, value: bytes) -> int:
        """A value of the bootstrapping base (IDS, PSK, GMK, the new GMK, seconds until a repetition); its status."""
        if attribute not in SIZES:
            return UNSUPPORTED
        if len(value) not in SIZES[attribute]:
            return WRONG_LENGTH
        if attribute == 3 and index > 1:
            return WRONG_INDEX
        if attribute == 0:
            self.id_s = value
        elif attribute == 2:
            self.psk = value
        elif attribute == 3:
            self.set_gmk(index, value)
        elif attribute == 4:
            self.new_gmk = value
        else:
            self.timeout = float(int.from_bytes(value, "big"))
        return 0

    def set_gmk(self, index: int, key: bytes) -> None:
        self.gmk, self.index = key, index
        self.node.keys[index] = key
        self.node.active_key = index

    def assign(self, eui64: bytes, short: int) -> None:
        """Answer to `join_request`. A device that is no longer under way is passed over."""
        slot = self.slots.get(eui64)
        if slot is None or slot.step is not Step.ASKED:
            self.ignored += 1
        elif short > LAST_SHORT:
            self._decline(slot)
        else:
            slot.short = short
            self._challenge(slot)

    def kick(self, short: int, eui64: bytes) -> None:
        self.node.send_lbp(short, lbp.Message(lbp.Code.KICK_TO_DEVICE, eui64).encode(), _nobody)

    def rekey(self, short: int, eui64: bytes, distribute: bool) -> None:
        """Give a joined device the new key, or have it use it."""
        slot = self.slots.get(eui64)
        if slot is None and len(self.slots) >= self.limit and not self._make_room():
            self.ignored += 1
            return
        if slot is not None:
            self._end(slot)
        slot = self.slots[eui64] = Slot(eui64, short, self.scheduler.now)
        slot.short, slot.rekeying = short, True
        if distribute:
            self._challenge(slot)
        else:
            slot.step = Step.ACCEPTED
            data = lbp.encode_parameters(lbp.Activation(self._other))
            self._say(slot, lbp.Message(lbp.Code.ACCEPTED, eui64, data))

    def remove(self, short: int, eui64: bytes, index: int) -> None:
        """Have a joined device forget a key. The host's interface has no command for it."""
        message = lbp.Message(lbp.Code.ACCEPTED, eui64, lbp.encode_parameters(lbp.Removal(index)))
        self.node.send_lbp(short, message.encode(), _nobody)

    def activate(self) -> None:
        """Use the new key ourselves, and for those who join from now on; the old one is understood for a while yet."""
        old = self.index
        self.set_gmk(self._other, self.new_gmk)
        self.scheduler.after(RETIRE, retire, self.node, old, self.node.keys.get(old))

    def close(self) -> None:
        """The stack is shut: nobody is under way any more."""
        for slot in list(self.slots.values()):
            self._end(slot)
        self.join_request = self.join_complete = self.left = _nobody
        self.node.on_lbp = _nobody

    @property
    def _other(self) -> int:
        return 1 - self.index

    # --- what devices say

    def heard(self, source: int | bytes, payload: bytes) -> None:
        """An LBP message, its dispatch taken off. source: an agent or a joined device (secured), or an EUI-64 (not)."""
        try:
            message = lbp.decode(payload)
            if message.code is lbp.Code.KICK_FROM_DEVICE and isinstance(source, int):
                self.left(source)
            elif message.code is not lbp.Code.JOINING or (isinstance(source, bytes) and source != message.eui64):
                self.ignored += 1
            elif not message.data:
                self._begins(message.eui64, source if isinstance(source, int) else None)
            elif message.data[0] & 1:
                lbp.decode_parameters(message.data)  # what it did with its parameters: nothing hangs on it
            else:
                self._answered(message)
        except DecodeError:
            self.undecoded += 1

    def _begins(self, eui64: bytes, agent: int | None) -> None:
        slot = self.slots.get(eui64)
        if slot is not None and (slot.step is not Step.ACCEPTED and self.scheduler.now - slot.begun < STALE):
            self.ignored += 1
            return
        if slot is not None:
            self._end(slot)
        if len(self.slots) >= self.limit and not self._make_room():
            self.ignored += 1
            return
        slot = self.slots[eui64] = Slot(eui64, agent, self.scheduler.now)
        slot.timer = self.scheduler.after(self.timeout, self._end, slot)
        self.join_request(eui64)

    def _make_room(self) -> bool:
        """Give up one that has not moved for long: its device has, too."""
        oldest = min(self.slots.values(), key=lambda slot: slot.moved)
        if self.scheduler.now - oldest.moved < ABANDONED:
            return False
        self._end(oldest)
        return True

    def _answered(self, message: lbp.Message) -> None:
        slot = self.slots.get(message.eui64)
        if slot is None or slot.eap is None or message.eap is None or slot.step is not Step.PROVING:
            self.ignored += 1
            return
        try:
            said = slot.eap.receive(message.eap)
        except (AuthenticationFailed, TagMismatch):
            self.refused += 1
            self._decline(slot)
            return
        if slot.eap.state is eap_psk.State.SUCCESS:
            slot.step = Step.ACCEPTED
            self._say(slot, lbp.of_eap(lbp.Code.ACCEPTED, slot.eui64, said))
        elif slot.eap.state is eap_psk.State.FAILURE:
            self._decline(slot)
        else:
            self._say(slot, lbp.of_eap(lbp.Code.CHALLENGE, slot.eui64, said))

    # --- what is said

    def _challenge(self, slot: Slot) -> None:
        slot.step = Step.PROVING
        carried = lbp.EXTENSION + lbp.encode_parameters(*self._parameters(slot))
        slot.eap = eap_psk.Server(
            self.psk, self.id_s, self._random.randbytes, identifier=self._identifier, extension=lambda id_p: carried
        )
        self._identifier = self._identifier + 3 & 0xFF
        self._say(slot, lbp.of_eap(lbp.Code.CHALLENGE, slot.eui64, slot.eap.start()))

    def _parameters(self, slot: Slot) -> list[lbp.ShortAddress | lbp.Gmk | lbp.Activation]:
        new = lbp.Gmk(self._other, self.new_gmk)
        if slot.rekeying:
            return [new]
        current = lbp.Gmk(self.index, self.gmk)
        keys = [current, new] if self.rekeying else [current]
        return [lbp.ShortAddress(slot.short), *keys, lbp.Activation(self.index)]

    def _decline(self, slot: Slot) -> None:
        slot.step = Step.DECLINED
        failure = eap_psk.Packet(eap_psk.Code.FAILURE, self._identifier).encode()
        self._identifier = self._identifier + 1 & 0xFF
        self._say(slot, lbp.of_eap(lbp.Code.DECLINE, slot.eui64, failure))

    def _say(self, slot: Slot, message: lbp.Message) -> None:
        slot.message, slot.attempts = message.encode(), 0
        self._send(slot)

    def _send(self, slot: Slot) -> None:
        slot.moved = self.scheduler.now
        self.scheduler.cancel(slot.timer)
        slot.timer = self.scheduler.after(self.timeout, self._overdue, slot)
        slot.attempts += 1
        said = slot.message
        destination = slot.eui64 if slot.agent is None else slot.agent
        self.node.send_lbp(destination, said, lambda status: self._sent(slot, said, status))

    def _sent(self, slot: Slot, said: bytes, status: int) -> None:
        if self.slots.get(slot.eui64) is not slot or said is not slot.message:
            return
        if status:
            self._end(slot)
        elif slot.step is Step.ACCEPTED:
            self._end(slot)
            self.join_complete(slot.eui64, slot.short)
        elif slot.step is Step.DECLINED:
            self._end(slot)

    def _overdue(self, slot: Slot) -> None:
        if slot.attempts < ATTEMPTS:
            self._send(slot)
        else:
            self._end(slot)

    def _end(self, slot: Slot) -> None:
        self.scheduler.cancel(slot.timer)
        if self.slots.get(slot.eui64) is slot:
            del self.slots[slot.eui64]


def retire(node: Node, index: int, key: bytes | None) -> None:
    """Forget a key, unless another has taken its place."""
    if node.active_key != index and node.keys.get(index) == key:
        node.keys.pop(index, None)


def _nobody(*_: Any) -> None:
    """Where nobody listens."""
