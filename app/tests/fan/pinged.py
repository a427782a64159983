"""A coordinator with a TUN interface, and Linux's ping through it (test_passage runs it in a network namespace)."""

import asyncio
import subprocess

from dcu.fan.g3.reports import DataIndication
from neighbourhood.g3.echo import replied
from tests.fan.scripted import PAN, ScriptedModem, eui, rig

SET_UP = (
    "ip tuntap add g3 mode tun",
    "sysctl -q net.ipv6.conf.g3.addr_gen_mode=1",
    f"ip address add fe80::{PAN:x}:ff:fe00:0/64 dev g3 nodad",
    "ip link set g3 up mtu 1280",
)


def deliver(modem, handle, packet):
    modem.confirm(handle)
    if answer := replied(packet):
        modem.soon(DataIndication(90, answer))


async def ping(short, count):
    running = await asyncio.create_subprocess_exec(
        "ping", "-6", "-c", str(count), "-i", "0.2", "-W", "10", f"fe80::{PAN:x}:ff:fe00:{short:x}%g3"
    )
    return await running.wait()


async def main():
    for command in SET_UP:
        subprocess.run(command.split(), check=True)
    modem = ScriptedModem()
    modem.deliver = deliver
    async with rig(modem=modem, tun="g3") as street:
        await street.joined(1)
        await ping(street.network.plan.short(eui(1)), 3)
        before = street.network.counts["tun-refused"]
        stranger = asyncio.create_task(ping(0x3333, 1))
        await street.until(lambda: street.network.counts["tun-refused"] > before)
        stranger.cancel()
        print("refused by nobody who has joined:", street.network.counts["tun-refused"] - before)


asyncio.run(main())
