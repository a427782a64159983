"""A hawkBit server for tests: its device side (DDI) and as much of its Management API as device.hawkbit uses.

It answers as the real server, version 0.9.0, answered to the same requests (paths, codes, JSON, what a feedback does
to an action). What it has not: roll-outs, cancelling, maintenance windows, more than one tenant, a database. One
request at a time changes it.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from device.webserver import Authority, WebServer

Answer = tuple[int, bytes, dict[str, str]]
BASE = r"/DEFAULT/controller/v1/([^/]+)"
POLL = "00:00:05"


@dataclass
class Action:
    number: int
    target: str
    release: int
    detail: str = "running"
    statuses: list[dict[str, Any]] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.detail not in ("finished", "error")

    def add(self, kind: str, *messages: str) -> None:
        self.statuses.insert(0, {"id": len(self.statuses) + 1, "type": kind, "messages": list(messages)})


class DdiServer:
    """`with DdiServer(authority) as server: HawkBit(server.url(), authority.pem)…`"""

    def __init__(self, authority: Authority) -> None:
        self._web = WebServer(authority)
        self._lock = threading.Lock()
        self._settings: dict[str, Any] = {}
        self._tokens: dict[str, str] = {}
        self._attributes: dict[str, dict[str, str]] = {}
        self._modules: list[dict[str, Any]] = []
        self._releases: list[dict[str, Any]] = []
        self.actions: list[Action] = []
        self.requests = self._web.site.requests
        self._web.site.admits = lambda path, headers: self._known(path.split("/")[4], headers.get("Authorization", ""))
        rest = "/rest/v1"
        for method, path, answer in (
            ("PUT", rf"{rest}/system/configs/([\w.]+)", self._configure),
            ("POST", f"{rest}/targets", self._target),
            ("GET", rf"{rest}/targets/([^/]+)/attributes", self._shown),
            ("POST", f"{rest}/softwaremodules", self._module),
            ("POST", rf"{rest}/softwaremodules/(\d+)/artifacts", self._artifact),
            ("POST", f"{rest}/distributionsets", self._release),
            ("POST", rf"{rest}/targets/([^/]+)/assignedDS", self._assign),
            ("GET", rf"{rest}/targets/([^/]+)/actions/(\d+)", self._action),
            ("GET", rf"{rest}/targets/([^/]+)/actions/(\d+)/status", self._statuses),
            ("GET", BASE, self._poll),
            ("PUT", f"{BASE}/configData", self._data),
            ("GET", rf"{BASE}/deploymentBase/(\d+)", self._deployment),
            ("POST", rf"{BASE}/deploymentBase/(\d+)/feedback", self._feedback),
        ):
            self._web.site.routes.append((method, path, self._guarded(answer, device=path.startswith(BASE))))

    def url(self, host: str = "127.0.0.1") -> str:
        return self._web.url("", host)

    def __enter__(self) -> "DdiServer":
        self._web.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._web.__exit__(*error)

    def _guarded(self, answer: Callable[..., Answer], *, device: bool) -> Callable[..., Answer]:
        def admitted(found: "re.Match[str]", body: bytes, headers: Mapping[str, str]) -> Answer:
            with self._lock:
                given = headers.get("Authorization", "")
                if device and not self._known(found[1], given):
                    return 401, b"", {}
                if not device and not given.startswith("Basic "):
                    return 401, b"", {"WWW-Authenticate": 'Basic realm="hawkBit"'}
                return answer(found, body, headers)

        return admitted

    def _known(self, target: str, given: str) -> bool:
        on = self._settings.get
        gateway = f"GatewayToken {on('authentication.gatewaytoken.key')}"
        if on("authentication.gatewaytoken.enabled") and given == gateway:
            self._attributes.setdefault(target, {})  # whoever the gateway lets in becomes a target
            return True
        token = self._tokens.get(target)
        return bool(on("authentication.targettoken.enabled") and token and given == f"TargetToken {token}")

    # The operator's side

    def _configure(self, found: "re.Match[str]", body: bytes, _: object) -> Answer:
        self._settings[found[1]] = json.loads(body)["value"]
        return 204, b"", {}

    def _target(self, _: object, body: bytes, __: object) -> Answer:
        made = json.loads(body)
        for each in made:
            self._tokens[each["controllerId"]] = each["securityToken"]
            self._attributes[each["controllerId"]] = {}
        return _json(made, 201)

    def _shown(self, found: "re.Match[str]", _: object, __: object) -> Answer:
        shown = self._attributes.get(found[1])
        return _json(shown) if shown else (204, b"", {})

    def _module(self, _: object, body: bytes, __: object) -> Answer:
        made = [{**each, "id": len(self._modules) + n, "artifacts": []} for n, each in enumerate(json.loads(body), 1)]
        self._modules += made
        return _json(made, 201)

    def _artifact(self, found: "re.Match[str]", body: bytes, headers: Mapping[str, str]) -> Answer:
        boundary = headers["Content-Type"].partition("boundary=")[2].encode()
        part = body.split(b"--" + boundary)[1]
        head, _, content = part.partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        name = re.search(rb'filename="([^"]+)"', head)
        assert name
        self._modules[int(found[1]) - 1]["artifacts"].append((name[1].decode(), content))
        return _json({"id": 1, "size": len(content)}, 201)

    def _release(self, _: object, body: bytes, __: object) -> Answer:
        made = [{**each, "id": len(self._releases) + n} for n, each in enumerate(json.loads(body), 1)]
        self._releases += made
        return _json(made, 201)

    def _assign(self, found: "re.Match[str]", body: bytes, _: object) -> Answer:
        action = Action(len(self.actions) + 1, found[1], json.loads(body)["id"])
        action.add("running", "Assignment initiated by user 'admin'")
        self.actions.append(action)
        return _json({"assigned": 1, "alreadyAssigned": 0, "assignedActions": [{"id": action.number}], "total": 1})

    def _action(self, found: "re.Match[str]", _: object, __: object) -> Answer:
        action = self.actions[int(found[2]) - 1]
        status = "pending" if action.open else "finished"
        return _json({"id": action.number, "type": "update", "status": status, "detailStatus": action.detail})

    def _statuses(self, found: "re.Match[str]", _: object, __: object) -> Answer:
        statuses = self.actions[int(found[2]) - 1].statuses
        return _json({"content": statuses, "total": len(statuses), "size": len(statuses)})

    # The device's side

    def _poll(self, found: "re.Match[str]", _: object, headers: Mapping[str, str]) -> Answer:
        base = f"{_origin(headers)}/DEFAULT/controller/v1/{found[1]}"
        links = {}
        if not self._attributes[found[1]]:  # asked for until they came
            links["configData"] = {"href": f"{base}/configData"}
        if action := self._waiting(found[1]):
            links["deploymentBase"] = {"href": f"{base}/deploymentBase/{action.number}?c={action.release}"}
        config = {"config": {"polling": {"sleep": self._settings.get("pollingTime", POLL)}}}
        return _json(config | {"_links": links} if links else config)

    def _data(self, found: "re.Match[str]", body: bytes, _: object) -> Answer:
        self._attributes[found[1]] = json.loads(body)["data"]
        return 200, b"", {}

    def _deployment(self, found: "re.Match[str]", _: object, headers: Mapping[str, str]) -> Answer:
        action = self._waiting(found[1])
        if not action or action.number != int(found[2]):
            return 404, b"", {}
        action.add("retrieved", "Update Server: Target retrieved update action and should start now the download.")
        numbers = [each["id"] for each in self._releases[action.release - 1]["modules"]]
        chunks = [self._chunk(found[1], self._modules[number - 1], headers) for number in numbers]
        deployment = {"download": "forced", "update": "forced", "chunks": chunks}
        return _json({"id": found[2], "deployment": deployment})

    def _chunk(self, target: str, module: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
        files = []
        for name, content in module["artifacts"]:
            path = f"/DEFAULT/controller/v1/{target}/softwaremodules/{module['id']}/artifacts/{name}"
            self._web.site.files[path] = content
            sums = {kind: hashlib.new(kind, content).hexdigest() for kind in ("sha1", "md5", "sha256")}
            links = {"download-http": {"href": f"{_origin(headers)}{path}"}}
            files.append({"filename": name, "hashes": sums, "size": len(content), "_links": links})
        return {"part": "os", "version": module["version"], "name": module["name"], "artifacts": files}

    def _feedback(self, found: "re.Match[str]", body: bytes, _: object) -> Answer:
        action = self.actions[int(found[2]) - 1]
        if not action.open:
            return 410, b"", {}
        status = json.loads(body)["status"]
        kind = "running"
        if status["execution"] == "closed":
            kind = action.detail = "error" if status["result"]["finished"] == "failure" else "finished"
        action.add(kind, *status.get("details", []))
        return 200, b"", {}

    def _waiting(self, target: str) -> Action | None:
        return next((action for action in self.actions if action.target == target and action.open), None)


def _origin(headers: Mapping[str, str]) -> str:
    return f"https://{headers['Host']}"


def _json(value: object, status: int = 200) -> Answer:
    return status, json.dumps(value).encode(), {"Content-Type": "application/hal+json;charset=UTF-8"}
