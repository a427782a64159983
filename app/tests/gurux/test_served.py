"""The worker as a device runs it: started by systemd for each connection to a socket, and no child of ours."""

import socket
import subprocess
import sys
import threading

import pytest

from dcu.cli import worker as client
from dcu.cli.worker import Worker
from dcu.errors import WorkerError

GET = bytes.fromhex("c001c100030100010800ff0200")


class Systemd:
    """dcu-gurux.socket with Accept=yes: a process for each connection, which is its standard input and output."""

    def __init__(self, path, command):
        self.started = []
        self._command = command
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.started.append(subprocess.Popen(self._command, stdin=connection, stdout=connection))

    def close(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for process in self.started:
            process.kill()
            process.wait()


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    made = []

    def start(*command):
        made.append(Systemd(tmp_path / "socket", command))
        monkeypatch.setattr(client, "SERVED", tmp_path / "socket")
        return made[0]

    yield start
    for each in made:
        each.close()


def test_it_is_asked_over_the_socket_and_ends_with_the_connection(systemd):
    served = systemd(sys.executable, "-I", "-m", "dcu_gurux")
    with Worker() as worker:
        assert "GetRequestNormal" in worker.apdu_to_xml(GET)
        assert worker.apdu_to_xml(GET) == worker.apdu_to_xml(GET)
        assert "seccomp" in worker.walls
        assert len(served.started) == worker.started == 1
    assert served.started[0].wait(10) == 0


def test_one_that_dies_costs_one_answer_and_the_next_is_fresh(systemd):
    served = systemd(sys.executable, "-I", "-m", "dcu_gurux")
    with Worker() as worker:
        worker.apdu_to_xml(GET)
        served.started[0].kill()
        with pytest.raises(WorkerError, match="died"):
            worker.apdu_to_xml(GET)
        assert worker.apdu_to_xml(GET)
        assert len(served.started) == 2


def test_one_that_is_not_confined_is_not_asked(systemd):
    systemd(sys.executable, "-c", "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\x0c{\"ready\":[]} ')")
    with Worker() as worker, pytest.raises(WorkerError, match="not confined"):
        worker.apdu_to_xml(GET)


def test_a_socket_where_nobody_listens_is_said(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(tmp_path / "socket"))
    monkeypatch.setattr(client, "SERVED", tmp_path / "socket")
    with Worker() as worker, pytest.raises(WorkerError, match="Connection refused"):
        worker.apdu_to_xml(GET)
