"""EAP-PSK with foreign programs of Debian: eapol_test (wpa_supplicant's device side) and hostapd (its server side)."""

import os
import re
import shutil
import socket
import subprocess
import time

import pytest

from dcu.errors import AuthenticationFailed
from neighbourhood.g3 import eap_psk

from . import radius

PSK = bytes.fromhex("0123456789abcdef0123456789abcdef")
OTHER = bytes(range(16))
SECRET = b"loopback"
ID = b"meter-01"


def needs(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed (make test-deps)")


def dumped(text, name):
    """The last hex dump of that name in the debug output: on one line, or ASCII-annotated on the following ones."""
    found = re.findall(rf"EAP-PSK: {re.escape(name)}(?: -)? hexdump\(len=\d+\): ((?:[0-9a-f]{{2}} ?)+)", text)
    return bytes.fromhex(found[-1]) if found else None


def ours(side):
    """Key material of one of our sides, by the names that the foreign programs print."""
    proof = eap_psk.mac_p(side.keys.ak, side.id_p, side.id_s, side.rand_s, side.rand_p)
    return {
        "AK": side.keys.ak,
        "KDK": side.keys.kdk,
        "MAC_P": proof,
        "TEK": side.session.tek,
        "MSK": side.session.msk,
        "EMSK": side.session.emsk,
    }


def eapol_test(tmp_path, server, psk=PSK):
    settings = tmp_path / "device.conf"
    settings.write_text(
        f'network={{\n key_mgmt=WPA-EAP\n eap=PSK\n identity="{ID.decode()}"\n password={psk.hex()}\n}}\n'
    )
    server.start()
    where = f"-a 127.0.0.1 -p {server.port} -s {SECRET.decode()} -t 15".split()
    done = subprocess.run(
        ["eapol_test", "-c", settings, *where], capture_output=True, text=True, timeout=60, check=False
    )
    server.join(30)
    return done.stdout


@needs("eapol_test")
def test_eapol_test_joins_our_server_with_the_same_keys(tmp_path):
    server = radius.Server(SECRET, eap_psk.Server(PSK, b"server-1", os.urandom))
    text = eapol_test(tmp_path, server)
    assert server.error is None
    assert server.eap.state is eap_psk.State.SUCCESS
    assert text.rstrip().endswith("SUCCESS")
    assert "MPPE keys OK: 1  mismatch: 0" in text  # its MSK is what our server derived and sent
    expected = ours(server.eap)
    seen = {name: dumped(text, name) for name in expected}
    assert seen == expected
    assert dumped(text, "RAND_S") == server.eap.rand_s
    assert dumped(text, "RAND_P") == server.eap.rand_p
    assert dumped(text, "MAC_S") == eap_psk.mac_s(server.eap.keys.ak, server.eap.id_s, server.eap.rand_p)


@needs("eapol_test")
def test_eapol_test_with_another_key_is_refused_by_our_server(tmp_path):
    server = radius.Server(SECRET, eap_psk.Server(PSK, b"server-1", os.urandom))
    text = eapol_test(tmp_path, server, OTHER)
    assert isinstance(server.error, AuthenticationFailed)
    assert text.rstrip().endswith("FAILURE")


@pytest.fixture
def hostapd(tmp_path):
    """hostapd as a RADIUS server: its port, and what it printed once it was stopped."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "users").write_text(f'"{ID.decode()}" PSK {PSK.hex()}\n')
    (tmp_path / "clients").write_text(f"127.0.0.1/32 {SECRET.decode()}\n")
    (tmp_path / "hostapd.conf").write_text(
        "driver=none\ninterface=none0\neap_server=1\nserver_id=server-of-hostapd\n"
        f"eap_user_file={tmp_path}/users\nradius_server_clients={tmp_path}/clients\nradius_server_auth_port={port}\n"
    )
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(["hostapd", "-ddK", tmp_path / "hostapd.conf"], stdout=output, stderr=output)
    deadline = time.monotonic() + 20
    while "AP-ENABLED" not in log.read_text() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)

    def stopped():
        process.terminate()
        process.wait(10)
        return log.read_text()

    yield port, stopped
    if process.poll() is None:
        process.kill()
        process.wait(10)


@needs("hostapd")
def test_our_device_joins_hostapd_with_the_same_keys(hostapd):
    port, stopped = hostapd
    peer = eap_psk.Peer(PSK, ID, os.urandom)
    assert radius.join(port, SECRET, ID, peer) == radius.ACCEPT
    assert peer.state is eap_psk.State.SUCCESS
    text = stopped()
    assert "Server Success" in text or "EAP-Success" in text or "CTRL-EVENT-EAP-SUCCESS" in text
    expected = ours(peer)
    del expected["MAC_P"]  # hostapd prints the device's under another name
    seen = {name: dumped(text, name) for name in expected}
    assert seen == expected
    assert peer.id_s == b"server-of-hostapd"


@needs("hostapd")
def test_our_device_with_another_key_is_refused_by_hostapd(hostapd):
    port, _ = hostapd
    peer = eap_psk.Peer(OTHER, ID, os.urandom)
    assert radius.join(port, SECRET, ID, peer) == radius.REJECT
    assert peer.state is not eap_psk.State.SUCCESS
