"""Updates from servers, on the device: hawkBit hears how each trial ended; a delta costs what has changed."""

import pytest

from device import application, hawkbit, swu
from device.paths import APP
from device.tests.test_update_rollback import CRASHES
from device.tests.updating import MINUTES, NEWER, SLOW, confirmed, gave_way, rebooted, status, wait
from device.webserver import GUEST, Authority, WebServer

pytestmark = [pytest.mark.long, MINUTES]

NEWEST = "1.2.0"
TOKEN = "0123456789abcdef" * 2
# Polled more often, SWUpdate does nothing else under emulation: each poll is a TLS handshake
POLL = 30
SERVER = """
url = "{url}"
id = "dcu-1"
target_token = "{token}"
poll = {poll}
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("utility"))


def trusts(dut, authority):
    """Have the device trust this authority, as soon as its /etc can be written: the bench's shell is there before."""
    dut.shell("systemctl start etc.mount", SLOW)
    dut.put("/etc/dcu/servers.pem", authority.pem.read_bytes())


def test_hawkbit_hears_of_an_update_that_gave_way_and_of_one_that_was_confirmed(settled, authority, tmp_path):
    with hawkbit.serve(authority, tmp_path) as server, settled.on() as dut:
        server.configure(authentication__targettoken__enabled=True, pollingTime=f"00:00:{POLL}")
        server.target("dcu-1", TOKEN)
        bad = server.assign("dcu-1", server.release(NEWER, swu.release(NEWER, arguments=CRASHES)))
        trusts(dut, authority)
        dut.put("/etc/dcu/hawkbit.toml", SERVER.format(url=server.url(GUEST), token=TOKEN, poll=POLL).encode())
        dut.shell("systemctl start --no-block dcu-hawkbit.service", SLOW)  # it waits for the health check of this boot

        dut.expect("slot b, upgrade_available 1, bootcount 1", 2 * SLOW)  # fetched, installed, rebooted by itself
        dut.expect("slot a, upgrade_available 0", SLOW)
        dut.booted(SLOW)
        assert server.ended("dcu-1", bad, SLOW) == "error"
        assert "bank b gave way to a: health:collector" in server.messages("dcu-1", bad)
        wait(lambda: dut.shell("fw_printenv -n ustate", SLOW) == "0", SLOW, "told, and noted as told")
        gave_way(dut, "health:collector", ustate="0")
        assert status(dut)["server"]["contact"] == "heard"
        assert server.attributes("dcu-1")["version"] == "1.0.0"

        good = server.assign("dcu-1", server.release(NEWEST, swu.release(NEWEST)))
        dut.expect("slot b, upgrade_available 1, bootcount 1", 2 * SLOW)
        dut.booted(SLOW)
        shown = confirmed(dut)
        assert (shown["phase"], shown["version"], shown["oldest"]) == ("confirmed", NEWEST, NEWEST), shown
        assert server.ended("dcu-1", good, SLOW) == "finished"
        settled.nothing_lost(dut)


def changed():
    """Three modules of the application with a line more, as a small correction changes them."""
    place = application.PROGRAMS[0].packages
    modules = ("dcu/collect/vitals.py", "dcu/platform/health.py", "dcu/uplink/packet.py")
    return {f"{place}/{name}": f"{(APP / name).read_text()}\nCORRECTED = True\n" for name in modules}


def test_a_delta_of_three_changed_modules_is_fetched_in_parts_and_confirmed(
    settled, authority, tmp_path, record_property
):
    sealed = swu.bank_of(NEWER, extra=changed())
    full, delta = swu.build(NEWER, sealed), tmp_path / "delta.swu"
    with WebServer(authority) as server, settled.on() as dut:
        chunks = swu.packed(delta, NEWER, sealed, chunks=server.url("/1.1.0", GUEST))
        server.site.files |= {f"/1.1.0/{path.name}": path for path in chunks}
        server.site.files["/delta.swu"] = delta
        trusts(dut, authority)
        said = dut.shell(f"dcu device update {server.url('/delta.swu', GUEST)}", 2 * SLOW)
        assert "installed into bank b" in said
        fetched, whole = server.site.sent, full.stat().st_size
        print(f"{fetched:,} bytes sent for {whole:,} of the full update, {delta.stat().st_size:,} of them its own")  # noqa: T201
        assert fetched < whole / 20
        rebooted(dut)
        dut.expect("slot b, upgrade_available 1, bootcount 1", SLOW)
        dut.booted(SLOW)
        shown = confirmed(dut)
        assert (shown["phase"], shown["slot"], shown["version"]) == ("confirmed", "b", NEWER), shown
        settled.nothing_lost(dut)
