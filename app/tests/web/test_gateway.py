"""The gateway as a service: HTTPS, log-in, and a collector that is not there."""

import asyncio
import os
import ssl
import stat

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from dcu import gateway
from dcu.errors import ConfigError
from dcu.web import accounts, page, tls
from dcu.web.accounts import Role

PASSWORD = "correct horse battery"


@pytest.fixture
def config(tmp_path, unused_tcp_port):
    path = tmp_path / "gateway.toml"
    path.write_text(
        f'users = "users.toml"\ncertificate = "tls/cert.pem"\nkey = "tls/key.pem"\nsocket = "none.sock"\n'
        f'listen = "127.0.0.1:{unused_tcp_port}"\n'
    )
    accounts.put(tmp_path / "users.toml", "anna", Role.OPERATOR, PASSWORD)
    return path, f"https://127.0.0.1:{unused_tcp_port}"


async def test_it_serves_over_tls_logs_in_and_takes_no_command_before_it_is_commissioned(config, tmp_path):
    path, url = config
    serving = asyncio.create_task(gateway.run(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    async with asyncio.timeout(20):
        while not (tmp_path / "tls/cert.pem").exists():
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
    context.load_verify_locations(tmp_path / "tls/cert.pem")
    own = {"Origin": url}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as browser:
        assert await (await browser.get(f"{url}/")).text() == page.html()
        assert (await browser.post(f"{url}/api/command", json={"do": "poll"}, headers=own)).status == 401
        answer = await browser.post(f"{url}/api/login", json={"name": "anna", "password": PASSWORD}, headers=own)
        assert answer.status == 200
        cookies = {accounts_cookie.key: accounts_cookie.value for accounts_cookie in answer.cookies.values()}
        refused = await browser.post(f"{url}/api/command", json={"do": "poll"}, headers=own, cookies=cookies)
        assert (refused.status, (await refused.json())["error"]) == (403, gateway.NOT_COMMISSIONED)
    assert stat.S_IMODE(os.stat(tmp_path / "tls/key.pem").st_mode) == 0o600
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


async def test_every_address_means_ipv4_too(config):
    path, url = config
    path.write_text(path.read_text().replace("127.0.0.1:", "[::]:"))
    serving = asyncio.create_task(gateway.run(path))
    async with asyncio.timeout(20), aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as browser:
        while True:
            try:
                assert (await browser.get(f"{url}/api/session")).status == 200
                break
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('users = "u"', "missing required field `certificate`"),
        ('users = "u"\ncertificate = "c"\nkey = "k"\nlisten = "8443"', "HOST:PORT"),
        ('users = "u"\ncertificate = "c"\nkey = "k"\nport = 1', "unknown field"),
    ],
)
def test_a_mistake_in_the_configuration_is_explained(tmp_path, text, told):
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told):
        gateway.read(path)


async def test_a_key_that_is_not_the_certificates_is_explained(config, tmp_path):
    path, _ = config
    tls.make_certificate(tmp_path / "tls/cert.pem", tmp_path / "tls/key.pem")
    tls.make_certificate(tmp_path / "other.pem", tmp_path / "other-key.pem")
    (tmp_path / "other-key.pem").replace(tmp_path / "tls/key.pem")
    with pytest.raises(ConfigError, match="remove both"):
        await gateway.run(path)


def test_a_power_cut_between_key_and_certificate_keeps_no_page_away(tmp_path, caplog):
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    tls.context(certificate, key)
    assert key.stat().st_mode & 0o777 == 0o600
    before = key.read_bytes()
    certificate.unlink()
    tls.context(certificate, key)
    assert key.read_bytes() == before
    assert caplog.text.count("SHA-256 fingerprint") == 2


@pytest.mark.parametrize(
    ("content", "told"), [(b"", "no private key in PEM"), (b"-----BEGIN RSA PRIVATE KEY-----", "PEM")]
)
def test_a_key_without_certificate_that_cannot_be_read_is_explained(tmp_path, content, told):
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(ConfigError, match=told):
        tls.context(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_a_key_of_another_kind_needs_its_certificate(tmp_path):
    private = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(ConfigError, match="without its certificate"):
        tls.context(tmp_path / "cert.pem", tmp_path / "key.pem")
