"""The gateway on the device: off as delivered; switched on, it shows the page, and cannot command a meter."""

import http.client
import json
import re
import socket
import ssl
import time

import pytest

from device import disk
from device.qemu import Device
from device.tests.test_lastgasp import PYTHON, working

PASSWORD = "correct horse battery"
# As the gateway's user, with the gateway's groups: what somebody who took it over would try
TAKEN_OVER = """
import asyncio, json
from dcu.control.client import ControlClient
from dcu.errors import DcuError
async def tried():
    found = {}
    async with await ControlClient.connect() as client:
        for method, params in (
            ("meters", {}), ("status", {}),
            ("command", {"meter": "x", "command": "disconnect"}), ("opaque", {"meter": "x", "apdu": "c0"}),
            ("keys.reset", {}), ("headend.import", {"file": "", "transport_key": ""}),
        ):
            try:
                await client.call(method, **params)
                found[method] = "done"
            except DcuError as error:
                found[method] = str(error)
    print(json.dumps(found))
asyncio.run(tried())
"""
FILES = ("/persist/dcu/keys", "/persist/device", "/var/lib/dcu/store", "/run/credstore")


@pytest.fixture(scope="module")
def dut(good, firmware):
    with Device(firmware, disk.build(good, good)) as made:
        working(made)
        yield made


def switched_on(dut):
    dut.shell("mkdir -p /etc/dcu && cp /usr/share/doc/dcu/gateway.toml /etc/dcu/gateway.toml")
    dut.shell(
        f"echo '{PASSWORD}' | dcu gateway user anna --operator && chown dcu-web: /persist/dcu-web/users.toml",
        120,
    )
    dut.shell("systemctl start dcu-gateway", 180)


def forwarded(dut, port):
    """The port of this host that leads to a port of the device."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = free.getsockname()[1]
    dut.qmp.command(
        "human-monitor-command",
        **{"command-line": f"hostfwd_add net tcp:127.0.0.1:{here}-:{port}"},
    )
    return here


def asked(port, certificate, method, path, body=None, **headers):
    context = ssl.create_default_context(cadata=certificate)
    context.check_hostname = False  # it is reached through QEMU, under another name
    link = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
    text = json.dumps(body) if body is not None else None
    kind = {"Content-Type": "application/json", "Origin": f"https://127.0.0.1:{port}"} if text else {}
    link.request(method, path, text, {**kind, **headers})
    answer = link.getresponse()
    return answer.status, answer.getheader("Set-Cookie"), answer.read()


def test_it_is_off_as_delivered_and_serves_the_page_once_switched_on(dut):
    assert dut.shell("systemctl is-active dcu-gateway", check=False) == "inactive"
    assert "8443" not in dut.shell("ss -Htln")
    switched_on(dut)
    certificate = dut.shell("cat /persist/dcu-web/cert.pem")
    port = forwarded(dut, 8443)
    status, _, page = asked(port, certificate, "GET", "/")
    assert (status, page[:2]) == (200, b"\x1f\x8b")
    assert asked(port, certificate, "POST", "/api/command", {"do": "poll"})[0] == 401
    status, cookie, _ = asked(port, certificate, "POST", "/api/login", {"name": "anna", "password": PASSWORD})
    assert status == 200
    session = re.match(r"__Host-dcu=[^;]+", cookie)[0]
    status, _, said = asked(port, certificate, "POST", "/api/command", {"do": "poll"}, Cookie=session)
    assert (status, b"not commissioned" in said) == (403, True)


def test_whoever_takes_it_over_looks_on_and_commands_nothing(dut):
    if dut.shell("systemctl is-active dcu-gateway", check=False) != "active":
        switched_on(dut)
    dut.put("/run/taken.py", TAKEN_OVER.encode())
    run = (
        "systemd-run -q --wait --pipe -p User=dcu-web -p SupplementaryGroups=dcu -p PrivateUsers=yes "
        f"{PYTHON} /run/taken.py"
    )
    found = json.loads(dut.shell(run, 180))
    assert (found["meters"], found["status"]) == ("done", "done")
    refused = {name: said for name, said in found.items() if name not in ("meters", "status")}
    assert all("may not call" in said for said in refused.values()), refused
    own = json.loads(dut.shell(f"systemd-run -q --wait --pipe -p User=dcu {PYTHON} /run/taken.py", 180))
    assert not any("may not call" in said for said in own.values())  # the canary: the collector's own user may


def test_its_sandbox_has_nothing_of_the_collectors(dut):
    if dut.shell("systemctl is-active dcu-gateway", check=False) != "active":
        switched_on(dut)
    main = dut.shell("systemctl show -p MainPID --value dcu-gateway.service")
    for path in FILES:
        said = dut.shell(
            f"nsenter -t {main} -m -- setpriv --reuid dcu-web --clear-groups ls {path}",
            check=False,
        )
        assert "Permission denied" in said or "No such file" in said, (path, said)


def test_it_is_fed_to_the_watchdog_and_stops_in_good_order(dut):
    if dut.shell("systemctl is-active dcu-gateway", check=False) != "active":
        switched_on(dut)
    began = time.monotonic()
    dut.shell("systemctl stop dcu-gateway", 60)
    assert time.monotonic() - began < 45
    assert dut.shell("systemctl show -p Result --value dcu-gateway") == "success"
