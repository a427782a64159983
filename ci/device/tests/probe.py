"""Runs on the device, inside a service's sandbox: tries what must not and what must work; FILE gets each outcome.

`probe.py FILE [NAME…]`: "done", or the error's name.
"""

import ctypes
import errno
import json
import mmap
import os
import socket
import sys

libc = ctypes.CDLL(None, use_errno=True)
NEW_NAMESPACE = 0x10000000  # CLONE_NEWUSER


def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def read(path):
    return lambda: os.close(os.open(path, os.O_RDONLY))


def write(path):
    def attempt():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        os.unlink(path)

    return attempt


def update(path):
    return lambda: os.close(os.open(path, os.O_WRONLY))


def connect(path):
    def attempt():
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(path)

    return attempt


def opened(family, kind):
    return lambda: socket.socket(family, kind).close()


def multicast():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.sendto(b"x", ("224.0.0.251", 5353))


FORBIDDEN = {
    "the device's identity and key-encryption key": read("/persist/device/identity"),
    "its twin": read("/persist/device.twin/identity"),
    "what else persist holds": lambda: os.listdir("/persist/etc"),
    "where credentials come from": read("/run/credstore/dcu-kek"),
    "updates": lambda: os.listdir("/var/lib/dcu/update"),
    "passwords": read("/etc/shadow"),
    "the disk": read("/dev/vda"),
    "the disk as it is verified": read("/dev/dm-0"),
    "U-Boot's environment": read("/dev/mmcblk0"),
    "the kernel's log": read("/dev/kmsg"),
    "the watchdog": update("/dev/watchdog0"),
    "disarming the power-fail driver": update("/sys/class/misc/lastgasp/armed"),
    "another process": read("/proc/1/status"),
    "the kernel's command line": read("/proc/cmdline"),
    "a setting of the kernel": update("/proc/sys/kernel/panic"),
    "systemd": connect("/run/systemd/private"),
    "the bus": connect("/run/dbus/system_bus_socket"),
    "a program": write("/usr/bin/x"),
    "a setting": write("/etc/x"),
    "persist beside its own": write("/persist/x"),
    "data beside its own": write("/var/lib/dcu/x"),
    "raw packets": opened(socket.AF_PACKET, socket.SOCK_RAW),
    "raw addresses": opened(socket.AF_INET, socket.SOCK_RAW),
    "routes": opened(socket.AF_NETLINK, socket.SOCK_RAW),
    "multicast": multicast,
    "a mount": lambda: call("mount", b"none", b"/tmp", b"tmpfs", 0, None),
    "a namespace": lambda: call("unshare", NEW_NAMESPACE),
    "being root": lambda: os.setuid(0),
    "a real-time priority": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "code that was data": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
}
ALLOWED = {
    "its readings": write("/var/lib/dcu/store/x"),
    "its keys": write("/persist/dcu/x"),
    "their twins": write("/persist/dcu.twin/x"),
    "its credential": lambda: read(os.environ["CREDENTIALS_DIRECTORY"] + "/dcu-kek")(),
    "the mains' line": lambda: os.close(os.open("/dev/lastgasp", os.O_RDWR)),
    "the worker": connect("/run/dcu-gurux.sock"),
    "meters": opened(socket.AF_INET, socket.SOCK_STREAM),
    "meters by IPv6": opened(socket.AF_INET6, socket.SOCK_DGRAM),
    "memory that stays": lambda: call("mlockall", 1),
    "scratch": write("/tmp/x"),  # noqa: S108
}


def tried(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def main():
    file, *names = sys.argv[1:]
    every = {**FORBIDDEN, **ALLOWED}
    found = {name: tried(every[name]) for name in names or every}
    with open(file, "w") as out:
        json.dump({"forbidden": sorted(FORBIDDEN), "found": found}, out)


if __name__ == "__main__":
    main()
