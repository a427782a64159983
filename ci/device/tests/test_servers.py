"""Updates that come from a server: fetched over HTTPS however the line breaks, from nobody whom nobody vouches for."""

import pytest

from device import swu
from device.tests.test_collector import ready
from device.webserver import GUEST, Authority, Fault, WebServer

pytestmark = pytest.mark.long

NEWER = "1.1.0"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("utility"))


def refused(dut, command):
    """Run it, check that it was refused in one line, return the line."""
    said = dut.shell(f"{command}; echo exit $?", 300)
    line, code = said.splitlines()[-2:]
    assert code == "exit 11", said
    return line


def test_update_is_fetched_from_an_https_server(device, authority, tmp_path):
    foreign = Authority(tmp_path, "somebody else")
    with WebServer(authority) as server, WebServer(None) as plain, device() as dut:
        files, faults = server.site.files, server.site.faults
        files["/update.swu"] = files["/cut.swu"] = plain.site.files["/update.swu"] = swu.release(NEWER)
        ready(dut)
        dut.put("/run/foreign.pem", foreign.pem.read_bytes())
        url = server.url("/update.swu", GUEST)
        assert "certificate is not trusted" in refused(dut, f"dcu device update {url}")
        assert "certificate is not trusted" in refused(dut, f"dcu device update --ca /run/foreign.pem {url}")
        assert server.site.requests == []
        dut.put("/etc/dcu/servers.pem", authority.pem.read_bytes())
        assert "the server says 404" in refused(dut, f"dcu device update {server.url('/none.swu', GUEST)}")
        faults["/down"] = Fault(status=302, location=plain.url("/update.swu", GUEST))
        assert "redirects" in refused(dut, f"dcu device update {server.url('/down', GUEST)}")
        assert "from a file or from https" in refused(dut, f"dcu device update {plain.url('/update.swu', GUEST)}")
        assert plain.site.requests == []
        faults["/cut.swu"] = Fault(cut=9_000_000, ranges=False)
        assert "does not resume" in refused(dut, f"dcu device update {server.url('/cut.swu', GUEST)}")
        before = dut.shell("fw_printenv -n slot; fw_printenv -n upgrade_available")
        assert before.split() == ["a", "0"]
        faults["/latest"] = Fault(status=302, location="/update.swu")
        faults["/update.swu"] = Fault(cut=20_000_000, times=2)
        assert "installed into bank b" in dut.shell(f"dcu device update {server.url('/latest', GUEST)}", 400)
        assert sum(request.startswith("GET /update.swu bytes=") for request in server.site.requests) == 2
        assert dut.shell("fw_printenv -n slot; fw_printenv -n upgrade_available").split() == ["b", "1"]
