"""A host at the emulated modem, for tests: says requests, keeps reports. And a street whose meters it lets in."""

from random import Random
from struct import pack

from neighbourhood.g3 import adp, adp_codec, usi
from neighbourhood.g3.lbd import Device, Standing
from neighbourhood.g3.line import PAN, Line
from neighbourhood.g3.modem import Modem

PSK = bytes.fromhex("0123456789abcdef0123456789abcdef")
GMK, NEW_GMK = bytes(range(16)), bytes(range(16, 32))


class Host:
    """allow: answers join requests with the short address of the EUI-64's last two bytes."""

    def __init__(self, modem, *, allow=True):
        self.modem, self.scheduler = modem, modem.scheduler
        self.receiver = usi.Receiver()
        self.reports = []
        self.allow = allow
        modem.uart.say = self.heard

    def heard(self, data):
        for frame in self.receiver.feed(data):
            report = adp_codec.decode_report(frame.payload)
            self.reports.append(report)
            if isinstance(report, adp.JoinRequest) and self.allow:
                self.say(adp.AssignShort(report.eui64, int.from_bytes(report.eui64[6:], "big")))

    def say(self, request):
        self.modem.feed(usi.encode(usi.ADP, adp_codec.encode(request)))

    def run(self, seconds):
        self.scheduler.run_until(self.scheduler.now + seconds)

    def ask(self, request, seconds=1.0):
        """The reports of the next moments."""
        before = len(self.reports)
        self.say(request)
        self.run(seconds)
        return self.reports[before:]

    def of(self, kind):
        return [report for report in self.reports if isinstance(report, kind)]

    def start(self):
        """Open the stack as a coordinator, and start its network."""
        self.ask(adp.Initialise(0, 1))
        for request in (adp.LbpSet(2, 0, PSK), adp.LbpSet(3, 0, GMK), adp.Start(PAN)):
            self.ask(request, 0.1)


class Street:
    def __init__(self, homes, *, seed=7, trace=None, intruders=(), psk=PSK):
        self.line = Line(homes, seed, quiet=True, trace=trace, intruders=intruders)
        self.scheduler = self.line.scheduler
        self.modem = Modem(self.line.nodes[0], self.scheduler, Random(seed))
        self.host = Host(self.modem)
        self.devices = [
            Device(node, self.scheduler, Random(node.number), psk if node.number <= homes else bytes(16))
            for node in self.line.nodes[1:]
        ]
        for number, node in enumerate(self.line.nodes[1:]):
            node.on_power = lambda up, device=self.devices[number]: device.start() if up else device.stop()

    def join(self, seconds=600.0, *, spread=1.0):
        """Start the network, and every device; until all of the homes have joined."""
        self.host.start()
        for number, device in enumerate(self.devices):
            device.start(number * spread)
        homes = self.devices[: self.line.homes]
        end = self.scheduler.now + seconds
        assert self.scheduler.run_while(lambda: any(d.standing is not Standing.JOINED for d in homes), end)
        self.host.run(2)
        return self


def address(short):
    return b"\xfe\x80" + bytes(6) + pack(">HHHH", PAN, 0xFF, 0xFE00, short)


def datagram(source, destination, payload, to=4059):
    """A UDP datagram from the DLMS port, over IPv6; its checksum is right."""
    head = address(source) + address(destination)
    udp = pack(">HHHH", 4059, to, 8 + len(payload), 0) + payload
    words = head + pack(">II", len(udp), 17) + udp + bytes(len(udp) % 2)
    total = sum(int.from_bytes(words[at : at + 2], "big") for at in range(0, len(words), 2))
    total = ~(total % 0xFFFF) & 0xFFFF
    udp = udp[:6] + (total or 0xFFFF).to_bytes(2, "big") + udp[8:]
    return pack(">IHBB", 0x60000000, len(udp), 17, 64) + head + udp
