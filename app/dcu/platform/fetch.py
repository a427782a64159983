"""A file from an HTTPS server as one stream of bytes, however often the connection breaks.

A break is resumed where it happened (`Range`, guarded by `If-Range`, so that a file that changed meanwhile is noticed);
a server that cannot resume, or that drips, ends it with an error. Whoever reads the stream judges what is in it: an
update is signed, so that TLS keeps it private and the server honest, no more.

Source: RFC 9110, clauses 13.1.5 (If-Range), 14 (Range), 15.4 (redirection).
"""

import http.client
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from urllib.parse import SplitResult, urljoin, urlsplit

from dcu.errors import UpdateError

PIECE = 64 << 10  # bytes
PATIENCE = 30.0  # seconds for a connection, and for each piece
WINDOW, SLOWEST = (
    120.0,
    256,
)  # over so many seconds at least so many bytes each: a modem at the cell's edge has ten times it
REDIRECTS = 5
TRIES = 5  # in a row, without a byte
PAUSE = 5.0  # seconds between two of them
_REDIRECTED = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Trust:
    """authorities: PEM file with who may vouch for a server, None: the system's; http: whether plain http will do."""

    authorities: Path | None = None
    http: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises UpdateError: the file holds no certificate."""
        try:
            return ssl.create_default_context(cafile=str(self.authorities) if self.authorities else None)
        except OSError as error:
            why = "holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise UpdateError(f"{self.authorities}: {why}: it has to be a PEM file", "server") from None


class Download:
    """`with Download(url, trust) as pieces: for piece in pieces: …`. Raises UpdateError, on entry and while it is read.

    size: bytes in all, None where the server does not say; asked: requests so far.
    """

    def __init__(self, url: str, trust: Trust, tell: Callable[[str], None] = lambda text: None) -> None:
        self.size: int | None = None
        self.asked = 0
        self._url, self._trust, self._tell = url, trust, tell
        self._context = trust.context()
        self._validator = ""
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None

    def __enter__(self) -> "Download":
        try:
            response = self._open({})
        except (OSError, http.client.HTTPException) as error:
            self._close()
            raise UpdateError(f"{self._url}: {reason(error)}", "server") from None
        if response.status != http.HTTPStatus.OK:
            self._close()
            raise UpdateError(f"{self._url}: the server says {response.status} {response.reason}".rstrip(), "server")
        length = response.getheader("Content-Length", "")
        self.size = int(length) if re.fullmatch(r"[0-9]{1,15}", length, re.ASCII) else None
        tag = response.getheader("ETag", "")
        self._validator = response.getheader("Last-Modified", "") if not tag or tag.startswith("W/") else tag
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def __iter__(self) -> Iterator[bytes]:
        done, tries = 0, 0
        since, then = time.monotonic(), 0
        while self.size is None or done < self.size:
            try:
                piece = self._piece(done)
            except (OSError, http.client.HTTPException) as error:
                self._close()
                tries += 1
                if tries > TRIES or self.size is None or isinstance(error, ssl.SSLCertVerificationError):
                    raise UpdateError(
                        f"{self._url}: broken off after {done} bytes: {reason(error)}", "server"
                    ) from None
                self._tell(f"{reason(error)} after {done} of {self.size} bytes: resumed in {PAUSE:g} s")
                time.sleep(PAUSE)
                continue
            if not piece:
                return
            yield piece
            done, tries = done + len(piece), 0
            if (passed := time.monotonic() - since) >= WINDOW:
                if done - then < SLOWEST * passed:
                    raise UpdateError(f"{self._url}: {(done - then) / passed:.0f} bytes/s: too slow", "server")
                since, then = time.monotonic(), done

    def _piece(self, done: int) -> bytes:
        """Raises OSError, HTTPException: the connection broke, UpdateError: it cannot be resumed."""
        if not self._response:
            self._resume(done)
        assert self._response
        piece = self._response.read1(PIECE)
        if not piece and self.size is not None:
            raise ConnectionError("the connection was closed")
        return piece

    def _resume(self, done: int) -> None:
        headers = {"Range": f"bytes={done}-"}
        if self._validator:
            headers["If-Range"] = self._validator
        response = self._open(headers)
        if response.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ConnectionError(f"the server says {response.status}")
        given = response.getheader("Content-Range", "")
        if response.status != http.HTTPStatus.PARTIAL_CONTENT or not given.startswith(f"bytes {done}-"):
            raise UpdateError(
                f"{self._url}: broken off after {done} bytes, and the server does not resume (its answer: "
                f"{response.status}): start again",
                "server",
            )
        if given.rpartition("/")[2] != str(self.size):
            raise UpdateError(f"{self._url}: it changed while it was read: start again", "server")

    def _open(self, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        url = self._url
        for _ in range(REDIRECTS + 1):
            self._close()
            parts = self._admitted(url)
            self._connection = self._connect(parts)
            self.asked += 1
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            self._connection.request("GET", target, headers={"User-Agent": "grid-dcu", **headers})
            self._response = self._connection.getresponse()
            if self._response.status not in _REDIRECTED:
                return self._response
            url = urljoin(url, self._response.getheader("Location", ""))
        self._close()
        raise UpdateError(f"{self._url}: redirected more than {REDIRECTS} times", "server")

    def _admitted(self, url: str) -> SplitResult:
        schemes = ("https", "http") if self._trust.http else ("https",)
        try:
            parts = urlsplit(url)
            fine = parts.scheme in schemes and bool(parts.hostname) and not parts.username and parts.port != 0
        except ValueError:
            fine = False
        if not fine or not re.fullmatch(r"[!-~]+", url):
            via = f", to which {self._url} redirects" if url != self._url else ""
            raise UpdateError(
                f"{url}{via}: an update comes from a file or from {'://… or '.join(schemes)}://…", "server"
            )
        return parts

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, parts.port, timeout=PATIENCE, context=self._context)
        return http.client.HTTPConnection(host, parts.port, timeout=PATIENCE)

    def _close(self) -> None:
        if self._response:
            self._response.close()
        if self._connection:
            self._connection.close()
        self._response = self._connection = None


def reason(error: Exception) -> str:
    """What went wrong with a connection, in words for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate is not trusted: {error.verify_message}: the authority of your servers belongs into "
            "/etc/dcu/servers.pem"
        )
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE:g} s"
    if isinstance(error, http.client.HTTPException):
        return f"no HTTP answer ({type(error).__name__})"
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
