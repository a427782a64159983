# SPDX-License-Identifier: GPL-2.0-only
"""Confinement of the worker, entered once after all imports: nothing can be opened, connected, started or traced.

Several walls, each of which would do for most attacks: no new descriptors (RLIMIT_NOFILE 0), empty user and network
namespaces where the kernel permits them, no capabilities, no new privileges, and a filter (dcu_gurux.seccomp).
The filter is required; the namespaces are not, because a service manager that forbids them has confined us already.
"""

import ctypes
import os
import resource

from dcu_gurux import seccomp

MEMORY = 256 << 20  # of address space; a fresh worker maps about 35 MiB

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 4, 22, 24, 38
_SECCOMP_MODE_FILTER = 2
_NAMESPACES = {"user": 0x10000000, "network": 0x40000000, "ipc": 0x08000000, "uts": 0x04000000}  # CLONE_NEW*
_CAPABILITY_VERSION_3 = 0x20080522


class NotConfined(Exception):
    """The worker must not run without this wall."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


def enter() -> list[str]:
    """Confine this process for good; return the walls that hold. Raises NotConfined."""
    machine = seccomp.machine()
    if machine is None:
        raise NotConfined(f"no system call filter for {os.uname().machine}: x86_64 and aarch64 have one")
    libc = ctypes.CDLL(None, use_errno=True)
    walls = ["namespaces"] if _leave_namespaces(libc) else []
    _limit()
    _drop_capabilities(libc)
    _prctl(libc, _PR_SET_DUMPABLE, 0)
    _prctl(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _filter(libc, seccomp.program(machine))
    return [*walls, "limits", "capabilities", "not-dumpable", "no-new-privileges", "seccomp"]


def _leave_namespaces(libc: ctypes.CDLL) -> bool:
    flags = 0
    for flag in _NAMESPACES.values():
        flags |= flag
    return bool(libc.unshare(flags) == 0)


def _limit() -> None:
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),  # what is open stays open, nothing is added
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    for capability in range(64):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails beyond the last one, and without privilege: both fine
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise NotConfined(f"capset: {os.strerror(ctypes.get_errno())}")


def _filter(libc: ctypes.CDLL, code: bytes) -> None:
    steps = ctypes.create_string_buffer(code, len(code))
    described = _Program(len(code) // 8, ctypes.cast(steps, ctypes.c_void_p))
    _prctl(libc, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(described))


def _prctl(libc: ctypes.CDLL, option: int, first: int, second: int = 0) -> None:
    arguments = (ctypes.c_ulong(first), ctypes.c_ulong(second), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if libc.prctl(option, *arguments) != 0:
        raise NotConfined(f"prctl {option}: {os.strerror(ctypes.get_errno())}")
