"""Pseudo-terminals that stand for serial lines."""

import os
import tty


class Pty:
    """A line: `path` is opened as a serial port, the test has the other end."""

    def __init__(self):
        self.far, self._near = os.openpty()
        tty.setraw(self._near)
        os.set_blocking(self.far, False)
        self.path = os.ttyname(self._near)

    def write(self, data):
        os.write(self.far, data)

    def read(self):
        try:
            return os.read(self.far, 65536)
        except BlockingIOError:
            return b""

    def unplug(self):
        for name in ("far", "_near"):
            descriptor = getattr(self, name)
            if descriptor >= 0:
                os.close(descriptor)
                setattr(self, name, -1)
