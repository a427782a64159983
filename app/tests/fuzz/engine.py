"""A mutational fuzzer in plain Python: what it does to a parser, and what it holds against it.

A target is a function of bytes with seeds. From them inputs are made by stacking small mutations; an input that the
parser answers in a way not seen before (another type of result, another error message) becomes a seed itself, which
leads the search into the parser without instrumenting it. A finding is: an exception that is not the target's to raise,
processor time or memory beyond what is allowed for the input's length, or no end at all. Everything follows from the
seed number: the same number makes the same inputs in the same order.

Ten million inputs a parser are wanted, so little is done for each: the alarm is set for a batch, and the clock that is
read is the wall's, which is quick and never shows less than was spent. What took too long by it is given to the parser
again, and judged by processor time.
"""

import hashlib
import re
import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from random import Random
from types import FrameType

from dcu.errors import DecodeError

SECONDS = 0.02  # allowed to any input …
SECONDS_A_BYTE = 10e-6  # … and on top for each byte of it: several times what our slowest parser takes
MEMORY = 1 << 20  # the same for memory: a dataclass or a tuple for each byte is about 200 bytes
MEMORY_A_BYTE = 512
HANG = 4.0  # seconds of processor time after which there will be no end
BATCH = 64  # inputs that share an alarm
WEIGHED = 256  # of so many inputs one has its memory measured
CORPUS = 400  # outcomes that make their inputs seeds …
LIGHT = 1024  # … of at most so many bytes: what is made of a heavy one takes as long as of a hundred others
SWOLLEN = 1 << 16  # what a mutation may blow an input up to: the longest APDU that a frame can carry
LONG = SWOLLEN // 2  # inputs that always have their memory measured

INTERESTING = (
    *(bytes((byte,)) for byte in (0x00, 0x01, 0x02, 0x09, 0x0C, 0x13, 0x7E, 0x7F, 0x80, 0xFE, 0xFF)),
    b"\x81\xff",
    b"\x82\xff\xff",
    b"\x84\xff\xff\xff\xff",
    b"\x84\x00\x00\x00\x01",
    b"\x88" + b"\xff" * 8,
    b"\x80\x00",
    b"\x7f\xff\xff\xff",
    b"\x02\x01" * 40,
    b"\x01\x82\xff\xff\x00",
    b"\x13\x01\xff\xff\x00\x00",
    b"\x13\x02\x02\x11\x12\x82\xff\xff",
)


@dataclass(frozen=True)
class Target:
    """A parser under test. covers: the dotted names that it exercises; tokens: what mutations insert besides."""

    name: str
    parse: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    covers: tuple[str, ...] = ()
    allowed: tuple[type[Exception], ...] = (DecodeError,)
    tokens: tuple[bytes, ...] = ()
    longest: int = SWOLLEN
    seconds: float = SECONDS


@dataclass(frozen=True)
class Finding:
    """An input and what is wrong with how it was taken."""

    target: str
    kind: str
    why: str
    data: bytes = field(repr=False)

    def write(self, folder: Path) -> Path:
        """Keep the input in `folder`, so that it can be replayed."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.target}-{hashlib.sha256(self.data).hexdigest()[:12]}.hex"
        path.write_text(f"# {self.target}: {self.why!r}\n# python -m tests.fuzz --replay {path}\n{self.data.hex()}\n")
        return path

    def __str__(self) -> str:
        shown = self.data.hex() if len(self.data) <= 512 else f"{self.data[:512].hex()}… (the rest is in the file)"
        return f"{self.target}: {self.why}\n  input ({len(self.data)} bytes): {shown}"


class Hang(BaseException):
    """The parser found no end. No Exception, so that no parser can swallow it."""


class Fuzzer:
    """The search in one target; it can be continued."""

    def __init__(self, target: Target, seed: int) -> None:
        self.target = target
        self.runs = 0
        self.rate = 1.0  # inputs a second, lately
        self.outcomes: set[str] = set()
        self._random = Random(f"{seed}/{target.name}")
        self._corpus = list(target.seeds) or [b""]
        self._waiting = list(target.seeds)  # each is tried as it is, first
        self._mutate = Mutator(self._random, (*INTERESTING, *target.tokens), target.longest)

    def run(self, seconds: float = float("inf"), runs: int = 1 << 62) -> Finding | None:
        """Search for so long, or so many inputs, or until something is found."""
        deadline = time.monotonic() + seconds
        last = self.runs + runs
        with _alarm():
            while self.runs < last and time.monotonic() < deadline:
                finding = self._batch(min(BATCH, last - self.runs))
                if finding is not None:
                    return minimised(self.target, finding)
        return None

    def _batch(self, size: int) -> Finding | None:
        """Try so many inputs under one alarm; look again at those that took long, and at the memory of the long."""
        target, corpus, outcomes, clock = self.target, self._corpus, self.outcomes, time.monotonic
        parse, allowed, most = target.parse, target.allowed, target.seconds
        weighed = -self.runs % WEIGHED  # which of them is
        slow: list[bytes] = []
        heavy: list[bytes] = []
        data, at = b"", 0
        try:
            signal.setitimer(signal.ITIMER_PROF, HANG)
            started, spent = clock(), time.process_time()
            for at in range(size):
                data = self._waiting.pop() if self._waiting else self._mutate(corpus)
                try:
                    outcome = _shape(parse(data))
                except allowed as error:
                    outcome = _complaint(error)
                if outcome not in outcomes and len(outcomes) < CORPUS:
                    outcomes.add(outcome)
                    if len(data) <= LIGHT:
                        corpus.append(data)
                ended = clock()
                if ended - started > most:
                    before, spent = spent, time.process_time()
                    if spent - before > most:  # else the machine was busy with something else
                        slow.append(data)
                        signal.setitimer(signal.ITIMER_PROF, HANG)  # the others have as long as if it had not been
                elif at == weighed or len(data) > LONG:
                    heavy.append(data)
                started = ended
        except Hang:
            slow.append(data)
        except Exception as error:
            return _escaped(target, data, error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.runs += at + 1
        looks = chain((examine(target, data)[1] for data in slow), (_weighed(target, data) for data in heavy))
        return next(filter(None, looks), None)


def examine(target: Target, data: bytes, *, weigh: bool = True) -> tuple[str, Finding | None]:
    """Give `data` to the target once: what came of it, and what is wrong with that. `weigh`: measure memory too."""
    outcome, finding, spent = _attempt(target, data)
    allowed = target.seconds + SECONDS_A_BYTE * len(data)
    if finding is None and spent > allowed:
        spent = min(spent, *(_attempt(target, data)[2] for _ in range(3)))  # the first may have met the collector
        if spent > allowed:
            why = f"{len(data)} bytes took {spent:.3f} s of processor time, at most {allowed:.3f} s are allowed"
            finding = Finding(target.name, "slow", why, data)
    if finding is None and weigh:
        finding = _weighed(target, data)
    return outcome, finding


def _attempt(target: Target, data: bytes) -> tuple[str, Finding | None, float]:
    started = time.process_time()
    try:
        with _alarm(HANG):
            outcome = _shape(target.parse(data))
    except target.allowed as error:
        outcome = _complaint(error)
    except Hang:
        return "", Finding(target.name, "hang", f"no end after {HANG:g} s of processor time", data), HANG
    except Exception as error:
        return "", _escaped(target, data, error), 0.0
    return outcome, None, time.process_time() - started


def _escaped(target: Target, data: bytes, error: Exception) -> Finding:
    why = f"{type(error).__name__} escaped ({_where(error)}): {str(error)[:200]}"
    return Finding(target.name, type(error).__name__, why, data)


def _weighed(target: Target, data: bytes) -> Finding | None:
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    _, finding, _ = _attempt(target, data)
    peak = tracemalloc.get_traced_memory()[1] - before
    if not tracing:
        tracemalloc.stop()
    allowed = MEMORY + MEMORY_A_BYTE * len(data)
    if finding is None and peak > allowed:
        finding = Finding(
            target.name, "memory", f"{len(data)} bytes took {peak} of memory, {allowed} are allowed", data
        )
    return finding


def minimised(target: Target, finding: Finding, attempts: int = 300) -> Finding:
    """The same finding with a shorter input, as far as leaving parts out leads."""
    if finding.kind in ("hang", "RecursionError"):
        return finding  # a hang takes HANG seconds each time; a depth just beyond the limit repeats nowhere else
    size = len(finding.data) // 2
    while size and attempts:
        at = 0
        while at < len(finding.data) and attempts:
            attempts -= 1
            shorter = finding.data[:at] + finding.data[at + size :]
            _, again = examine(target, shorter, weigh=finding.kind == "memory")
            if again is not None and again.kind == finding.kind:
                finding = again
            else:
                at += size
        size //= 2
    return finding


Way = Callable[[bytearray, list[bytes]], None]


class Mutator:
    """Makes inputs out of others."""

    def __init__(self, random: Random, tokens: tuple[bytes, ...], longest: int) -> None:
        self._random = random.random
        self._ways = _ways(self._random, tokens)
        self._swell = _swell(self._random, tokens, longest)
        self._longest = longest

    def __call__(self, corpus: list[bytes]) -> bytes:
        random, ways = self._random, self._ways
        one, other = corpus[int(random() * len(corpus))], corpus[int(random() * len(corpus))]
        data = bytearray(one if len(one) <= len(other) else other)  # the long ones have their turn, too
        for _ in range(_TIMES[int(random() * 8)]):
            ways[int(random() * 11)](data, corpus)
        if random() < 0.002:
            self._swell(data)
        return bytes(data[: self._longest])


_TIMES = (1, 1, 1, 2, 2, 3, 5, 8)
_LENGTHS = (1, 1, 2, 3, 4, 8, 16, 64)


def _ways(random: Callable[[], float], tokens: tuple[bytes, ...]) -> tuple[Way, ...]:
    """The mutations, which change `data` itself. int(random() * end) all over: four times as fast as randrange."""

    def flip(data: bytearray, corpus: list[bytes]) -> None:
        if data:
            data[int(random() * len(data))] ^= 1 << int(random() * 8)

    def put(data: bytearray, corpus: list[bytes]) -> None:
        at = int(random() * (len(data) + 1))
        data[at : at + 1] = _BYTES[int(random() * 256)]

    def insert(data: bytearray, corpus: list[bytes]) -> None:
        at = int(random() * (len(data) + 1))
        data[at:at] = tokens[int(random() * len(tokens))]

    def replace(data: bytearray, corpus: list[bytes]) -> None:
        at = int(random() * (len(data) + 1))
        token = tokens[int(random() * len(tokens))]
        data[at : at + len(token)] = token

    def remove(data: bytearray, corpus: list[bytes]) -> None:
        start = int(random() * (len(data) + 1))
        del data[start : start + _LENGTHS[int(random() * 8)]]

    def repeat(data: bytearray, corpus: list[bytes]) -> None:
        start = int(random() * (len(data) + 1))
        end = start + _LENGTHS[int(random() * 8)]
        data[end:end] = data[start:end] * (1, 1, 2, 8)[int(random() * 4)]

    def truncate(data: bytearray, corpus: list[bytes]) -> None:
        del data[int(random() * (len(data) + 1)) :]

    def splice(data: bytearray, corpus: list[bytes]) -> None:
        other = corpus[int(random() * len(corpus))]
        at = int(random() * (len(data) + 1))
        data[at:] = other[int(random() * (len(other) + 1)) :]

    def count(data: bytearray, corpus: list[bytes]) -> None:
        """Make a byte, perhaps a length or a count, one more or one less, or what it covers."""
        if data:
            at = int(random() * len(data))
            byte, size = data[at], len(data)
            data[at] = (byte + 1, byte - 1, size - at - 1, size, byte * 2)[int(random() * 5)] & 0xFF

    return flip, flip, put, put, insert, replace, remove, repeat, truncate, splice, count


_BYTES = tuple(bytes((byte,)) for byte in range(256))


def _swell(random: Callable[[], float], tokens: tuple[bytes, ...], longest: int) -> Callable[[bytearray], None]:
    """Says one part again and again: what is not linear in its input shows here."""

    def swell(data: bytearray) -> None:
        start = int(random() * (len(data) + 1))
        end = start + _LENGTHS[int(random() * 8)]
        part = data[start:end] or tokens[int(random() * len(tokens))]
        data[end:end] = part * ((1 << 10, 1 << 12, longest)[int(random() * 3)] // len(part))

    return swell


def _complaint(error: Exception) -> str:
    return f"! {type(error).__name__}: {_normal(str(error))}"


def _shape(result: object) -> str:
    """What is told apart among good results: strings, truth values, types, and the first parts of tuples."""
    if isinstance(result, tuple):
        return f"({', '.join(_shape(part) for part in result[:8])})"
    if isinstance(result, type):
        return result.__name__
    return _normal(str(result)) if result is None or isinstance(result, bool | str) else type(result).__name__


@lru_cache(1 << 14)  # mostly the same complaints; in many runs they take most of the time
def _normal(text: str) -> str:
    """A message without what it quotes of the input: numbers, hex, quoted text."""
    return _QUOTED.sub("#", text)[:120]


_QUOTED = re.compile(r"'.*'|\".*\"|`.*`|\b[0-9A-Fa-f]{2,}\b|[0-9]+|[^\x20-\x7e]+", re.DOTALL)


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else "?"


@contextmanager
def _alarm(seconds: float = 0) -> Iterator[None]:
    """In here SIGPROF raises Hang, when a timer or the processor time is up; SIGALRM is the test runner's."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
