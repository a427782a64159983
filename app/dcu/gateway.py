"""The gateway: the service that faces the world, and holds no key of a meter.

`run` is dcu-gateway: the page over HTTPS, behind a log-in. What it knows it asks the collector for, through the control
socket, where a user id of its own may look and poll, and nothing else ([control] others).
"""

import asyncio
import logging
import signal
import sys
import time
from pathlib import Path

import msgspec
from aiohttp import web

from dcu import config
from dcu.collect.reach import endpoint
from dcu.control.messages import DEFAULT_SOCKET
from dcu.errors import ConfigError
from dcu.link.tcp import everywhere
from dcu.platform.service import notify, watchdog_seconds
from dcu.web import page, tls
from dcu.web.accounts import Accounts, load
from dcu.web.application import Rules, application
from dcu.web.collected import Collected

NOT_COMMISSIONED = "this device is not commissioned: it shows, and takes no commands (commissioned, in gateway.toml)"
HANG_UP = 5.0  # seconds that open pages have when the service ends

log = logging.getLogger("dcu.gateway")


class GatewayConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `dcu gateway run --config FILE` reads: docs/gateway.toml explains every key."""

    users: str
    certificate: str
    key: str
    listen: str = "[::]:8443"
    socket: str = DEFAULT_SOCKET
    title: str = "Grid DCU"
    commissioned: bool = False
    names: tuple[str, ...] = ()


def read(path: Path) -> GatewayConfig:
    """Paths in the file are relative to it. Raises ConfigError."""
    raw = config.read(path)
    for key in ("users", "certificate", "key", "socket"):
        if isinstance(raw.get(key), str) and raw[key]:
            raw[key] = str(path.parent / str(raw[key]))
    found = config.convert(raw, GatewayConfig, str(path))
    if endpoint(found.listen) is None:
        raise ConfigError(f"{path}: key listen: HOST:PORT such as [::]:8443")
    return found


async def run(path: Path) -> None:
    """Serve until SIGTERM or SIGINT. Raises ConfigError: it cannot start."""
    settings = read(path)
    logging.basicConfig(stream=sys.stderr, level="INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if not load(Path(settings.users)):
        log.warning("%s: nobody can log in yet: `dcu gateway user NAME`", settings.users)
    source = Collected(Path(settings.socket), settings.title)
    rules = Rules(
        Accounts(Path(settings.users), time.monotonic),
        commands=settings.commissioned,
        why_not="" if settings.commissioned else NOT_COMMISSIONED,
        hosts=frozenset(settings.names),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = web.AppRunner(application(page.html(), source, rules), access_log=None, shutdown_timeout=HANG_UP)
    await runner.setup()
    tasks = [asyncio.create_task(duty) for duty in (stop.wait(), source.keep(), _feed())]
    try:
        await _listen(runner, settings)
        notify("READY=1")
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()  # a duty that failed: better to be started anew than to run without
    finally:
        notify("STOPPING=1")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await runner.cleanup()


async def _listen(runner: web.AppRunner, settings: GatewayConfig) -> None:
    where = endpoint(settings.listen)
    assert where
    host, port = where
    context = await asyncio.to_thread(tls.context, Path(settings.certificate), Path(settings.key))
    try:
        await web.TCPSite(runner, everywhere(host), port, ssl_context=context).start()
    except OSError as error:
        raise ConfigError(f"cannot listen on {settings.listen}: {error.strerror or error}") from None
    log.info("the page is at https://%s", settings.listen)


async def _feed() -> None:
    """The watchdog, from the loop that serves."""
    every = watchdog_seconds()
    while True:
        if every:
            notify("WATCHDOG=1")
        await asyncio.sleep((every or 60.0) / 3)
