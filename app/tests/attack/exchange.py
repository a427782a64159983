"""One secured exchange with an attacker on the line, and what came of it.

The exchange: AARQ, HLS 5, GET of a known value, SET, ACTION on the relay, RLRQ. The attacker holds no key. He gets
every frame of both directions in turn and puts on the line what he likes in its place. All is determined (counters,
challenges), so that the same attack gives the same frames.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from dcu.cosem import axdr, data, general, security
from dcu.cosem.association import (
    AUTHENTICATED_ENCRYPTED,
    SUPPORTED_SHORT,
    Association,
    Authentication,
    MemoryFloors,
    Negotiated,
    ServerAssociation,
)
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange
from dcu.cosem.security import Framing
from dcu.cosem.server import ServerSession
from dcu.cosem.short import ShortSession
from dcu.errors import DcuError, LinkTimeout
from tests.cosem.small_meter import (
    CLIENT,
    CLIENT_TITLE,
    DISCONNECT,
    ENERGY,
    ENERGY_NOW,
    KEYS,
    LIMIT,
    METER_TITLE,
    SmallMeter,
    association,
    offered,
    server_terms,
)
from tests.cosem.test_short import NAMES

NEW_LIMIT = axdr.encode(data.u32(2500))
PARAMETER = axdr.encode(data.i8(0))
COMMANDS = [(LIMIT, NEW_LIMIT), (DISCONNECT, PARAMETER)]
SHORT = "short names, "
REQUESTS = ("AARQ", "HLS request", "GET request", "SET request", "ACTION request", "RLRQ")
ANSWERS = ("AARE", "HLS response", "GET response", "SET response", "ACTION response", "RLRE")
FRAMES = tuple(name for pair in zip(REQUESTS, ANSWERS, strict=True) for name in pair)  # in order of the line
SERVICES = FRAMES[2:10]  # what has to be ciphered as a whole

Attack = Callable[[str, bytes], Sequence[bytes]]  # a frame's name and bytes: what arrives in its place


def honest(name: str, frame: bytes) -> Sequence[bytes]:
    return (frame,)


@dataclass
class Outcome:
    """frames: what the two sides sent, by name. results: what the client's caller was given, by request."""

    frames: dict[str, bytes] = field(default_factory=dict)
    results: dict[str, object] = field(default_factory=dict)
    error: DcuError | None = None
    breaches: list[str] = field(default_factory=list)

    @property
    def completed(self) -> bool:
        return len(self.results) == len(REQUESTS)


EXPECTED = {
    "GET request": ENERGY_NOW,
    "SET request": None,
    "ACTION request": PARAMETER,
    "RLRQ": None,
}


class Line:
    """Client, meter and, between them, the attacker."""

    def __init__(
        self,
        *,
        dedicated: bool = False,
        lossy: bool,
        floors: MemoryFloors | None = None,
        start: int = 100,
        context: str = "",
        client_context: str = "",
    ) -> None:
        """context: one of small_meter's, instead of HLS 5 in suite 0; client_context: another for the client.

        Behind SHORT it is by short names.
        """
        client_context = client_context or context
        short, client_short = context.startswith(SHORT), client_context.startswith(SHORT)
        context, client_context = context.removeprefix(SHORT), client_context.removeprefix(SHORT)
        self.meter = SmallMeter(rows=0)
        self._form = form_of(context, dedicated=dedicated)
        numbers = count(start)

        def random(size: int) -> bytes:  # no two the same, and the same in every run
            return next(numbers).to_bytes(2, "big") * (size // 2)

        terms = ServerAssociation(Authentication.GMAC, KEYS, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED)
        self.server = ServerSession(
            self.meter,
            {CLIENT: replace(server_terms(context) if context else terms, names=NAMES if short else None)},
            counter=count(start + 5000).__next__,
            floors=floors,
            lossy=lossy,
            random=random,
        )
        settings = Association(
            CLIENT, 1, Authentication.GMAC, KEYS, CLIENT_TITLE, AUTHENTICATED_ENCRYPTED, dedicated=dedicated
        )
        if context:
            settings = replace(association(client_context), short=client_short)
        counter = count(start).__next__
        self.client = (
            ShortSession(settings, counter=counter, random=random, names=NAMES, lossy=lossy, unproven=True)
            if client_short
            else ClientSession(settings, counter=counter, lossy=lossy, random=random)
        )
        agreed = SUPPORTED_SHORT if short else offered(context) & offered(client_context)
        self._agreed = Negotiated(agreed, 0xFFFF, METER_TITLE)
        self._waiting: deque[bytes] = deque()

    def run(self, attack: Attack = honest) -> Outcome:
        outcome = Outcome()
        client = self.client
        steps: list[tuple[str, Callable[[], Exchange[object]]]] = [
            ("AARQ", client.associate),
            ("GET request", lambda: client.get(ENERGY)),
            ("SET request", lambda: client.set(LIMIT, NEW_LIMIT)),
            ("ACTION request", lambda: client.action(DISCONNECT, PARAMETER)),
            ("RLRQ", client.release),
        ]
        names = iter(FRAMES)
        try:
            for step, exchange in steps:
                outcome.results[step] = self._drive(exchange(), names, attack, outcome)
                if step == "AARQ":
                    outcome.results["HLS request"] = None
        except DcuError as error:
            outcome.error = error
        self._judge(outcome)
        return outcome

    def _drive(self, exchange: Exchange[object], names: Iterator[str], attack: Attack, outcome: Outcome) -> object:
        """Run one exchange. What nobody has read yet stays on the line, for the next one to find."""
        try:
            sent = next(exchange)
            while True:
                if sent is not None:
                    self._carry(sent, next(names), next(names), attack, outcome)
                if not self._waiting:
                    exchange.close()
                    raise LinkTimeout("nothing acceptable came")
                sent = exchange.send(self._waiting.popleft())
        except StopIteration as stop:
            return stop.value

    def _carry(self, sent: bytes, request: str, answer: str, attack: Attack, outcome: Outcome) -> None:
        """Bring a request, or what the attacker makes of it, to the meter, and its answers back the same way."""
        outcome.frames[request] = sent
        for arrived in attack(request, sent):
            replied = self.server.receive(CLIENT, arrived)
            if replied is not None:
                outcome.frames[answer] = replied
                self._waiting.extend(attack(answer, replied))

    def _judge(self, outcome: Outcome) -> None:
        """What the attack achieved that it must not."""
        for step, result in outcome.results.items():
            if result != (self._agreed if step == "AARQ" else EXPECTED.get(step)):
                outcome.breaches.append(f"{step} delivered {result!r}")
        if self.meter.done != COMMANDS[: len(self.meter.done)]:
            outcome.breaches.append(f"the meter executed {self.meter.done}")
        claimed = sum(step in outcome.results for step in ("SET request", "ACTION request"))
        if claimed > len(self.meter.done):
            outcome.breaches.append("a command was reported done and was not")
        for name, frame in outcome.frames.items():
            if name in SERVICES and frame[:1] != b"\xd8" and form(frame) != self._form:
                outcome.breaches.append(f"{name} left with less protection: {frame.hex()}")


Form = tuple[bool, Framing | None, int]  # signed, how ciphered (by what it tells of its key), security control


def form(frame: bytes) -> Form:
    """How a service left one of the two sides. Error APDUs carry nothing, and are not looked at."""
    signed = frame[:1] == bytes((general.SIGNING,))
    if signed:
        frame = general.parse_signed(frame).apdu
    if frame[:1] == bytes((general.CIPHERING,)):
        ciphered = general.parse(frame)
        return signed, ciphered.framing, ciphered.control.byte
    if not security.is_ciphered(frame):
        return signed, None, 0
    return signed, security.parse(frame).framing, security.parse(frame).control.byte


_DEDICATED = {Framing.GLOBAL: Framing.DEDICATED, Framing.GENERAL_GLOBAL: Framing.GENERAL_DEDICATED}


def form_of(context: str, *, dedicated: bool) -> Form:
    """How every service must leave: under the dedicated key where there is one."""
    if not context:
        return False, Framing.DEDICATED if dedicated else Framing.GLOBAL, 0x30
    settings = association(context)
    assert settings.keys
    framing = _DEDICATED[settings.framing] if settings.dedicated else settings.framing
    return settings.signed, framing, 0x30 | settings.keys.suite
