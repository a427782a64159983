# SPDX-License-Identifier: GPL-2.0-only
"""The worker's system call filter: what a running single-threaded interpreter needs, and nothing else.

A classic BPF program over struct seccomp_data (seccomp(2)): another architecture, or x32, kills the process; a call
that is not listed fails with EPERM, which Python turns into an ordinary exception that is answered. Memory is never
made executable once the filter holds.
"""

import errno
import os
import struct
import sys

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]
_NUMBER_AT, _ARCH_AT = 0, 4
_PROTECTION_AT = 16 + 8 * 2 + (4 if sys.byteorder == "big" else 0)  # low half of the third argument of mmap, mprotect

_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # BPF_LD|W|ABS, JMP|JEQ, JGE, JSET, RET
_KILL_PROCESS, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_REFUSE = _ERRNO | errno.EPERM
_PROT_EXEC = 4
_X32 = 0x40000000

# What: the pipes; memory; signals and the request's timer; time and random numbers; leaving.
_CALLS = {
    "x86_64": {
        "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8,
        "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "madvise": 28,
        "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sigaltstack": 131, "setitimer": 38,
        "restart_syscall": 219, "futex": 202, "sched_yield": 24, "getpid": 39,
        "clock_gettime": 228, "gettimeofday": 96, "time": 201, "getrandom": 318, "exit": 60, "exit_group": 231,
    },
    "aarch64": {
        "read": 63, "write": 64, "close": 57, "fstat": 80, "lseek": 62,
        "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214, "mremap": 216, "madvise": 233,
        "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "sigaltstack": 132, "setitimer": 103,
        "restart_syscall": 128, "futex": 98, "sched_yield": 124, "getpid": 172,
        "clock_gettime": 113, "gettimeofday": 169, "getrandom": 278, "exit": 93, "exit_group": 94,
    },
}  # fmt: skip
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_* of <linux/audit.h>
_NEVER_EXECUTABLE = ("mmap", "mprotect")


def machine() -> str | None:
    """The name of this process's architecture, None where there is no filter for it."""
    name = os.uname().machine
    return name if name in _CALLS and sys.maxsize > 1 << 32 else None


def program(name: str) -> bytes:
    """The filter for the architecture `name`, as an array of struct sock_filter."""
    calls = _CALLS[name]
    code = [
        _step(_LOAD, _ARCH_AT),
        _step(_EQUAL, _ARCHITECTURES[name], 1, 0),
        _step(_RETURN, _KILL_PROCESS),
        _step(_LOAD, _NUMBER_AT),
    ]
    if name == "x86_64":
        code += [_step(_AT_LEAST, _X32, 0, 1), _step(_RETURN, _KILL_PROCESS)]
    for call in sorted(set(calls) - set(_NEVER_EXECUTABLE), key=lambda call: calls[call]):
        code += [_step(_EQUAL, calls[call], 0, 1), _step(_RETURN, _ALLOW)]
    for call in _NEVER_EXECUTABLE:
        code += [
            _step(_EQUAL, calls[call], 0, 4),
            _step(_LOAD, _PROTECTION_AT),
            _step(_BITS, _PROT_EXEC, 0, 1),
            _step(_RETURN, _REFUSE),
            _step(_RETURN, _ALLOW),
        ]
    code.append(_step(_RETURN, _REFUSE))
    return b"".join(code)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
