"""The passage between Linux and the PAN: what goes through, and what does not."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import ConfigError, DecodeError
from dcu.fan.g3 import ipv6, network, passage
from dcu.fan.g3.passage import Passage
from dcu.fan.g3.reports import DataIndication
from dcu.fan.tun import Tun, names_interface
from neighbourhood.g3.echo import replied
from tests.fan.scripted import PAN, ScriptedModem, eui, rig

OURS, METER = ipv6.address(PAN, 0), ipv6.address(PAN, 7)


def echo(kind=passage.ECHO_REQUEST, source=OURS, destination=METER, payload=b"ping"):
    body = bytes((kind, 0, 0, 0, 0, 1, 0, 1)) + payload
    total = ipv6.checksum(source, destination, ipv6.ICMP, body)
    body = body[:2] + total.to_bytes(2, "big") + body[4:]
    head = (6 << 28).to_bytes(4, "big") + len(body).to_bytes(2, "big") + bytes((ipv6.ICMP, 64))
    return head + source + destination + body


def udp(port=40_000, source=OURS, destination=METER, to=7):
    return ipv6.encode(ipv6.Datagram(source, destination, port, to, b"hello"))


def passage_(tun=None, member=lambda short: short == 7):
    made = Passage(
        lambda: tun,
        PAN,
        OURS,
        (network.CLIENT_PORT, network.DLMS_PORT),
        member,
        None,
        Counter(),
    )
    made._tun = tun
    return made


class Taken(list):
    def send(self, packet):
        self.append(packet)
        return True


@pytest.mark.parametrize("packet", [echo(), udp(), echo(payload=bytes(1200))])
def test_a_ping_and_a_port_of_its_own_go_out(packet):
    assert passage_().destination(packet) == 7


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (echo(source=METER), "coordinator's own address"),
        (echo(destination=ipv6.address(PAN, 8)), "nobody"),
        (echo(destination=ipv6.address(PAN + 1, 7)), "another network"),
        (echo(destination=bytes.fromhex("ff0200000000000000000000000000fb")), "another network"),
        (echo(destination=ipv6.address(PAN, 7, bytes(8))), "nobody"),
        (echo(kind=133), "neither"),  # router solicitation
        (echo(kind=passage.ECHO_REPLY), "neither"),
        (udp(port=network.CLIENT_PORT), "neither"),
        (udp(port=network.DLMS_PORT), "neither"),
        (echo()[:-1], "length"),
        (echo()[:-1] + b"!", "checksum"),
        (echo()[:6] + bytes((43,)) + echo()[7:], "next header 43"),
        (b"", "0 bytes"),
        (echo(payload=bytes(1300)), "bytes"),
    ],
)
def test_everything_else_stays_outside(packet, why):
    with pytest.raises(DecodeError, match=why):
        passage_().destination(packet)


def test_replies_errors_and_what_is_nobodys_come_in():
    tun = Taken()
    way = passage_(tun)
    wanted = [echo(129, METER, OURS), echo(1, METER, OURS), udp(source=METER, destination=OURS, to=40_000)]
    for packet in wanted:
        assert way.arrived(packet)
    others = [
        echo(128, METER, OURS),  # nobody pings the concentrator
        echo(129, ipv6.address(PAN, 8), OURS),
        echo(129, METER, METER),
        udp(source=METER, destination=OURS, to=network.DLMS_PORT),
        udp(source=METER, destination=OURS, to=network.CLIENT_PORT),
    ]
    for packet in others:
        assert not way.arrived(packet)
    assert tun == wanted
    assert not passage_().arrived(wanted[0])  # no interface, nothing to hand it to


@given(
    st.binary(max_size=1400)
    | st.builds(lambda at, bit: _flipped(echo(129, METER, OURS), at, bit), st.integers(0, 51), st.integers(0, 7))
)
def test_whatever_comes_from_either_side_is_judged(packet):
    tun = Taken()
    if packet != echo(129, METER, OURS):
        passage_(tun).arrived(packet)
        assert all(ipv6.opened(each) for each in tun)
    with contextlib.suppress(DecodeError):
        assert passage_().destination(packet) == 7


def _flipped(packet, at, bit):
    return packet[:at] + bytes((packet[at] ^ 1 << bit,)) + packet[at + 1 :]


def test_a_simulated_meter_answers_as_rfc_4443_says():
    assert replied(echo(payload=b"odd")) == echo(129, METER, OURS, b"odd")
    assert replied(echo(payload=bytes((0xFE, 0xFF)) * 9)) == echo(129, METER, OURS, bytes((0xFE, 0xFF)) * 9)
    assert replied(udp()) is None
    assert replied(echo(129)) is None


@pytest.mark.parametrize(
    ("name", "right"),
    [("g3", True), ("g3-street.1", True), ("g3%d", False), ("x" * 16, False), ("", False), ("a b", False)],
)
def test_names_of_interfaces(name, right):
    assert names_interface(name) is right


def test_an_interface_that_is_not_there_is_explained_once(monkeypatch, caplog):
    def attach():
        raise ConfigError("TUN interface g3: it has to be there (docs/g3.md)")

    async def watched():
        monkeypatch.setattr(passage, "AGAIN", 0.01)
        way = passage_()
        way._attach = attach
        keeping = asyncio.create_task(way.keep())
        await asyncio.sleep(0.1)
        keeping.cancel()

    asyncio.run(watched())
    assert caplog.text.count("has to be there") == 1


@pytest.mark.looptime
async def test_the_network_carries_both_ways_and_keeps_its_own_ports(monkeypatch):
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near.setblocking(False)
    monkeypatch.setattr(Tun, "attach", classmethod(lambda cls, name: cls(name, os.dup(near.fileno()))))
    sent = []

    def deliver(modem, handle, packet):
        sent.append(packet)
        modem.confirm(handle)
        if answer := replied(packet):
            modem.soon(DataIndication(90, answer))

    modem = ScriptedModem()
    modem.deliver = deliver
    async with rig(modem=modem, tun="g3") as street:
        await street.joined(1)
        meter = ipv6.address(PAN, street.network.plan.short(eui(1)))
        far.send(echo(destination=meter))
        far.send(udp(port=network.CLIENT_PORT, destination=meter))
        await street.until(lambda: street.network.counts["tun-received"])
        assert far.recv(2000) == echo(129, meter, OURS)
        assert sent == [echo(destination=meter)]
        assert street.network.counts["tun-refused"] == 1
        assert not street.network.counts["bad-packets"]
    near.close()
    far.close()


REAL = (
    shutil.which("unshare")
    and shutil.which("ping")
    and shutil.which("ip")
    and os.access("/dev/net/tun", os.R_OK | os.W_OK)
    and os.geteuid() == 0
)


@pytest.mark.skipif(not REAL, reason="needs root, /dev/net/tun, and Debian's iproute2 and iputils-ping")
async def test_linux_pings_a_meter():
    """The kernel's own ping through a real interface, in a network namespace of its own."""
    street = await asyncio.create_subprocess_exec(
        "unshare",
        "--net",
        sys.executable,
        "-m",
        "tests.fan.pinged",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        said = (await street.communicate())[0].decode()
    assert "3 packets transmitted, 3 received" in said, said
    assert "refused by nobody who has joined: 1" in said, said
