"""A meter's optical head at the far end of a pseudo-terminal, and who hears what at which speed."""

import asyncio
import termios

from dcu.link import mode_e
from neighbourhood.optical import Head, State

from .pty import Pty

NUMBER = "12345678"
READ_OUT = (  # as meters write it: several values in a line, several sets in a line, values without a unit
    b"F.F(00000000)\r\n0.0.0(12345678)\r\n1.8.0(000123.456*kWh)\r\n"
    b"1.6.1(00.123*kW)(2511201200)\r\n31.7.0(001.2*A)51.7.0(001.3*A)\r\n!\r\n"
)
_SPEEDS = {getattr(termios, f"B{baud}"): baud for baud in mode_e.BAUDS.values()}


class Optics:
    """A head that hears at the speed that the port is set to; `spoil` changes what it says, `deaf` reads are lost.

    heard: the speeds at which something came, each once in a row
    """

    def __init__(self, text=lambda: b"!\r\n", hear=lambda data: b"HDLC:" + data, **options):
        self.line = Pty()
        self.head = Head(NUMBER, text, hear, **options)
        self.spoil = lambda data: data
        self.echo = False
        self.deaf = 0
        self.heard = []
        asyncio.get_running_loop().add_reader(self.line.far, self._hear)

    def leave_in_hdlc(self, baud):
        """As a session that was cut off leaves it."""
        self.head.state, self.head.speed = State.HDLC, baud
        self.head._heard_at = asyncio.get_running_loop().time()

    def speed(self):
        return _SPEEDS.get(termios.tcgetattr(self.line._near)[4], 0)

    def close(self):
        asyncio.get_running_loop().remove_reader(self.line.far)
        self.line.unplug()

    def _hear(self):
        loop = asyncio.get_running_loop()
        data = self.line.read()
        if self.heard[-1:] != [self.speed()]:
            self.heard.append(self.speed())
        if self.echo:
            self.line.write(data)
        if self.deaf:
            self.deaf -= 1
            return
        before = self.head.speed
        answer = self.head.feed(data, self.speed(), loop.time())
        if not answer:
            return
        spoilt = self.spoil(answer)
        changed = self.head.state is State.READ_OUT and self.head.speed != before
        loop.call_later(0.2 if changed else 0.01, self.line.write, spoilt)
