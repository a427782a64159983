# SPDX-License-Identifier: GPL-2.0-only
"""Verbs that try to break out, hang, die or make noise: for the tests, present only with `--canaries`.

An attempt that is refused answers with the name of the errno; one that succeeds answers "done".
"""

import ctypes
import errno
import mmap
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

_libc = ctypes.CDLL(None, use_errno=True)  # loaded before the sandbox closes: the attempts below need it


def attempt(arguments: dict[str, Any]) -> str:
    """Try what `arguments["what"]` names."""
    ctypes.set_errno(0)
    try:
        _ATTEMPTS[arguments["what"]]()
    except (OSError, RuntimeError, ValueError) as error:
        return errno.errorcode.get(getattr(error, "errno", None) or 0, str(error))
    return "done"


def noise(_: dict[str, Any]) -> str:
    """Print as gurux-dlms does, through Python and past it."""
    print("noise on stdout")  # noqa: T201
    print("noise on stderr", file=sys.stderr)  # noqa: T201
    sys.stdout.flush()
    for descriptor in (0, 1, 2):
        os.write(descriptor, b"\xff" * 5000)
    return "quiet"


def hang(_: dict[str, Any]) -> NoReturn:
    while True:
        pass


def die(_: dict[str, Any]) -> NoReturn:
    os._exit(9)


def swallow(arguments: dict[str, Any]) -> int:
    """Take memory until there is no more, or `megabytes` are there."""
    held = []
    try:
        for _ in range(arguments["megabytes"]):
            held.append(bytearray(1 << 20))
    except MemoryError:
        pass
    return len(held)


def flood(arguments: dict[str, Any]) -> str:
    return "x" * int(arguments["size"])


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def _executable_memory() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


_ATTEMPTS: dict[str, Callable[[], Any]] = {
    "read a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "write a file": lambda: os.open("/tmp/canary", os.O_WRONLY | os.O_CREAT),  # noqa: S108
    "list a folder": lambda: os.listdir("/"),
    "look at a file": lambda: os.stat("/etc/passwd"),
    "remove a file": lambda: os.unlink("/tmp/canary"),  # noqa: S108
    "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "open a unix socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM),
    "make a pipe": os.pipe,
    "duplicate a descriptor": lambda: os.dup(0),
    "run a program": lambda: subprocess.run(["/bin/true"], check=False),
    "execute": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
    "fork": os.fork,
    "start a thread": lambda: threading.Thread(target=int).start(),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "trace a process": lambda: _call("ptrace", 16, 1, 0, 0),  # PTRACE_ATTACH
    "become privileged": lambda: _call("setuid", 0),
    "leave a namespace": lambda: _call("unshare", 0x10000000),
    "mount": lambda: _call("mount", b"none", b"/", b"tmpfs", 0, 0),
    "map executable memory": _executable_memory,
    "lift a limit": lambda: __import__("resource").setrlimit(7, (64, 64)),  # RLIMIT_NOFILE
}

VERBS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "attempt": attempt,
    "attempts": lambda _: sorted(_ATTEMPTS),
    "noise": noise,
    "hang": hang,
    "die": die,
    "swallow": swallow,
    "flood": flood,
}
