"""U-Boot's environment as Linux sees it: the few variables that U-Boot takes from us, through libubootenv's tools.

``fw_printenv NAME…`` answers one ``NAME=value`` line for each name, in that order (``NAME=`` where it is not set);
``fw_setenv -s FILE`` takes the same lines and saves the environment once, into the copy that is not in use: a power cut
leaves all of the old values or all of the new. It exits 0 whatever happened, so that every write is read back.

Source: libubootenv, src/fw_printenv.c and src/uboot_env.c; U-Boot, CONFIG_ENV_WRITEABLE_LIST of our own fragments.
"""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Protocol

from dcu.errors import DecodeError, UpdateError

BOOTLIMIT = 3  # trials before U-Boot falls back; compiled into U-Boot
PATIENCE = 30.0  # seconds for a tool: on a worn card a save takes a second or two
_LARGEST = 64 << 10  # bytes of an answer; the environment itself has 16 KiB
_REASON = 48  # characters of a rollback reason

NAMES = ("slot", "upgrade_available", "bootcount", "ustate", "rollback_reason", "boot_failures")
"""Every variable that Linux may write (the same list is compiled into U-Boot)."""


class Slot(StrEnum):
    """A bank: kernel_a with rootfs_a, or kernel_b with rootfs_b."""

    A = "a"
    B = "b"

    @property
    def other(self) -> "Slot":
        return Slot.B if self is Slot.A else Slot.A


class UpdateState(IntEnum):
    """`ustate`, SWUpdate's own numbers. TESTING: installed, confirmed, and still to be reported to a server."""

    OK = 0
    INSTALLED = 1
    TESTING = 2
    FAILED = 3
    NOT_AVAILABLE = 4
    ERROR = 5
    WAIT = 6
    IN_PROGRESS = 7


@dataclass(frozen=True, slots=True)
class Environment:
    """slot: what U-Boot boots next; upgrade_available: it is on trial; bootcount: trial boots so far;

    rollback_reason: why a bank gave way the last time, "" where none did; boot_failures: of the confirmed bank.
    """

    slot: Slot
    upgrade_available: bool = False
    bootcount: int = 0
    update_state: UpdateState = UpdateState.OK
    rollback_reason: str = ""
    boot_failures: int = 0

    def variables(self) -> dict[str, str]:
        """As they stand in U-Boot's environment; an empty value is a variable that is not set."""
        return {
            "slot": self.slot.value,
            "upgrade_available": str(int(self.upgrade_available)),
            "bootcount": str(self.bootcount),
            "ustate": str(self.update_state.value),
            "rollback_reason": self.rollback_reason,
            "boot_failures": str(self.boot_failures),
        }


class BootEnv(Protocol):
    """Where the environment is read and written."""

    def read(self) -> Environment:
        """Raises UpdateError: it cannot be read, or makes no sense."""
        ...

    def write(self, changes: Mapping[str, str]) -> None:
        """Save `changes` at once, and read them back. Raises UpdateError, ValueError: not one of NAMES."""
        ...


def parse(answer: bytes, names: tuple[str, ...] = NAMES) -> dict[str, str]:
    """Read what `fw_printenv` answered when asked for `names`. Raises DecodeError.

    A value with a line break would pass for another variable: then the lines no longer fit the names.
    """
    if len(answer) > _LARGEST:
        raise DecodeError(f"{len(answer)} bytes are no answer of fw_printenv")
    try:
        lines = answer.decode("ascii").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DecodeError("the environment holds what is not ASCII", error.start) from None
    if len(lines) != len(names):
        raise DecodeError(f"{len(names)} variables were asked for, {len(lines)} lines came")
    values = {}
    for name, text in zip(names, lines, strict=True):
        given, equals, value = text.partition("=")
        if not equals or given != name:
            raise DecodeError(f"a line for {name} was expected, {text[:40]!r} came")
        values[name] = value
    return values


def decode(values: Mapping[str, str]) -> Environment:
    """Make sense of the variables; one that is not set has its default, but `slot`. Raises DecodeError."""
    return Environment(
        slot=_slot(values.get("slot", "")),
        upgrade_available=_number(values, "upgrade_available", 1) == 1,
        bootcount=_number(values, "bootcount", 0xFFFF),
        update_state=UpdateState(_number(values, "ustate", 7)),
        rollback_reason=reason(values.get("rollback_reason", "")),
        boot_failures=_number(values, "boot_failures", 0xFFFF),
    )


def reason(text: str) -> str:
    """`text` as a rollback reason: one short word that neither U-Boot's shell nor a terminal would obey."""
    return re.sub(r"[^a-z0-9:._-]+", "-", text.lower()).strip("-")[:_REASON]


class FwEnv:
    """The environment through `fw_printenv` and `fw_setenv`. `config`: their fw_env.config, None: the system's."""

    def __init__(self, *, printenv: str = "fw_printenv", setenv: str = "fw_setenv", config: str | None = None) -> None:
        options = ("-c", config) if config else ()
        self._print = (printenv, *options)
        self._set = (setenv, *options, "-s", "/dev/stdin")

    def read(self) -> Environment:
        try:
            return decode(self._values(NAMES))
        except DecodeError as error:
            raise UpdateError(f"U-Boot's environment: {error}", "environment") from None

    def write(self, changes: Mapping[str, str]) -> None:
        script = _script(changes)
        _run(self._set, script)
        try:
            saved = self._values(tuple(changes))
        except DecodeError as error:
            raise UpdateError(f"U-Boot's environment: {error}", "environment") from None
        if missed := [name for name, value in changes.items() if saved[name] != value]:
            raise UpdateError(
                f"U-Boot's environment did not take {', '.join(missed)}: check fw_env.config and the disk it names",
                "environment",
            )

    def _values(self, names: tuple[str, ...]) -> dict[str, str]:
        return parse(_run((*self._print, *names), b""), names)


def _script(changes: Mapping[str, str]) -> bytes:
    if unknown := [name for name in changes if name not in NAMES]:
        raise ValueError(f"U-Boot takes {', '.join(NAMES)} from Linux, not {', '.join(unknown)}")
    if any(not value.isascii() or not value.isprintable() for value in changes.values()):
        raise ValueError("a value in U-Boot's environment is printable ASCII")
    return "".join(f"{name}={value}\n" for name, value in changes.items()).encode()


def _run(command: tuple[str, ...], given: bytes) -> bytes:
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=PATIENCE, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise UpdateError(f"{command[0]} did not end within {PATIENCE:g} s", "environment") from None
    except OSError as error:
        raise UpdateError(f"{command[0]}: {error.strerror}: is this the device?", "environment") from None
    # With a damaged environment libubootenv goes on with defaults and says so: what it answers then is not U-Boot's.
    said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
    if done.returncode != 0 or "using default" in said or "Error" in said:
        raise UpdateError(f"{command[0]}: {said or f'exit code {done.returncode}'}", "environment")
    return done.stdout


def _slot(text: str) -> Slot:
    try:
        return Slot(text)
    except ValueError:
        raise DecodeError(f"slot is {text[:20]!r}, not a or b") from None


def _number(values: Mapping[str, str], name: str, largest: int) -> int:
    text = values.get(name, "") or "0"
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or int(text) > largest:
        raise DecodeError(f"{name} is {text[:20]!r}, not a number up to {largest}")
    return int(text)
