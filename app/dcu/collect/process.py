"""What the collector does to its own process: no core dumps, no debugger, memory that is not swapped.

Python copies bytes, so the process is the boundary of the meter keys (docs/adr/0001).

Source: prctl(2) PR_SET_DUMPABLE, mlockall(2).
"""

import asyncio
import ctypes
import logging
import os
import resource
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


async def switch_off(command: Sequence[str]) -> None:
    """Run what switches the device off. Raises OSError: no such command."""
    running = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    log.warning("switching off: %s ended with %d", command[0], await running.wait())
