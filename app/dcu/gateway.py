"""The gateway: the service that faces the world, and holds no key of a meter.

`run` is dcu-gateway: the page over HTTPS, behind a log-in. What it knows it asks the collector for, through the control
socket, where a user id of its own may look and poll, and nothing else ([control] others).
"""

import asyncio
import logging
import signal
import ssl
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from aiohttp import web

from dcu import config
from dcu.collect.process import notify, watchdog_seconds
from dcu.collect.reach import endpoint
from dcu.control.messages import DEFAULT_SOCKET
from dcu.errors import ConfigError
from dcu.link.tcp import everywhere
from dcu.web import page
from dcu.web.accounts import Accounts, load
from dcu.web.application import Rules, application
from dcu.web.collected import Collected

NOT_COMMISSIONED = "this device is not commissioned: it shows, and takes no commands (commissioned, in gateway.toml)"
VALID = timedelta(days=3650)  # of a certificate that the device makes for itself
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
    context = await asyncio.to_thread(_tls, Path(settings.certificate), Path(settings.key))
    try:
        await web.TCPSite(runner, everywhere(host), port, ssl_context=context).start()
    except OSError as error:
        raise ConfigError(f"cannot listen on {settings.listen}: {error.strerror or error}") from None
    log.info("the page is at https://%s", settings.listen)


def _tls(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.3 with the utility's certificate, or one that the device makes where there is none. Raises ConfigError."""
    if not certificate.exists() and not key.exists():
        make_certificate(certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"{certificate}, {key}: no certificate with its key ({error.strerror or error}): put the utility's there, "
            "or remove both: the device then makes its own"
        ) from None
    return context


def make_certificate(certificate: Path, key: Path) -> None:
    """A self-signed P-256 certificate; its fingerprint is logged, to be compared in the browser. Raises ConfigError."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "grid-dcu")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, datetime(2026, 1, 1, tzinfo=UTC)))  # a clock that lost its time must not shut us out
        .not_valid_after(max(now, datetime(2026, 1, 1, tzinfo=UTC)) + VALID)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("grid-dcu"), x509.DNSName("localhost")]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(private, hashes.SHA256())
    )
    plain = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        certificate.parent.mkdir(parents=True, exist_ok=True)
        key.touch(0o600)
        key.write_bytes(plain)
        certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    except OSError as error:
        raise ConfigError(f"{certificate}: cannot be written: {error.strerror or error}") from None
    log.warning("made a certificate; SHA-256 fingerprint %s", made.fingerprint(hashes.SHA256()).hex(":"))


async def _feed() -> None:
    """The watchdog, from the loop that serves."""
    every = watchdog_seconds()
    while True:
        if every:
            notify("WATCHDOG=1")
        await asyncio.sleep((every or 60.0) / 3)
