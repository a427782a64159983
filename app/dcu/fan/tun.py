"""A TUN interface of Linux: whole IP packets in and out of user space, without a header of their own.

The interface is made before by whoever may (systemd-networkd's `Kind=tun` with `User=`, `ip tuntap add … user …`), so
that a service attaches to it without CAP_NET_ADMIN.

Source: Linux, Documentation/networking/tuntap.rst.
"""

import asyncio
import fcntl
import os
import re
from struct import Struct
from types import TracebackType
from typing import Self

from dcu.errors import ConfigError, LinkClosed

DEVICE = "/dev/net/tun"
LONGEST = 65_536
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")  # IFNAMSIZ, and no %d that the kernel would fill
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_IFREQ = Struct("16sH22x")


class Tun:
    """One attached interface. Reads and writes whole packets; a full queue of Linux drops, as a network does."""

    def __init__(self, name: str, handle: int) -> None:
        self.name = name
        self._handle = handle

    @classmethod
    def attach(cls, name: str) -> Self:
        """Raises ConfigError: there is none of this name, or it is another's."""
        handle = -1
        try:
            handle = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(handle, _TUNSETIFF, _IFREQ.pack(name.encode(), _IFF_TUN | _IFF_NO_PI))
        except OSError as error:
            if handle >= 0:
                os.close(handle)
            raise ConfigError(
                f"TUN interface {name}: {error.strerror}: it has to be there, and belong to this user (docs/g3.md)"
            ) from None
        return cls(name, handle)

    async def receive(self) -> bytes:
        """The next packet that Linux sends. Raises LinkClosed: the interface is gone."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return os.read(self._handle, LONGEST)
            except BlockingIOError:
                pass
            except OSError as error:
                raise LinkClosed(f"TUN interface {self.name}: {error.strerror}") from None
            ready: asyncio.Future[None] = loop.create_future()
            loop.add_reader(self._handle, _settle, ready)
            try:
                await ready
            finally:
                loop.remove_reader(self._handle)

    def send(self, packet: bytes) -> bool:
        """Give Linux a packet; whether it took it: not while the interface is down or its queue is full."""
        try:
            os.write(self._handle, packet)
        except OSError:
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)


def names_interface(name: str) -> bool:
    """Whether Linux could have an interface of this name: up to 15 letters, digits, `.`, `_` and `-`."""
    return _NAME.fullmatch(name) is not None


def _settle(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
