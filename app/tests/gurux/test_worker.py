"""The worker and its client: what they say to each other, and what happens when one of them misbehaves."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcu.cli import worker as client
from dcu.cli.worker import Worker
from dcu.errors import DecodeError, WorkerError

from .conftest import CANARIES

GET = bytes.fromhex("c001c100030100010800ff0200")
GET_XML = """<GetRequest>
  <GetRequestNormal>
    <InvokeIdAndPriority Value="C1" />
    <AttributeDescriptor>
      <ClassId Value="0003" />
      <InstanceId Value="0100010800FF" />
      <AttributeId Value="02" />
    </AttributeDescriptor>
  </GetRequestNormal>
</GetRequest>
"""


def test_an_apdu_becomes_xml_and_back(worker):
    assert worker.apdu_to_xml(GET) == GET_XML
    assert worker.xml_to_apdu(GET_XML) == GET


def test_malformed_input_is_a_decode_error_and_costs_no_worker(worker):
    worker.apdu_to_xml(GET)
    started = worker.started
    for apdu in (b"\xc4", b"\xdb\x08", bytes.fromhex("60363534")):
        with pytest.raises(DecodeError):
            worker.apdu_to_xml(apdu)
    for xml in ("", "<", "<GetRequest><Nothing /></GetRequest>", "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"):
        with pytest.raises(DecodeError):
            worker.xml_to_apdu(xml)
    assert worker.started == started


def test_a_control_character_never_reaches_the_terminal(worker):
    hostile = bytes.fromhex("c401c1000a05") + b"\x1b[2J\x07"
    assert "\x1b" not in worker.apdu_to_xml(hostile, comments=True)


@pytest.mark.parametrize("verb", ["hang"])
def test_a_hung_worker_is_killed_and_the_next_request_has_a_fresh_one(verb):
    with Worker(CANARIES, timeout=0.5) as worker:
        worker.apdu_to_xml(GET)
        hung = worker._process
        began = time.monotonic()
        with pytest.raises(WorkerError, match="did not answer within"):
            worker.ask(verb, {}, str)
        assert time.monotonic() - began < 3
        assert hung.returncode == -signal.SIGKILL
        assert worker.apdu_to_xml(GET) == GET_XML
        assert worker.started == 2


def test_a_worker_that_dies_in_a_request_is_reported_and_replaced(canaries):
    with pytest.raises(WorkerError, match="died"):
        canaries.ask("die", {}, str)
    assert canaries.apdu_to_xml(GET) == GET_XML
    assert canaries.started == 2


def test_a_worker_that_died_while_idle_is_replaced_unnoticed(canaries):
    canaries.apdu_to_xml(GET)
    os.kill(canaries._process.pid, signal.SIGKILL)
    canaries._process.wait()
    assert canaries.apdu_to_xml(GET) == GET_XML
    assert canaries.started == 2


def test_noise_on_stdout_does_not_break_the_framing(canaries):
    assert canaries.ask("noise", {}, str) == "quiet"
    assert canaries.apdu_to_xml(GET) == GET_XML
    assert canaries.started == 1


def test_an_answer_that_is_too_long_is_refused_by_the_worker_itself(canaries):
    with pytest.raises(WorkerError, match="at most 4194304"):
        canaries.ask("flood", {"size": 5 << 20}, str)
    assert canaries.started == 1


def test_a_request_that_is_too_long_is_not_sent(worker):
    with pytest.raises(WorkerError, match="too much"):
        worker.apdu_to_xml(bytes(client.MAX_REQUEST))


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        pytest.param("raise SystemExit(3)", "grid-dcu-gurux installed", id="ends at once"),
        pytest.param("print('hello')", "grid-dcu-gurux installed", id="is something else"),
        pytest.param(
            "import os; m = b'{\"ready\": []}'; os.write(1, len(m).to_bytes(4, 'big') + m)",
            "not confined",
            id="is not confined",
        ),
        pytest.param(
            "import os; m = b'{\"fatal\": \"why\"}'; os.write(1, len(m).to_bytes(4, 'big') + m)", "why", id="says why"
        ),
        pytest.param(
            "import os; m = b'{\"ready\": [\"seccomp\"]}'; os.write(1, len(m).to_bytes(4, 'big') + m);"
            "os.read(0, 9999); os.write(1, b'\\xff' * 64)",
            "answered nonsense",
            id="announces four gigabytes",
        ),
        pytest.param(
            "import os; m = b'{\"ready\": [\"seccomp\"]}'; os.write(1, len(m).to_bytes(4, 'big') + m);"
            'os.read(0, 9999); m = b\'{"id": 77, "result": "x"}\'; os.write(1, len(m).to_bytes(4, \'big\') + m)',
            "answered nonsense",
            id="answers another request",
        ),
    ],
)
def test_a_worker_that_is_none_is_refused(program, complaint):
    with Worker((sys.executable, "-c", program)) as worker, pytest.raises(WorkerError, match=complaint):
        worker.apdu_to_xml(GET)


def test_a_missing_program_is_said_in_words():
    with Worker(("/nonexistent/dcu-gurux",)) as worker, pytest.raises(WorkerError, match="No such file"):
        worker.apdu_to_xml(GET)


def test_an_idle_worker_ends_when_its_client_does(canaries):
    canaries.apdu_to_xml(GET)
    process = canaries._process
    process.stdin.close()
    assert process.wait(timeout=5) == 0


class Raw:
    """The worker's pipes, without the client's manners."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-m", "dcu_gurux"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert "seccomp" in self.receive()["ready"]

    def send(self, body: bytes, size: int | None = None) -> None:
        self.process.stdin.write((len(body) if size is None else size).to_bytes(4, "big") + body)
        self.process.stdin.flush()

    def receive(self) -> dict:
        size = int.from_bytes(self.process.stdout.read(4), "big")
        return json.loads(self.process.stdout.read(size))


@pytest.fixture(scope="module")
def raw():
    raw = Raw()
    yield raw
    raw.process.stdin.close()
    assert raw.process.wait(timeout=5) == 0
    raw.process.stdout.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"nonsense",
        b"[" * 100_000,
        b"{}",
        b'{"id": 1, "verb": "no such verb", "arguments": {}}',
        b'{"id": 1, "verb": "attempt", "arguments": {"what": "fork"}}',  # only with --canaries
        b'{"id": 1, "verb": "apdu_to_xml", "arguments": []}',
        b'{"id": 1, "verb": "apdu_to_xml", "arguments": {"apdu": 5}}',
        b'{"id": 1, "verb": "apdu_to_xml", "arguments": {"apdu": "xyz"}}',
        b'{"id": 1, "verb": "xml_to_apdu", "arguments": {}}',
        b'{"id": 1, "verb": ["apdu_to_xml"], "arguments": {}}',
        b'{"id": 1, "verb": "value_to_object", "arguments": {"class_id": "3", "value": "00"}}',
        b'{"id": 1, "verb": "value_to_object", "arguments": {"class_id": true, "version": 0, "attribute": 2}}',
        b" " * (2 << 20),
    ],
    ids=lambda body: body[:40].decode(errors="replace") + f" ({len(body)})",
)
def test_a_malformed_request_is_answered_and_the_next_one_is_served(raw, body):
    raw.send(body)
    assert raw.receive()["error"]["kind"] == "request"
    raw.send(b'{"id": 2, "verb": "apdu_to_xml", "arguments": {"apdu": "c001c100030100010800ff0200"}}')
    assert raw.receive() == {"id": 2, "result": GET_XML.replace("\n", "\r\n")}


@given(
    st.one_of(st.binary(min_size=1, max_size=64), st.binary(max_size=40).map(lambda tail: b"\xc4\x01\xc1\x00" + tail))
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_apdu_the_answer_is_xml_or_a_decode_error(worker, apdu):
    with contextlib.suppress(DecodeError):
        assert worker.apdu_to_xml(apdu).startswith("<")
