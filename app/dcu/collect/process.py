"""What the collector does to its own process: no core dumps, no debugger, memory that is not swapped; and systemd.

Python copies bytes, so the process is the boundary of the meter keys (docs/adr/0001).

Source: prctl(2) PR_SET_DUMPABLE, mlockall(2), sd_notify(3).
"""

import asyncio
import ctypes
import logging
import os
import resource
import socket
from collections.abc import Sequence

PR_SET_DUMPABLE = 4
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
DESCRIPTORS = 4096  # a connection a meter, and the store's files

log = logging.getLogger(__name__)


def harden() -> list[str]:
    """Close what would show the keys; return what could not be done, each as a line to log."""
    failed: list[str] = []
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (OSError, ValueError) as error:
        failed.append(f"core dumps are not switched off: {error}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        failed.append(f"the process can be dumped: {os.strerror(ctypes.get_errno())}")
    if reason := _lock_memory(libc):
        failed.append(f"memory is not locked: {reason}: keys may reach swap, if there is any")
    return failed


def _lock_memory(libc: ctypes.CDLL) -> str:
    """Lock what is touched; a limit that is too small would make every later allocation fail, so look first."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft != resource.RLIM_INFINITY:
        return "RLIMIT_MEMLOCK is limited (LimitMEMLOCK=infinity in the unit)"
    if libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0:
        return os.strerror(ctypes.get_errno())
    return ""


def raise_descriptor_limit() -> None:
    """A connection to each meter may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def notify(state: str) -> None:
    """Tell systemd, where it listens: READY=1, STOPPING=1, WATCHDOG=1."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.sendto(state.encode(), address)
    except OSError as error:
        log.warning("systemd was not told %s: %s", state, error)


async def switch_off(command: Sequence[str]) -> None:
    """Run what switches the device off. Raises OSError: no such command."""
    running = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    log.warning("switching off: %s ended with %d", command[0], await running.wait())


def watchdog_seconds() -> float | None:
    """How often systemd wants to hear from us, or None where it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    wanted = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) and wanted else None
