"""Updates from a hawkBit server: SWUpdate's own client (suricatta), started with what this device adds to it.

SWUpdate reads one configuration file, so the server's sections are written behind the payload's swupdate.cfg into a
file of this boot; tokens stand in it and never on a command line. Bank and oldest version are given at the start: both
change only at a boot. What SWUpdate says of the server is kept where `dcu device status` finds it; why a bank gave way
is told to the server before SWUpdate tells it that it did, since SWUpdate does not know.

Source: SWUpdate, suricatta/server_hawkbit.c; hawkBit, Direct Device Integration API, deploymentBase feedback.
"""

import http.client
import re
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import quote, urlsplit

import msgspec

from dcu import config
from dcu.errors import ConfigError, UpdateError
from dcu.platform import swuconfig
from dcu.platform.bootenv import Slot, UpdateState
from dcu.platform.fetch import PATIENCE, Trust, reason
from dcu.platform.swupdate import LONGEST, common, spoken
from dcu.platform.update import Status
from dcu.platform.version import Version

MERGED, HEARD = "hawkbit.cfg", "server.json"  # in /run/swupdate
TRACE = ("-l", "4")  # with more it prints the token, and with less it does not say that the server answered
AFTERWARDS = "systemctl reboot"
AGAIN = 60.0  # seconds until a server that cannot be reached is asked again


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`hawkbit.toml`. id: how the server knows this device, empty: its serial number; poll: seconds."""

    url: str
    tenant: str = "DEFAULT"
    id: str = ""
    target_token: str = ""
    gateway_token: str = ""
    ca: str = ""
    poll: int = 300


class Refused(UpdateError):
    """The server answers, and somebody has to do something before it takes this device."""


class Contact(StrEnum):
    """How the server was met the last time."""

    HEARD = "heard"
    REFUSED = "refused"  # somebody is needed
    SILENT = "silent"


@dataclass(frozen=True, slots=True)
class Heard:
    """at: when, seconds since 1970; why: what to do, empty where all is well."""

    url: str
    contact: Contact
    why: str
    at: int


def load(path: Path) -> Server:
    """Raises ConfigError."""
    server = config.load(path, Server)
    for key in ("url", "tenant", "id", "target_token", "gateway_token", "ca"):
        value = getattr(server, key)
        if not value.isprintable() or not value.isascii():
            raise ConfigError(f"{path}: key {key}: printable ASCII")
        if len(value) > swuconfig.LONGEST:
            raise ConfigError(f"{path}: key {key}: at most {swuconfig.LONGEST} characters")
    if not re.fullmatch(r"https://[^\s/?#@]+(/[^\s?#]*)?", server.url):
        raise ConfigError(f"{path}: key url: https://…")
    if bool(server.target_token) == bool(server.gateway_token):
        raise ConfigError(f"{path}: key target_token: this device's token, or gateway_token, and not both")
    if server.ca and not Path(server.ca).is_file():
        raise ConfigError(f"{path}: key ca: {server.ca}: no such file")
    if not 10 <= server.poll <= 86400:
        raise ConfigError(f"{path}: key poll: 10..86400 seconds")
    return server


def sections(server: Server, serial: str, facts: Mapping[str, str], authorities: Path | None) -> tuple[str, ...]:
    """The server's sections as SWUpdate's configuration has them. facts: what the server shows of this device."""
    rows: dict[str, swuconfig.Value] = {
        "url": server.url.rstrip("/"),
        "tenant": server.tenant,
        "id": server.id or serial,
        "targettoken": server.target_token,
        "gatewaytoken": server.gateway_token,
    }
    given: dict[str, swuconfig.Value] = {key: value for key, value in rows.items() if value}
    given |= {"polldelay": server.poll, "connection-timeout": int(PATIENCE)}
    channel = swuconfig.channel(Path(server.ca) if server.ca else authorities)
    return (
        swuconfig.section("suricatta", given | channel),
        swuconfig.section("delta", channel),  # without the token: a delta's chunks may lie on any server
        swuconfig.attributes("identify", facts),
    )


def command(target: Slot, oldest: Version, merged: Path, key: Path | None = None) -> tuple[str, ...]:
    """The command that follows the server until it is stopped; from 2024 on, SWUpdate asks which kind of server."""
    return (*common(target, oldest, merged, key, loud=TRACE), "-p", AFTERWARDS, "-u", "-S hawkbit")


def follow(server: Server, command: tuple[str, ...], tell: Callable[[str], None], heard: Path) -> int:
    """Run SWUpdate until it is stopped; keep in `heard` how the server is met. Return its exit code."""
    last: Heard | None = None
    heard.unlink(missing_ok=True)  # what was heard with another token, or of another server
    try:
        process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
    except OSError as error:
        raise UpdateError(f"{command[0]}: {error.strerror}: is this the device?", "state") from None
    with process:
        assert process.stdout is not None
        while raw := process.stdout.readline(LONGEST):
            said = raw.decode(errors="replace")
            if text := spoken(said):
                tell(text)
            if met := _met(said):
                if last is None or met != (last.contact, last.why):
                    tell(f"{server.url}: {met[1] or 'answers'}")
                last = Heard(server.url, *met, int(time.time()))
                keep(last, heard)
        return process.wait()


def keep(seen: Heard, path: Path) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(msgspec.json.encode(seen))
    fresh.replace(path)


def kept(path: Path) -> Heard | None:
    """How the server was met the last time in this boot, None: nobody follows one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Heard)
    except (OSError, msgspec.MsgspecError):
        return None


_LATER = (408, 429, 500, 502, 503, 504)
_REFUSED = "refuses the token: compare hawkbit.toml with the server's target, or its gateway token"
_FAILED = re.compile(r"Channel (?:\w+ )?operation (?:failed|returned error) \((?P<code>\d+)\): '(?P<text>.*)'")
_NOT_WANTED = "23"  # libcurl: what was received could not be written; SWUpdate refused the update
_CERTIFICATE = ("60", "77")  # libcurl: a certificate that is not trusted, a file of authorities that is none


def _met(said: str) -> tuple[Contact, str] | None:
    """What a line of SWUpdate tells of the server."""
    if "No pending action on server" in said or "action available at" in said:  # the answer to each poll
        return Contact.HEARD, ""
    if found := re.search(r"Channel operation returned HTTP error code (\d+)", said):
        code = found[1]
        if code in ("401", "403"):
            return Contact.REFUSED, f"{_REFUSED} (it says {code})"
        if code == "404":
            return Contact.REFUSED, "does not know the tenant or this device (it says 404)"
        return (Contact.SILENT, f"says {code}") if code != "0" else None
    if (found := _FAILED.search(said)) and found["code"] != _NOT_WANTED:
        if found["code"] in _CERTIFICATE:
            return Contact.REFUSED, f"its certificate is not trusted ({found['text']}): check ca in hawkbit.toml"
        return Contact.SILENT, f"cannot be reached ({found['text']})"
    return None


def facts(state: Status) -> dict[str, str]:
    """What the server shows of this device, among its attributes."""
    return {
        "version": str(state.version),
        "bank": str(state.running),
        "oldest": str(state.index or state.version),
        "rollback_reason": state.environment.rollback_reason or "none",
    }


def outcome(state: Status) -> str:
    """What the server is told of a bank that gave way, "" where it waits for no such news."""
    environment = state.environment
    if environment.update_state is not UpdateState.FAILED or not environment.rollback_reason:
        return ""
    return f"bank {state.running.other} gave way to {state.running}: {environment.rollback_reason}"


def tell_why(
    server: Server,
    serial: str,
    text: str,
    authorities: Path | None,
    tell: Callable[[str], None],
    heard: Path,
) -> None:
    """Tell the server `text` in the action that it waits to hear of, however long it cannot be reached.

    Where it answers and does not take it, SWUpdate's own report has to do.
    """
    last = ""
    while True:
        try:
            action = _action(server, serial, authorities)
            if action:
                status = {"execution": "proceeding", "result": {"finished": "none"}, "details": [text]}
                body = msgspec.json.encode({"id": action, "status": status})
                _ask(server, "POST", f"{_base(server, serial)}/deploymentBase/{action}/feedback", authorities, body)
                tell(f"{server.url}: told: {text}")
            return
        except UpdateError as error:
            if error.cause != "server":
                tell(str(error))
                return
            if str(error) != last:
                tell(last := str(error))
                contact = Contact.REFUSED if isinstance(error, Refused) else Contact.SILENT
                why = last.removeprefix(f"{server.url}: ")
                keep(Heard(server.url, contact, why, int(time.time())), heard)
        time.sleep(AGAIN)


def _action(server: Server, serial: str, authorities: Path | None) -> str:
    """The number of the action that the server waits to hear of, "" where there is none. Raises UpdateError."""
    known = _ask(server, "GET", _base(server, serial), authorities)
    href = known.get("_links", {}).get("deploymentBase", {}).get("href", "") if isinstance(known, dict) else ""
    found = re.search(r"/deploymentBase/(\d+)", str(href))
    return found[1] if found else ""


def _base(server: Server, serial: str) -> str:
    return f"/{quote(server.tenant)}/controller/v1/{quote(server.id or serial)}"


def _ask(server: Server, method: str, path: str, authorities: Path | None, body: bytes | None = None) -> object:
    parts = urlsplit(server.url)
    context = Trust(Path(server.ca) if server.ca else authorities).context()
    token = f"TargetToken {server.target_token}" if server.target_token else f"GatewayToken {server.gateway_token}"
    headers = {"Accept": "application/json", "Content-Type": "application/json", "Authorization": token}
    connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=PATIENCE, context=context)
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, headers)
        answer = connection.getresponse()
        content = answer.read(1 << 20)
        if answer.status >= http.HTTPStatus.BAD_REQUEST:
            if answer.status in (401, 403):
                raise Refused(f"{server.url}: {_REFUSED} (it says {answer.status})", "server")
            cause = "server" if answer.status in _LATER else "state"
            raise UpdateError(f"{server.url}: does not take a report (it says {answer.status})", cause)
        return msgspec.json.decode(content) if content.strip() else None
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"{server.url}: {reason(error)}", "server") from None
    except (OSError, http.client.HTTPException) as error:
        raise UpdateError(f"{server.url}: {reason(error)}", "server") from None
    except msgspec.MsgspecError:
        raise UpdateError(f"{server.url}: what it answers is no JSON: is it a hawkBit server?", "state") from None
    finally:
        connection.close()
