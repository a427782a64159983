"""How a meter is reached, as a registration writes it; and what a configuration says of serial lines."""

import pytest

from dcu.collect import settings
from dcu.collect.links import Links, hdlc_setup
from dcu.collect.meter_profile import Hdlc
from dcu.collect.reach import Reach, client_address, server_address
from dcu.errors import ConfigError
from dcu.link.hdlc import Address
from dcu.link.serial import Port
from tests.collect.rig import family

BASE = """\
system_title = "4443550000000001"
[keys]
file = "keys"
[store]
directory = "store"
[[medium]]
name = "cabinet"
device = "/dev/ttyS1"
"""


@pytest.mark.parametrize(
    ("written", "reach"),
    [
        ("tcp://192.0.2.7:4059", Reach(False, "tcp", "192.0.2.7", 4059)),
        ("udp://[2001:db8::7]:4059", Reach(False, "udp", "2001:db8::7", 4059)),
        ("hdlc+tcp://server.example:4000/17", Reach(True, "tcp", "server.example", 4000, physical=17)),
        ("hdlc+udp://192.0.2.7:4059", Reach(True, "udp", "192.0.2.7", 4059)),
        ("hdlc+serial://cabinet/1234", Reach(True, "serial", line="cabinet", physical=1234)),
        ("hdlc+serial://cabinet", Reach(True, "serial", line="cabinet")),
        ("hdlc+serial://head/17@12345678", Reach(True, "serial", line="head", physical=17, number="12345678")),
        ("hdlc+serial://head/@AB", Reach(True, "serial", line="head", number="AB")),
        ("tcp://192.0.2.7:4059#2", Reach(False, "tcp", "192.0.2.7", 4059, logical=2)),
        ("hdlc+serial://cabinet/17#3", Reach(True, "serial", line="cabinet", physical=17, logical=3)),
    ],
)
def test_an_address_says_link_place_and_physical_address(written, reach):
    assert Reach.parse(written) == reach


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("serial:///dev/ttyS1", "no address of a meter"),
        ("tcp://192.0.2.7", "no address of a meter"),
        ("hdlc+serial://", "no address of a meter"),
        ("tcp://192.0.2.7:4059/17", "the wrapper has no physical address"),
        ("hdlc+serial://cabinet/", "the physical address is a number"),
        ("hdlc+serial://cabinet/0", "the physical address is a number"),
        ("hdlc+serial://cabinet/16383", "the physical address is a number"),
        ("hdlc+serial://cabinet/١٧٧٧٧٧٧", "the physical address is a number"),
        ("hdlc+serial://head/17@", "behind @ stands a meter's number"),
        ("hdlc+serial://head/17@1 2", "behind @ stands a meter's number"),
        ("tcp://192.0.2.7:4059#", "behind # stands the SAP"),
        ("tcp://192.0.2.7:4059#0", "behind # stands the SAP"),
        ("udp://192.0.2.7:4059#70000", "behind # stands the SAP"),
        ("hdlc+serial://cabinet/x", "the physical address is a number"),
    ],
)
def test_what_is_no_address_is_told(written, told):
    with pytest.raises(ConfigError, match=told):
        Reach.parse(written)


@pytest.mark.parametrize(
    ("sap", "physical", "size", "address"),
    [
        (1, None, 0, Address(1)),
        (1, 17, 0, Address(1, 17, 2)),
        (1, 200, 0, Address(1, 200, 4)),
        (200, None, 0, Address(200, 0, 4)),
        (1, 17, 4, Address(1, 17, 4)),
        (1, 127, 0, Address(1, 127, 4)),  # 127 is all stations in one byte
    ],
)
def test_an_hdlc_address_takes_the_fewest_bytes(sap, physical, size, address):
    assert server_address(sap, physical, size) == address
    assert len(address.encode()) == address.size


def test_addresses_that_do_not_fit_are_told():
    for call in (lambda: server_address(1, 200, 2), lambda: server_address(20_000, None), lambda: client_address(127)):
        with pytest.raises(ConfigError):
            call()


def test_a_familys_habits_reach_the_link():
    setup = hdlc_setup(17, 1, 1, Hdlc(address_size=4, information=128, window=3, negotiate=False, timeout=5.0))
    assert setup.server == Address(1, 17, 4)
    assert (setup.parameters.receive, setup.parameters.transmit_window) == (128, 3)
    assert (setup.announce, setup.timeout) == (False, 5.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [("information", 31), ("information", 2031), ("window", 0), ("window", 8), ("timeout", 0), ("retries", -1)],
)
def test_a_familys_mistakes_are_told(key, value):
    from dcu.collect.meter_profile import check

    with pytest.raises(ConfigError, match=f"key hdlc.{key}"):
        check(family(hdlc={key: value}), "here")


# --- serial lines of the collector


def loaded(tmp_path, more=""):
    (tmp_path / "collector.toml").write_text(BASE + more)
    return settings.load(tmp_path / "collector.toml")


def test_a_device_makes_a_line_with_one_exchange_at_a_time_and_its_addresses(tmp_path):
    (table,) = loaded(tmp_path, 'baud = 19200\nformat = "8E1"\nrs485 = "rts"').medium
    assert table.port == Port("/dev/ttyS1", 19200, "8E1", "rts")
    assert table.patterns == ("hdlc+serial://cabinet", "hdlc+serial://cabinet/*")
    medium = table.medium()
    assert medium.concurrency == 1
    assert medium.air_left is not None
    assert medium.largest_answer == pytest.approx(5.0 * 19200 / 11, abs=1)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("baud = 9601", "baud"),
        ('format = "9N1"', "format"),
        ("turnaround = 2.0", "turnaround"),
        ('rs485 = "yes"', "rs485"),
        ('[[medium]]\nname = "b"\ndevice = "/dev/ttyS1"', "medium: devices that differ"),
        ('[[medium]]\nname = "a b"\ndevice = "/dev/ttyS2"', r"medium\[1\].name"),
        ('[[medium]]\nname = "b"', r"medium\[1\].addresses"),
    ],
)
def test_a_lines_mistakes_are_told(tmp_path, line, key):
    with pytest.raises(ConfigError, match=key):
        loaded(tmp_path, line)


async def test_a_meter_on_a_line_that_is_not_there_is_told():
    links = Links([])
    with pytest.raises(ConfigError, match=r"no \[\[medium\]\] of this name has a device"):
        await links.connect("hdlc+serial://cabinet/17", 1, family())
    await links.close()
