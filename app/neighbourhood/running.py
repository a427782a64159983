"""A street at work: from options to open doors, until somebody ends it. What the commands `meters` and `meter` share.

Everything else a client or a test gets here: the shipment file that makes the meters known, the status file that says
what they saw.
"""

import asyncio
import json
import os
import resource
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcu.credentials import MeterKeys, Secret
from dcu.errors import ConfigError
from dcu.keys import keysfile, shipment
from dcu.suites import SUITES
from neighbourhood import push
from neighbourhood.fleet import Fleet, StreetTime
from neighbourhood.identity import FLAG, pairs, system_title

CLIENT_TITLE = FLAG.encode() + b"\x00CLI\x01"  # for a bench keys file: what the foreign client calls itself


@dataclass(frozen=True, slots=True)
class Shipping:
    """The shipment file to write, and the transport key to wrap its keys under (made where there is none)."""

    path: Path
    transport_key: Path
    profile: str = "generic"


def street_time(start: float | None, speed: float) -> StreetTime:
    """Real time, or time that begins at `start`."""
    if start is None and speed == 1.0:
        return StreetTime(0.0, 0.0, time.time)
    return StreetTime(time.time() if start is None else start, time.monotonic(), time.monotonic, speed)


def raise_file_limit(needed: int) -> None:
    """A thousand meters are two thousand sockets, and the usual limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            raise ConfigError(f"{needed} sockets are needed and {hard} allowed: raise it with `ulimit -Hn`")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def ship(fleet: Fleet, shipping: Shipping) -> None:
    """Write the shipment file, as the meters' maker would. Raises ConfigError, KeysError."""
    try:
        if not shipping.transport_key.exists():
            _write_private(shipping.transport_key, secrets.token_hex(16) + "\n")
        transport_key = shipment.load_transport_key(shipping.transport_key)
        meters = [
            (shipment.NewMeter(meter.serial, fleet.place(meter).address, shipping.profile), meter.shipped_keys())
            for meter in fleet.meters
        ]
        shipment.write(shipping.path, "Simulated street", "simulated", transport_key, meters)
    except OSError as error:
        raise ConfigError(f"{error.filename}: cannot be written: {error.strerror}") from None


def generate_keys(path: Path, suite: int = 0) -> None:
    """Make a keys file for one meter and its client. Raises ConfigError where there is one."""
    sizes = SUITES[suite]
    lines = [
        "# Generated for a simulated meter. Keys of a simulation, worth nothing.",
        f'password = "{secrets.token_hex(4)}"',
        f'system_title = "{system_title(0, 1).hex()}"',
        f'guek = "{secrets.token_hex(sizes.key_size)}"',
        f'gak = "{secrets.token_hex(sizes.key_size)}"',
        f'client_title = "{CLIENT_TITLE.hex()}"',
        f'master_key = "{secrets.token_hex(sizes.key_size)}"',
        f'broadcast_key = "{secrets.token_hex(sizes.key_size)}"',
    ]
    if suite:
        lines.append(f"suite = {suite}")
        for use in ("signing", "agreement"):
            client, meter = sizes.new_private(), sizes.new_private()
            lines.append(f'{use}_key = "{client.reveal().hex()}"')
            lines.append(f'meter_{use} = "{sizes.public(meter).hex()}"')
            lines.append(f'meter_{use}_key = "{meter.reveal().hex()}"  # the simulated meter takes it from here')
    try:
        _write_private(path, "\n".join(lines) + "\n")
    except FileExistsError:
        raise ConfigError(f"{path} exists: leave --generate away to use it, or name another file") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None


def bench_keys(path: Path) -> MeterKeys:
    """The keys of a keys file, what is missing there made up: whoever needs it will fail and say so. ConfigError."""
    held = keysfile.load(path)
    unknown = Secret(secrets.token_bytes(SUITES[held.suite].key_size))
    title = held.system_title or system_title(0, 1)
    signing, agreement = (
        pairs(held.suite, ours.private, meter)[1] if ours and meter else None
        for ours, meter in zip((held.signing, held.agreement), held.simulated, strict=True)
    )
    return MeterKeys(
        title,
        held.guek or unknown,
        held.gak or unknown,
        held.password,
        held.suite,
        signing,
        agreement,
        held.master,
        held.broadcast,
    )


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


@dataclass(frozen=True, slots=True)
class Running:
    """Options of a street at work."""

    fleet: Fleet
    shipping: Shipping | None = None
    status: Path | None = None
    listener: push.Listener | None = None
    push_every: float = 0.0
    duration: float | None = None

    async def run(self, ready: Callable[[Fleet], None]) -> None:
        """Open the doors, say so, and serve until SIGINT, SIGTERM or the end of `duration`.

        SIGUSR1 has the status written; the end has, too. Raises ConfigError.
        """
        fleet = self.fleet
        raise_file_limit(3 * len(fleet.meters) + 256)
        self._require_writable()
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        loop.add_signal_handler(signal.SIGUSR1, self.write_status)
        fleet.tell = push.telling(fleet)
        try:
            await fleet.listen()
            if self.shipping is not None:
                ship(fleet, self.shipping)
            ready(fleet)
            await self._serve(ended)
        except OSError as error:
            raise ConfigError(f"cannot listen on {error.strerror}: choose another address or port") from None
        finally:
            await fleet.close()
            self.write_status()

    async def _serve(self, ended: asyncio.Event) -> None:
        pushing = asyncio.create_task(push.run(self.fleet, self.listener, self.push_every)) if self.listener else None
        try:
            async with asyncio.timeout(self.duration):
                await ended.wait()
        except TimeoutError:
            pass
        finally:
            if pushing is not None:
                pushing.cancel()
                await asyncio.gather(pushing, return_exceptions=True)

    def write_status(self) -> None:
        """Replace the status file, whole or not at all. Raises ConfigError."""
        if self.status is None:
            return
        with _writing(self.status) as scratch:
            scratch.write_text(json.dumps(self.fleet.status(), indent=1) + "\n", encoding="utf-8")
            scratch.replace(self.status)

    def _require_writable(self) -> None:
        """What cannot be written at the end is told at the start. Raises ConfigError."""
        if self.status is None:
            return
        with _writing(self.status) as scratch:
            scratch.touch()
            scratch.unlink()


@contextmanager
def _writing(status: Path) -> Iterator[Path]:
    """The file that takes the status file's place when it is whole. Raises ConfigError."""
    try:
        yield status.with_name(status.name + ".new")
    except OSError as error:
        raise ConfigError(f"--status {status}: cannot be written: {error.strerror}") from None


def described(fleet: Fleet) -> dict[str, Any]:
    """What a machine wants to know of a street that is ready."""
    first, last = fleet.place(fleet.meters[0]), fleet.place(fleet.meters[-1])
    return {
        "ready": True,
        "pid": os.getpid(),
        "meters": len(fleet.meters),
        "first": {"name": fleet.meters[0].serial, "address": first.address},
        "last": {"name": fleet.meters[-1].serial, "address": last.address},
    }
