"""A G3 modem at the end of a byte stream: requests out, each with its confirm; indications to whoever listens.

A request is answered by its own confirm, or refused by the general status; a modem that says neither in time is asked
again where that changes nothing (`ask`), since a serial line loses bytes. What a line brings besides is counted:
damaged frames, unknown commands, confirms that nobody waits for. The first of each kind is logged, the rest counted.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable
from typing import TypeVar, cast

from dcu.errors import DecodeError, LinkClosed, LinkError, LinkTimeout
from dcu.fan.g3 import messages, reports, requests, usi
from dcu.fan.g3.message import Message, Refusal, Status, named
from dcu.fan.g3.messages import UnknownCommand
from dcu.fan.g3.pib import Adp
from dcu.fan.g3.reports import ModemStatus
from dcu.streams import ByteStream

PATIENCE = 2.0  # seconds for a confirm that the modem gives by itself
TRIES = 3

M = TypeVar("M", bound=Message)

log = logging.getLogger(__name__)


class Rebooted(LinkError):
    """The modem has lost what it was told: it has to be set up again."""


class Refused(LinkError):
    """The modem refused a request, or confirmed it with a failure. `status` is the number on the wire."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


_Key = tuple[type[Message], int, int]  # the confirm that is waited for, and what it is about
_CONFIRMS: dict[type[Message], type[Message]] = {
    requests.StartNetwork: reports.StartConfirm,
    requests.Discover: reports.DiscoverConfirm,
    requests.Reset: reports.ResetConfirm,
    requests.Set: reports.SetConfirm,
    requests.Get: reports.GetConfirm,
    requests.MacSet: reports.MacSetConfirm,
    requests.MacGet: reports.MacGetConfirm,
    requests.LbpSet: reports.LbpSetConfirm,
    requests.DiscoverRoute: reports.RouteConfirm,
    requests.DiscoverPath: reports.PathConfirm,
}


class Modem:
    """One opened modem. `heard` gets every indication, `run` reads until the stream ends or the modem has rebooted."""

    def __init__(self, stream: ByteStream, heard: Callable[[Message], None], counts: Counter[str], name: str) -> None:
        self._stream = stream
        self._heard = heard
        self._counts = counts
        self._name = name
        self._decoder = usi.Decoder()
        self._pending: dict[_Key, tuple[int, asyncio.Future[Message]]] = {}
        self._one_at_a_time: dict[type[Message], asyncio.Lock] = {}
        self._initialising: asyncio.Future[Message] | None = None
        self._running: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.last_heard = asyncio.get_running_loop().time()
        self.ready = False  # initialised: from now on, that it wants to be is a reboot

    async def run(self) -> None:
        """Raises LinkError when the stream ends, Rebooted when the modem did."""
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait({reading, self._running}, return_when=asyncio.FIRST_COMPLETED)
            (reading if reading.done() else self._running).result()
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, LinkError):
                await reading
            self._fail(LinkClosed(f"network {self._name}: the modem is not there now"))

    async def close(self) -> None:
        await self._stream.close()

    async def send(self, message: Message) -> None:
        """Raises LinkError."""
        payload = messages.encode(message)
        await self._stream.write(usi.encode(usi.Frame(usi.Protocol.ADP, payload)))
        self._counts["requests"] += 1

    async def ask(
        self, request: Message, answer: type[M], *, within: float = PATIENCE, tries: int = TRIES, checked: bool = True
    ) -> M:
        """Send a request until its confirm comes, `tries` times. checked: a status that is no success is raised.

        Raises Refused, LinkTimeout, LinkError.
        """
        kind = _CONFIRMS[type(request)]
        lock = self._one_at_a_time.setdefault(kind, asyncio.Lock())
        async with lock:
            for _ in range(tries):
                key = (kind, getattr(request, "attribute", 0), getattr(request, "index", 0))
                future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
                self._pending[key] = (request.COMMAND, future)
                try:
                    await self.send(request)
                    async with asyncio.timeout(within):
                        confirm = cast(M, await future)
                except TimeoutError:
                    self._counts["confirms-missed"] += 1
                    continue
                finally:
                    self._pending.pop(key, None)
                status: int = getattr(confirm, "status", 0)
                if checked and status != Status.SUCCESS:
                    what = f"{type(request).__name__} {self._subject(request)}".rstrip()
                    raise Refused(f"network {self._name}: {what}: the modem says {named(status)}", status)
                return confirm
        raise LinkTimeout(f"network {self._name}: the modem does not answer {type(request).__name__}: is it powered?")

    async def initialise(self, band: int, *, within: float = 10.0, tries: int = TRIES) -> None:
        """Have the modem begin as a coordinator. Its general status answers, when the stack is ready."""
        self.ready = False
        for _ in range(tries):
            self._initialising = asyncio.get_running_loop().create_future()
            try:
                await self.send(requests.Initialise(band, coordinator=True))
                async with asyncio.timeout(within):
                    await self._initialising
                self.ready = True
                return
            except TimeoutError:
                self._counts["confirms-missed"] += 1
            finally:
                self._initialising = None
        raise LinkTimeout(f"network {self._name}: the modem does not initialise: is it powered, and a G3 modem?")

    async def probe(self) -> None:
        """Whether it is alive. Raises LinkTimeout, Rebooted."""
        await self.ask(requests.Get(Adp.SOFT_VERSION), reports.GetConfirm)

    @staticmethod
    def _subject(request: Message) -> str:
        attribute = getattr(request, "attribute", None)
        return "" if attribute is None else f"{attribute:#x}"

    # --- what comes

    async def _read(self) -> None:
        skipped = self._decoder.skipped
        while True:
            data = await self._stream.read()
            if not data:
                raise LinkClosed(f"network {self._name}: the line to the modem ended")
            before = skipped.total
            for frame in self._decoder.feed(data):
                self._take(frame)
            if skipped.total != before:
                self._note("bad-frames", f"{skipped}", skipped.total - before)

    def _take(self, frame: usi.Frame) -> None:
        if frame.protocol is not usi.Protocol.ADP:
            self._note("other-protocols", frame.protocol.name)
            return
        try:
            message = messages.decode_report(frame.payload)
        except UnknownCommand as error:
            self._note("unknown-commands", str(error))
            return
        except DecodeError as error:
            self._note("bad-messages", str(error))
            return
        self.last_heard = asyncio.get_running_loop().time()
        self._counts["reports"] += 1
        if isinstance(message, ModemStatus):
            self._status(message)
        elif type(message) in _EXPECTED:
            self._confirmed(message)
        else:
            self._heard(message)

    def _confirmed(self, message: Message) -> None:
        key = (type(message), getattr(message, "attribute", 0), getattr(message, "index", 0))
        waiting = self._pending.get(key)
        if waiting is None or waiting[1].done():
            self._note("late-confirms", type(message).__name__)
        else:
            waiting[1].set_result(message)

    def _status(self, message: ModemStatus) -> None:
        """Refusals, and the end of an initialisation. One that we did not ask for is a reboot."""
        if message.command == requests.Initialise.COMMAND:
            if self.ready:
                self._reboot("it initialised without being told")
            elif self._initialising and not self._initialising.done() and message.status == Refusal.SUCCESS:
                self._initialising.set_result(message)
            return
        claimed = False
        for command, future in self._pending.values():
            if command == message.command and not future.done():
                text = f"network {self._name}: the modem refuses command {command}: {_refusal(message.status)}"
                future.set_exception(Refused(text, message.status))
                claimed = True
        if message.status == Refusal.NOT_ALLOWED and self.ready:
            self._reboot("it wants to be initialised")
        elif message.status != Refusal.SUCCESS and not claimed:
            self._note("refusals", f"command {message.command}: {_refusal(message.status)}")

    def _reboot(self, why: str) -> None:
        if not self._running.done():
            self._counts["reboots"] += 1
            self._running.set_exception(Rebooted(f"network {self._name}: the modem has rebooted: {why}"))

    def _fail(self, error: LinkError) -> None:
        for _, future in self._pending.values():
            if not future.done():
                future.set_exception(error)
        if self._running.done():
            self._running.exception()

    def _note(self, kind: str, text: str, number: int = 1) -> None:
        """Count; say so the first time."""
        if not self._counts[kind]:
            log.warning("network %s: %s: %s; further ones are only counted", self._name, kind, text)
        self._counts[kind] += number


_EXPECTED = frozenset(_CONFIRMS.values())


def _refusal(status: int) -> str:
    try:
        return Refusal(status).name.lower().replace("_", " ")
    except ValueError:
        return f"status {status}"
