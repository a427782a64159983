"""A web server as a utility has one for its updates, and the ways in which one fails: for tests, on the loopback.

Files are served with ranges, one or several (multipart/byteranges), and entity tags. `Fault` says what goes wrong with
a path. What was sent is counted, headers and all, so that a test can say what an update costs on the wire (TLS, TCP and
the handshakes come on top: a few per cent).
"""

import datetime
import hashlib
import ipaddress
import re
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

GUEST = "10.0.2.2"  # this host's loopback, seen from QEMU's guest
NAMES = (x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", GUEST)))
BOUNDARY = "THIS_STRING_SEPARATES"
PIECE = 64 << 10


@dataclass
class Fault:
    """status: answered instead of the file; location: with a redirection; cut: bytes after which the connection ends,
    `times` times; ranges: whether they are understood; rate: bytes a second."""

    status: int = 0
    location: str = ""
    cut: int = 0
    times: int = 1
    ranges: bool = True
    rate: int = 0


class Authority:
    """A certificate authority, and what it vouches for. Files in `home`: ca.pem, server.pem (certificate and key)."""

    def __init__(self, home: Path, name: str = "a utility", *, days: int = 30) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.pem, self.server = home / "ca.pem", home / "server.pem"
        key, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._certificate(issuer, issuer, key, key, days=30, authority=True)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "updates")])
        leaf = self._certificate(subject, issuer, own, key, days=days, authority=False)
        self.pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        private = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.server.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + private)

    @staticmethod
    def _certificate(
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        signer: ec.EllipticCurvePrivateKey,
        *,
        days: int,
        authority: bool,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        end = now + datetime.timedelta(days=days)
        made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(min(now, end) - datetime.timedelta(days=1)).not_valid_after(end)
        made = made.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        made = made.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        if authority:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            made = made.add_extension(usage, critical=True)
        else:
            made = made.add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
        return made.sign(signer, hashes.SHA256())


@dataclass
class Site:
    """What is served: files by path, to whom, what goes wrong with them, and other answers (the DDI server's)."""

    files: dict[str, Path | bytes] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    routes: list[tuple[str, str, Callable[..., Any]]] = field(default_factory=list)
    admits: Callable[[str, Mapping[str, str]], bool] = lambda path, headers: True
    requests: list[str] = field(default_factory=list)
    sent: int = 0


class WebServer:
    """`with WebServer(authority) as server: server.site.files["/x"] = …`; authority None: plain http."""

    def __init__(self, authority: Authority | None, port: int = 0) -> None:
        self.site = Site()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.site = self.site
        self._server.context = None
        if authority:
            self._server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._server.context.load_cert_chain(authority.server)
        self.port: int = self._server.server_address[1]
        self._scheme = "https" if authority else "http"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self.port}{path}"

    def __enter__(self) -> "WebServer":
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    site: Site
    context: ssl.SSLContext | None

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away, or that does not trust us, is no news."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        self.request.settimeout(60)
        if self.server.context:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()
        if self.server.context:
            with suppress(OSError):
                self.request.close()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site = self.server.site
        path = self.path.partition("?")[0]
        ranges = self.headers.get("Range", "")
        site.requests.append(f"{self.command} {path} {ranges}".strip())
        fault = site.faults.get(path, Fault())
        if fault.status:
            self._answer(fault.status, b"", {"Location": fault.location} if fault.location else {})
        elif path in site.files and not site.admits(path, self.headers):
            self._answer(401, b"", {})
        elif path in site.files:
            self._file(path, ranges if fault.ranges else "", fault)
        else:
            self._routed(path)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _routed(self, path: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        for method, pattern, answer in self.server.site.routes:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                status, body, headers = answer(found, content, self.headers)
                self._answer(status, body, headers)
                return
        self._answer(404, b"no such file\n", {})

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.server.site.sent += len(body)

    def end_headers(self) -> None:
        self.server.site.sent += sum(map(len, self._headers_buffer))
        super().end_headers()

    def _file(self, path: str, ranges: str, fault: Fault) -> None:
        given = self.server.site.files[path]
        content = given if isinstance(given, bytes) else given.read_bytes()
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        if self.headers.get("If-Range", tag) != tag:
            ranges = ""
        wanted = [_range(each, len(content)) for each in ranges.removeprefix("bytes=").split(",")] if ranges else []
        if any(first >= len(content) for first, _ in wanted):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        if not wanted:
            self.send_response(200)
        elif len(wanted) == 1:
            first, last = wanted[0]
            self.send_response(206)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content = content[first : last + 1]
        else:
            self.send_response(206)
            headers["Content-Type"] = f"multipart/byteranges; boundary={BOUNDARY}"
            content = _parts(content, wanted)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._body(content, fault)

    def _body(self, content: bytes, fault: Fault) -> None:
        cut = fault.cut if fault.cut and fault.times > 0 else len(content)
        for at in range(0, min(cut, len(content)), step := min(PIECE, fault.rate or PIECE)):
            piece = content[at : min(at + step, cut)]
            self.wfile.write(piece)
            self.server.site.sent += len(piece)
            if fault.rate:
                time.sleep(1)
        if cut < len(content):
            fault.times -= 1
            self.close_connection = True


def _range(text: str, size: int) -> tuple[int, int]:
    first, _, last = text.strip().partition("-")
    return int(first), min(int(last) if last else size - 1, size - 1)


def _parts(content: bytes, wanted: list[tuple[int, int]]) -> bytes:
    made = b""
    for first, last in wanted:
        head = f"\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/"
        made += f"{head}{len(content)}\r\n\r\n".encode() + content[first : last + 1]
    return made + f"\r\n--{BOUNDARY}--\r\n".encode()
