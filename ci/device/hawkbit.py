"""What an operator does at a hawkBit server, through its Management API; and a server to do it at.

With HAWKBIT_JAR, the executable jar of a hawkbit-update-server (0.3.0M9 to 0.10 run with Java 17), it is the real one,
fresh and in memory; without, device.ddi. Source: hawkBit 0.9, Management API.
"""

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from device.ddi import DdiServer
from device.webserver import Authority

JAR = "HAWKBIT_JAR"
GATEWAY, TARGET = "authentication.gatewaytoken", "authentication.targettoken"


class HawkBit:
    """A server at `url`, vouched for by `authority`; admin/admin is what a fresh one takes."""

    def __init__(self, url: str, authority: Path, user: str = "admin", password: str = "admin") -> None:
        self._port = urlsplit(url).port
        self._host = urlsplit(url).netloc
        self._context = ssl.create_default_context(cafile=str(authority))
        self._basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def url(self, host: str = "127.0.0.1") -> str:
        return f"https://{host}:{self._port}"

    def configure(self, **settings: object) -> None:
        """Tenant settings by name, dots written as `__`."""
        for name, value in settings.items():
            self._ask("PUT", f"/system/configs/{name.replace('__', '.')}", {"value": value})

    def target(self, name: str, token: str) -> None:
        self._ask("POST", "/targets", [{"controllerId": name, "name": name, "securityToken": token}])

    def attributes(self, target: str) -> dict[str, str]:
        answer: dict[str, str] = self._ask("GET", f"/targets/{target}/attributes") or {}
        return answer

    def release(self, version: str, update: Path) -> int:
        """Upload an update, return the number of its distribution set."""
        module = self._ask("POST", "/softwaremodules", [{"name": "grid-dcu", "version": version, "type": "os"}])[0][
            "id"
        ]
        boundary = "grid-dcu-update"
        head = f'Content-Disposition: form-data; name="file"; filename="grid-dcu-{version}.swu"\r\n'
        head = f"--{boundary}\r\n{head}Content-Type: application/octet-stream\r\n\r\n"
        body = head.encode() + update.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        self._ask("POST", f"/softwaremodules/{module}/artifacts", body, f"multipart/form-data; boundary={boundary}")
        wanted = {"name": "grid-dcu", "version": version, "type": "os", "modules": [{"id": module}]}
        number: int = self._ask("POST", "/distributionsets", [wanted])[0]["id"]
        return number

    def assign(self, target: str, release: int) -> int:
        """Have the target install it; return the number of the action."""
        answer = self._ask("POST", f"/targets/{target}/assignedDS", {"id": release, "type": "forced"})
        number: int = answer["assignedActions"][0]["id"]
        return number

    def action(self, target: str, number: int) -> str:
        """Return finished, error, or what it is doing."""
        answer = self._ask("GET", f"/targets/{target}/actions/{number}")
        if answer["status"] != "finished":
            return str(answer["status"])
        return "error" if answer.get("detailStatus") == "error" else "finished"

    def messages(self, target: str, number: int) -> list[str]:
        """What the device has reported, the last first."""
        answer = self._ask("GET", f"/targets/{target}/actions/{number}/status?limit=50")
        return [text for status in answer["content"] for text in status["messages"]]

    def ended(self, target: str, number: int, timeout: float) -> str:
        """Wait until the action has ended. Raises AssertionError."""
        end = time.monotonic() + timeout
        while (state := self.action(target, number)) not in ("finished", "error"):
            assert time.monotonic() < end, (state, self.messages(target, number))
            time.sleep(2)
        return state

    def _ask(self, method: str, path: str, body: object = None, kind: str = "application/json") -> Any:
        raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self._basic, "Content-Type": kind, "Accept": "application/json"}
        connection = http.client.HTTPSConnection(self._host, timeout=120, context=self._context)
        try:
            connection.request(method, f"/rest/v1{path}", raw, headers)
            answer = connection.getresponse()
            content = answer.read()
            assert answer.status < 300, (method, path, answer.status, content[:500])
            return json.loads(content) if content.strip() else None
        finally:
            connection.close()


@contextmanager
def serve(authority: Authority, folder: Path) -> Iterator[HawkBit]:
    """Run a fresh server on the loopback; `folder` is where the real one keeps what is uploaded."""
    if not os.environ.get(JAR):
        with DdiServer(authority) as made:
            yield HawkBit(made.url(), authority.pem)
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [
        *("server.address=127.0.0.1", f"server.port={port}", f"server.ssl.certificate={authority.server}"),
        *(f"server.ssl.certificate-private-key={authority.server}", "hawkbit.controller.minPollingTime=00:00:05"),
        *("spring.servlet.multipart.max-file-size=200MB", "spring.servlet.multipart.max-request-size=200MB"),
        "hawkbit.dmf.rabbitmq.enabled=false",
    ]
    log = folder / "hawkbit.log"
    with log.open("wb") as file:
        command = ["java", "-Xmx512m", "-jar", os.environ[JAR], *(f"--{option}" for option in options)]
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file)  # noqa: S603
    try:
        end = time.monotonic() + 300
        while b"Started Start in" not in log.read_bytes():
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(1)
        yield HawkBit(f"https://127.0.0.1:{port}", authority.pem)
    finally:
        process.terminate()
        process.wait(30)
