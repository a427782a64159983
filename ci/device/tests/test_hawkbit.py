"""A hawkBit server updates the device: what is good stays, what is not comes back, and the server hears of both.

The server is device.ddi, or the real one (device.hawkbit.serve).
"""

import json
import subprocess
import time
from pathlib import Path

import pytest

from device import bank, swu, system
from device.hawkbit import serve
from device.tests.test_collector import ready
from device.webserver import GUEST, Authority

GOOD, BAD = "1.1.0", "1.2.0"
NAME = "dcu-under-test"


@pytest.fixture(scope="session")
def bad(tmp_path_factory):
    """An update that SWUpdate takes and U-Boot does not: a key that the device does not know signed its kernel."""
    keys = tmp_path_factory.mktemp("foreign")
    command = "openssl req -x509 -newkey rsa:3072 -nodes -sha256 -subj /CN=foreign -keyout dcu-fit.key -out dcu-fit.crt"
    subprocess.run(command.split(), cwd=keys, check=True, capture_output=True)  # noqa: S603
    return swu.build(BAD, bank.build(system.build(GOOD), signing=Path(keys)))


def configured(dut, url, token):
    text = f'url = "{url}"\nid = "{NAME}"\n{token}\npoll = 10\n'
    dut.put("/etc/dcu/hawkbit.toml", text.encode())
    dut.shell("systemctl restart dcu-hawkbit.service")


def met(dut, word, timeout=90):
    """Wait until the status says `word` of the server."""
    end = time.monotonic() + timeout
    while word not in (shown := dut.shell("dcu device status --json", 120, check=False)):
        assert time.monotonic() < end, shown + dut.shell("journalctl -b -u dcu-hawkbit --no-pager | tail -40", 60)
        time.sleep(2)
    return json.loads(shown)


@pytest.mark.timeout(900)
def test_hawkbit_updates_the_device_and_hears_what_became_of_it(device, bad, tmp_path):
    authority = Authority(tmp_path / "utility")
    good = swu.release(GOOD)
    with serve(authority, tmp_path) as server, device() as dut:
        url = server.url(GUEST)
        server.configure(
            authentication__gatewaytoken__enabled=True,
            authentication__gatewaytoken__key="g4teway",
            authentication__targettoken__enabled=True,
            pollingTime="00:00:15",  # SWUpdate polls while it downloads, too
        )
        server.target(NAME, "t0ken")
        ready(dut)

        configured(dut, url, 'target_token = "t0ken"')
        assert met(dut, "certificate is not trusted")["server"]["contact"] == "refused"
        dut.put("/etc/dcu/servers.pem", authority.pem.read_bytes())
        configured(dut, url, 'target_token = "wrong"')
        assert not met(dut, "refuses the token")["ok"]
        assert "refuses the token" in dut.shell("journalctl -b -u dcu-hawkbit --no-pager")
        configured(dut, url, 'gateway_token = "g4teway"')
        met(dut, '"heard"')
        configured(dut, url, 'target_token = "t0ken"')
        assert met(dut, '"heard"')["ok"]
        assert server.attributes(NAME)["version"] == system.VERSION

        first = server.assign(NAME, server.release(GOOD, good))
        dut.expect("slot b, upgrade_available 1, bootcount 1", 300)
        dut.booted(90)
        assert server.ended(NAME, first, 300) == "finished", server.messages(NAME, first)
        assert dut.shell("fw_printenv -n slot; fw_printenv -n upgrade_available; fw_printenv -n ustate").split() == [
            *("b", "0", "0")
        ]

        second = server.assign(NAME, server.release(BAD, bad))
        dut.expect("bank a gives way to b: signature", 300)
        dut.booted(90)
        assert server.ended(NAME, second, 300) == "error"
        messages = server.messages(NAME, second)
        assert "bank a gave way to b: signature" in messages, messages
        assert GOOD in dut.shell("dcu device status", 120, check=False)
