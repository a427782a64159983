"""How many frames a second the simulated power line gets through, and how many ns-3's lr-wpan does.

Beside ns-3: the same number of devices, all of which hear each other, and 60-byte MSDUs from each to its neighbour, one
after the other, acknowledged. Ours are secured with AES-CCM, ns-3's (802.15.4 over a spectrum channel) are not.
Both are measured in processor time, in turns, the best of three; both must have delivered every frame. ns-3 is Debian's
libns3-dev and a small program of ours (ns3/lr_wpan.cc), built into a temporary folder; where either is missing, it is
left out.

The street: 1,000 homes, one request and answer after the other over up to eight hops, joined and routed before the
clock starts; noise, losses, retries and tone maps as they come.

`python -m bench.power_line`, from ci/, prints the figures.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from neighbourhood.g3 import iphc
from neighbourhood.g3.feeder import Cable, Feeder, Junction, Place
from neighbourhood.g3.line import PAN, Line
from neighbourhood.g3.msdu import Msdu
from neighbourhood.g3.phy import ALL_TONES, Modulation
from neighbourhood.g3.tables import Neighbour
from neighbourhood.g3.trace import Tag

SOURCE = Path(__file__).parent / "ns3" / "lr_wpan.cc"
LIBRARIES = [f"-lns3-{name}" for name in ("lr-wpan", "spectrum", "mobility", "propagation", "network", "core")]
KEY = bytes(range(16))
FRAMES = {48: 4000, 500: 4000}
NS3_FRAMES = {48: 1000, 500: 100}
ROUNDS = 3
NIGHT = 2 * 3600.0


@dataclass(frozen=True, slots=True)
class Compared:
    """Acknowledged data frames a second of processor time; ns3 None: not there."""

    nodes: int
    ours: float
    ns3: float | None


def compared() -> list[Compared]:
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder) / "lr_wpan")
        found = []
        for nodes in FRAMES:
            best, peer = 0.0, 0.0
            for _ in range(ROUNDS):
                best = max(best, dense(nodes, FRAMES[nodes]))
                if program is not None:
                    peer = max(peer, ns3(program, nodes, NS3_FRAMES[nodes]))
            found.append(Compared(nodes, best, peer if program is not None else None))
        return found


def build(program: Path) -> Path | None:
    """The peer, compiled; None: no compiler or no ns-3."""
    if shutil.which("g++") is None or not Path("/usr/include/ns3").is_dir():
        return None
    command = ["g++", "-O2", "-std=c++17", "-w", "-o", str(program), str(SOURCE), *LIBRARIES]
    return program if subprocess.run(command, check=False).returncode == 0 else None  # noqa: S603  our own words


def ns3(program: Path, nodes: int, frames: int) -> float:
    command = [program, str(nodes), str(frames)]
    said = subprocess.run(command, check=True, capture_output=True, timeout=300).stdout  # noqa: S603  built here
    found = json.loads(said)
    assert found["received"] == found["acknowledged"] == frames, found
    return frames / found["seconds"]


def dense(nodes: int, frames: int) -> float:
    """Everybody on one cable joint, each to its neighbour."""
    cables = Feeder(1, [Junction(0, 0.0, 0.0), Junction(1, 10.0, 0.0)], [Cable(0, 0, 1, 10.0)], [Place(1, "A")] * nodes)
    line = Line(nodes - 1, 1, quiet=True, cables=cables)
    got = done = 0

    def heard(_: object) -> None:
        nonlocal got
        got += 1

    def confirmed(status: int) -> None:
        nonlocal done
        done += status == 0

    for node in line.nodes:
        node.keys, node.pan, node.short = {0: KEY}, PAN, node.number
        to = (node.number + 1) % nodes
        node.neighbours[to] = Neighbour(to, 120, 0.0, 120, Modulation.D8PSK, ALL_TONES, 1e9)
        node.mac.on_data = heard
    for number in range(frames):
        sender = line.nodes[number % nodes]
        msdu = Msdu((number + 1) % nodes, bytes(60), confirmed, Tag(sender.number, None, "DATA"))
        line.scheduler.at(0.2 * number, sender.mac.send, msdu)
    begun = time.process_time()
    line.scheduler.run_until(0.2 * frames + 1)
    took = time.process_time() - begun
    assert got == done == frames, (got, done)
    return frames / took


def street(homes: int = 1000, seconds: float = 6.0) -> dict[str, float]:
    """Data frames and acknowledgements a second of processor time, and what became of the exchanges."""
    line = Line(homes, 1, start=NIGHT)
    line.settle(KEY)
    coordinator = line.nodes[0]
    asked = answered = 0

    def ask(before: int) -> None:
        nonlocal asked
        if before != asked:
            return  # an answer that came late
        asked += 1
        home = asked % homes + 1
        coordinator.send_ipv6(home, _datagram(0, home, 70), lambda status: None)
        line.scheduler.after(30.0, ask, asked)

    def answer(home: int) -> None:
        line.nodes[home].send_ipv6(0, _datagram(home, 0, 400), lambda status: None)

    def took(_: bytes, __: int) -> None:
        nonlocal answered
        answered += 1
        ask(asked)

    coordinator.on_ipv6 = took
    for home in range(1, homes + 1):
        line.nodes[home].on_ipv6 = lambda _, __, home=home: answer(home)
    ask(0)
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        line.scheduler.run_until(line.scheduler.now + 10.0)
    spent = time.process_time() - begun
    assert answered > 0.95 * asked, (answered, asked)
    channel = line.channel
    return {"homes": homes, "frames": channel.sent / spent, "with_acks": (channel.sent + channel.acknowledged) / spent,
            "asked": asked, "answered": answered, "faster": line.scheduler.now / spent}  # fmt: skip


def _datagram(source: int, destination: int, size: int) -> bytes:
    addresses = iphc.address(PAN, source) + iphc.address(PAN, destination)
    udp = bytes.fromhex("0fdb0fdb") + (size + 8).to_bytes(2, "big") + bytes(2) + bytes(size)
    return bytes((0x60, 0, 0, 0)) + (size + 8).to_bytes(2, "big") + bytes((17, 64)) + addresses + udp


if __name__ == "__main__":
    json.dump({"compared": [[one.nodes, one.ours, one.ns3] for one in compared()], "street": street()}, sys.stdout)
