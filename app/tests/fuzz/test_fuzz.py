"""Thirty seconds of hostile input for every parser, and proof that the fuzzer would notice."""

import time
from collections import deque
from dataclasses import replace

import msgspec
import pytest

from dcu.errors import DecodeError

from . import engine, parsers, sessions, streams
from .engine import Fuzzer, Target, examine
from .kept import Kept, Prepared
from .targets import TARGETS

SEED = 1  # the same inputs every time: what `python -m tests.fuzz` finds with other seeds becomes a test of its own
HOUR = 3600.0  # allowed where an input may not be tried again because the machine was late with it
SECONDS = 30 / len(TARGETS)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_makes_a_parser_raise_anything_but_its_typed_errors_or_take_unbounded_time_or_memory(target, tmp_path):
    fuzzer = Fuzzer(target, SEED)
    finding = fuzzer.run(SECONDS)
    assert finding is None, f"{finding}\n  kept in {finding.write(tmp_path)}"
    assert fuzzer.runs >= len(target.seeds)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_seeds_lead_into_their_parser(target):
    outcomes = [examine(target, seed, weigh=False)[0] for seed in target.seeds]
    assert any(not outcome.startswith("!") for outcome in outcomes), outcomes


def test_every_parser_of_the_package_is_fuzzed_or_its_exemption_has_a_reason():
    assert parsers.unfuzzed(TARGETS) == []
    assert parsers.stale(TARGETS) == []


def _inputs(target, count=150):
    """What the fuzzer tries first, and nothing seen twice."""
    seen = []
    Fuzzer(replace(target, parse=seen.append, seconds=HOUR), SEED).run(runs=count)
    return seen


PREPARED = [target for target in TARGETS if isinstance(target.parse, Prepared)]


def _leaks(target):
    """Of inputs given in a row, those that are answered in another way when they come alone."""
    return [
        data
        for data in _inputs(target)
        if examine(target, data, weigh=False)[0]
        != examine(replace(target, parse=target.parse.anew()), data, weigh=False)[0]
    ]


@pytest.mark.parametrize("target", PREPARED, ids=lambda target: target.name)
def test_an_input_is_answered_after_others_as_it_is_alone(target):
    assert _leaks(target) == []


def test_state_that_is_not_put_back_would_be_noticed(monkeypatch):
    monkeypatch.setattr(Kept, "restore", lambda kept: None)
    assert len(list(filter(_leaks, PREPARED))) > len(PREPARED) / 2


def test_what_could_not_be_put_back_is_not_kept():
    with pytest.raises(TypeError, match="generator"):
        Kept([{"of": (letter for letter in "abc")}])


def test_what_is_kept_is_put_back_as_it_was():
    inner, octets, numbers = [1], bytearray(b"ab"), deque([1, 2])
    outer = {"inner": inner, "octets": octets, "numbers": (numbers,), "session": sessions.client(sessions.PLAIN)}
    kept = Kept(outer)
    inner.append(2)
    octets.clear()
    numbers.pop()
    outer["session"].associated = True
    del outer["inner"]
    kept.restore()
    assert outer["inner"] is inner
    assert (inner, octets, list(numbers), outer["session"].associated) == ([1], b"ab", [1, 2], False)


# --- the canaries: parsers broken on purpose


def _index(data):
    if data[:1] != b"\x09":
        raise DecodeError("not a string")
    return data[2 : 2 + data[1]][data[1] - 1]  # a length that is not checked


def _quadratic(data):
    return [sum(data[:at]) for at in range(len(data))]


def _greedy(data):
    return bytes(int.from_bytes(data[1:4], "big")) if data[:1] == b"\x84" else None


def _again(data):
    pending = b""
    for part in streams.cut(data):
        pending += part
        for byte in pending:
            assert byte >= 0
    return len(pending)


def _endless(data):
    at = 0
    while at < len(data):
        at += data[at]


def _deep(data, at=0):
    return _deep(data, at + 1) if data[at : at + 1] == b"\x02" else at


@pytest.mark.parametrize(
    ("parse", "kinds", "seed"),
    [
        pytest.param(_index, "IndexError", b"\x09\x03abc", id="an unchecked length"),
        pytest.param(_quadratic, "slow hang", b"\x00\x01\x02", id="quadratic time"),
        pytest.param(_greedy, "memory", b"\x84\x00\x00\x10", id="memory as much as the input says"),
        pytest.param(_endless, "hang", b"\x01\x02\x01", id="no end"),
        pytest.param(_deep, "RecursionError", b"\x02\x02\x01", id="recursion as deep as the input says"),
    ],
)
def test_a_broken_parser_is_caught_and_its_input_is_kept(parse, kinds, seed, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "HANG", 0.5)
    target = Target("canary", parse, (seed,))
    finding = Fuzzer(target, SEED).run(seconds=120)  # it takes one; on a busy machine, many
    assert finding is not None
    assert finding.kind in kinds.split()
    kept = finding.write(tmp_path).read_text().splitlines()
    assert examine(target, bytes.fromhex(kept[-1]))[1].kind == finding.kind
    assert len(finding.data) < 64 or finding.kind in ("slow", "hang", "RecursionError")


def test_a_decoder_that_looks_at_all_it_has_with_each_piece_is_caught(monkeypatch):
    monkeypatch.setattr(engine, "HANG", 0.5)
    swollen = bytes(streams.FINE * 1000)
    assert examine(Target("canary", _again, ()), swollen)[1].kind in ("slow", "hang")
    assert len(streams.cut(swollen + b"\x00")) <= streams.PIECES + 1


def test_the_same_seed_makes_the_same_inputs():
    def inputs(seed):
        seen = []
        Fuzzer(Target("echo", seen.append, (b"\x02\x01\x09\x03abc",), seconds=HOUR), seed).run(runs=200)
        return seen

    assert inputs(1) == inputs(1)
    assert inputs(1) != inputs(2)


def test_a_parser_that_is_fine_has_no_findings():
    started = time.monotonic()
    assert Fuzzer(Target("fine", bytes.hex, (b"seed",)), SEED).run(runs=2000) is None
    assert time.monotonic() - started < 10


def _key_file(generation):
    return msgspec.msgpack.encode({"format": 1, "kek": b"", "generation": generation, "records": [], "seal": b""})


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("attribute", b"1,1-0:1.8.0*255," + b"2" * 4301, id="more digits than int() takes"),
        pytest.param("attribute", b"1,1-0:1.8.0*255,--1", id="two signs"),
        pytest.param("reach", b"udp://[2001:db8::1]:" + b"9" * 4304, id="a port of 4,304 digits"),
        pytest.param("toml", b"a = " + b"9" * 5000, id="a number of 5,000 digits"),
        pytest.param("toml", b"a = " + b"[" * 500, id="500 open brackets"),
        pytest.param("wrapped-keys", _key_file(-1), id="a key file of generation -1"),
        pytest.param("control-line", b'{"id":1,"method":"' + b"\xff" + b'"}', id="a line that is no UTF-8"),
        pytest.param("control-line", b'{"params":{"a":' + b"[" * 5000, id="a line nested 5,000 deep"),
    ],
)
def test_what_escaped_once_does_not_escape_again(name, data):
    (target,) = [target for target in TARGETS if target.name == name]
    assert examine(target, data)[1] is None
