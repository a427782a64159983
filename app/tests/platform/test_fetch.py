"""An update over HTTPS: whole however often the line breaks, and never from a server that nobody vouches for."""

import contextlib
import random
import socket
import threading

import pytest
from device.webserver import Authority, Fault, WebServer
from hypothesis import given, settings
from hypothesis import strategies as st

from dcu.errors import UpdateError
from dcu.platform import fetch
from dcu.platform.fetch import Download, Trust

CONTENT = random.Random(1).randbytes(700_001)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def server(authority, monkeypatch):
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    with WebServer(authority) as running:
        running.site.files["/update.swu"] = CONTENT
        yield running


@pytest.fixture
def trust(authority):
    return Trust(authority.pem)


def read(url, trust, heard=None):
    with Download(url, trust, (heard if heard is not None else []).append) as pieces:
        return b"".join(pieces)


def test_a_file_comes_whole(server, trust):
    assert read(server.url("/update.swu"), trust) == CONTENT
    assert server.site.requests == ["GET /update.swu"]


def test_a_break_is_resumed_where_it_happened(server, trust):
    server.site.faults["/update.swu"] = Fault(cut=300_000, times=2)
    heard = []
    assert read(server.url("/update.swu"), trust, heard) == CONTENT
    assert server.site.requests[1:] == ["GET /update.swu bytes=300000-", "GET /update.swu bytes=600000-"]
    assert "300000 of 700001 bytes" in heard[0]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 400_000), max_size=4))
def test_it_is_whole_wherever_it_breaks(authority, cuts):
    with WebServer(authority) as server, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "PAUSE", 0.0)
        server.site.files["/x"] = CONTENT
        for cut in cuts:
            server.site.faults["/x"] = Fault(cut=cut)
            assert read(server.url("/x"), Trust(authority.pem)) == CONTENT


def test_a_server_that_cannot_resume_is_named_and_nothing_is_pasted_together(server, trust):
    server.site.faults["/update.swu"] = Fault(cut=300_000, ranges=False)
    with pytest.raises(UpdateError, match="after 300000 bytes, and the server does not resume") as refused:
        read(server.url("/update.swu"), trust)
    assert refused.value.cause == "server"


def test_a_file_that_changed_meanwhile_is_not_pasted_together(server, trust):
    server.site.faults["/update.swu"] = Fault(cut=300_000)
    with Download(server.url("/update.swu"), trust) as pieces:
        coming = iter(pieces)
        next(coming)
        server.site.files["/update.swu"] = CONTENT[::-1]
        with pytest.raises(UpdateError, match="does not resume"):
            list(coming)


def test_a_line_that_breaks_for_good_ends(server, trust, monkeypatch):
    monkeypatch.setattr(fetch, "TRIES", 3)
    with Download(server.url("/update.swu"), trust) as pieces:
        coming = iter(pieces)
        next(coming)
        server.site.faults["/update.swu"] = Fault(status=503)
        pieces._response.close()
        pieces._response = None
        with pytest.raises(UpdateError, match=r"broken off after .* says 503"):
            list(coming)
    assert len(server.site.requests) == 5


def test_a_foreign_certificate_is_refused_with_the_reason(server, tmp_path):
    with pytest.raises(UpdateError, match=r"certificate is not trusted: .*issuer.*servers.pem") as refused:
        read(server.url("/update.swu"), Trust(Authority(tmp_path, "somebody else").pem))
    assert refused.value.cause == "server"
    assert not server.site.requests


def test_the_system_does_not_vouch_for_a_utility_of_its_own(server):
    with pytest.raises(UpdateError, match="certificate is not trusted"):
        read(server.url("/update.swu"), Trust())


def test_another_name_is_refused(server, trust):
    with pytest.raises(UpdateError, match=r"certificate is not trusted.*127\.0\.0\.2"):
        read(server.url("/update.swu", host="127.0.0.2").replace(f":{server.port}", f":{relay(server.port)}"), trust)


def relay(port):
    """A port on 127.0.0.2 that leads to `port` on 127.0.0.1; one connection."""
    listener = socket.create_server(("127.0.0.2", 0))

    def pump(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            source.close()
            target.close()

    def serve():
        with listener:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            threading.Thread(target=pump, args=(client, server), daemon=True).start()
            pump(server, client)

    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1]


def test_an_expired_certificate_is_refused(tmp_path):
    old = Authority(tmp_path, days=-1)
    with WebServer(old) as server, pytest.raises(UpdateError, match="expired"):
        read(server.url("/update.swu"), Trust(old.pem))


def test_a_file_of_authorities_that_holds_none_is_said(tmp_path):
    (tmp_path / "servers.pem").write_text("nothing\n")
    with pytest.raises(UpdateError, match="PEM"):
        Download("https://localhost/x", Trust(tmp_path / "servers.pem"))


def test_404_is_said_and_no_page_is_taken_for_an_update(server, trust):
    with pytest.raises(UpdateError, match="the server says 404 Not Found"):
        read(server.url("/other.swu"), trust)


def test_a_redirection_is_followed(server, trust):
    server.site.faults["/latest"] = Fault(status=302, location="/update.swu")
    assert read(server.url("/latest"), trust) == CONTENT


def test_a_circle_of_redirections_ends(server, trust):
    server.site.faults["/latest"] = Fault(status=301, location="/latest")
    with pytest.raises(UpdateError, match="redirected more than 5 times"):
        read(server.url("/latest"), trust)


def test_a_redirection_to_plain_http_is_refused(server, trust):
    with WebServer(None) as plain:
        plain.site.files["/update.swu"] = CONTENT
        server.site.faults["/latest"] = Fault(status=307, location=plain.url("/update.swu"))
        with pytest.raises(UpdateError, match=r"http://.*to which .* redirects: .* from a file or from https"):
            read(server.url("/latest"), trust)
        assert not plain.site.requests


def test_plain_http_needs_a_word_for_it(authority):
    with WebServer(None) as plain:
        plain.site.files["/update.swu"] = CONTENT
        with pytest.raises(UpdateError, match="from a file or from https"):
            read(plain.url("/update.swu"), Trust(authority.pem))
        assert read(plain.url("/update.swu"), Trust(authority.pem, http=True)) == CONTENT


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "https://", "https:///x", "https://a b/", "https://u:p@x/", "https://x:0/", "https://[x/"]
)
def test_what_is_no_such_address_is_said(url):
    with pytest.raises(UpdateError, match="comes from a file or from https"):
        read(url, Trust())


def test_a_server_that_drips_is_given_up(server, trust, monkeypatch):
    monkeypatch.setattr(fetch, "WINDOW", 1.5)
    server.site.faults["/update.swu"] = Fault(rate=50)
    with pytest.raises(UpdateError, match="too slow"):
        read(server.url("/update.swu"), trust)


def test_a_slow_line_is_no_error(server, trust, monkeypatch):
    monkeypatch.setattr(fetch, "WINDOW", 1.0)
    server.site.files["/slow"] = CONTENT[:1500]
    server.site.faults["/slow"] = Fault(rate=500)
    assert read(server.url("/slow"), trust) == CONTENT[:1500]


def test_silence_is_an_error(trust, monkeypatch):
    monkeypatch.setattr(fetch, "PATIENCE", 0.3)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(UpdateError, match=r"no answer within 0.3 s"),
    ):
        read(f"https://127.0.0.1:{mute.getsockname()[1]}/x", trust)


def test_nobody_there_is_an_error(trust):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(UpdateError, match="refused"):
        read(f"https://127.0.0.1:{port}/x", trust)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_whatever_a_server_says_it_ends_in_an_update_error_or_bytes(said):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 200 OK\r\n" + said)

        threading.Thread(target=serve, daemon=True).start()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fetch, "PATIENCE", 0.5)
            patch.setattr(fetch, "PAUSE", 0.0)
            patch.setattr(fetch, "TRIES", 0)
            with contextlib.suppress(UpdateError):
                read(f"http://127.0.0.1:{listener.getsockname()[1]}/x", Trust(http=True))
