"""Software updates as a state machine over U-Boot's environment: what state the device is in, and what may happen next.

::

    confirmed ──install──▶ installed ──reboot──▶ trial ──confirm──▶ confirmed (the other bank)
        ▲                                         │ unhealthy: we write the other slot and the reason
        └── rolled back ◀──reboot── rolling back ◀┘ hung, panicked: U-Boot does, after BOOTLIMIT trial boots

Every arrow is one save of the environment, which takes place whole or not at all; so a power cut leaves the state
before or the state after, and U-Boot boots a complete bank in both. The rollback index (the oldest version that may be
installed) is raised after a confirm and never before, else a trial that fails could not be followed by its repetition.

Source: SWUpdate, include/state.h and core/stream_interface.c (who writes `ustate` when); U-Boot, doc/api/bootcount.rst.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from dcu.errors import DecodeError, StoreError, UpdateError
from dcu.platform.bootenv import BOOTLIMIT, BootEnv, Environment, Slot, UpdateState, reason
from dcu.platform.version import Version


class Phase(StrEnum):
    """Where the device stands; `why` in Status says more."""

    CONFIRMED = "confirmed"
    INSTALLING = "installing"
    INSTALLED = "installed"
    TRIAL = "trial"
    ROLLING_BACK = "rolling back"
    ROLLED_BACK = "rolled back"
    FAILED = "install failed"


class SmallFile(Protocol):
    """Where the rollback index is kept (dcu.platform.doubly.Doubly)."""

    def read(self) -> bytes | None: ...

    def write(self, content: bytes) -> None: ...


@dataclass(frozen=True, slots=True)
class Status:
    """running: the bank we run from; index: the oldest version that may be installed, None where nobody knows yet."""

    phase: Phase
    running: Slot
    version: Version
    index: Version | None
    environment: Environment
    why: str


class RollbackIndex:
    """The oldest version that may be installed. It only rises."""

    def __init__(self, file: SmallFile) -> None:
        self._file = file

    def read(self) -> Version | None:
        """None: never written, or lost; then the running version counts until the next confirm writes it anew."""
        try:
            content = self._file.read()
            return None if content is None else Version.parse(content.decode("ascii"))
        except (StoreError, DecodeError, UnicodeDecodeError):
            return None

    def raise_to(self, version: Version) -> None:
        """Durable when this returns; nothing is written where the index is there already. Raises StoreError."""
        present = self.read()
        if present is None or version > present:
            self._file.write(str(version).encode())


def phase_of(environment: Environment, running: Slot) -> Phase:
    """What the environment means to the bank we run from."""
    here = environment.slot is running
    if environment.upgrade_available:
        return Phase.TRIAL if here else Phase.INSTALLED
    if not here:
        return Phase.ROLLING_BACK
    if environment.update_state is UpdateState.IN_PROGRESS:
        return Phase.INSTALLING
    if environment.rollback_reason:
        return Phase.ROLLED_BACK
    return Phase.FAILED if environment.update_state is UpdateState.FAILED else Phase.CONFIRMED


def confirmation(*, report: bool) -> dict[str, str]:
    """What is saved to confirm a trial. report: a server waits to hear of it: SWUpdate tells it, then clears it."""
    state = UpdateState.TESTING if report else UpdateState.OK
    return {
        "upgrade_available": "0",
        "bootcount": "0",
        "boot_failures": "0",
        "rollback_reason": "",
        "ustate": str(state.value),
    }


def rollback(running: Slot, why: str) -> dict[str, str]:
    """What is saved to leave `running` for the other bank at the next boot."""
    return {
        "slot": running.other.value,
        "upgrade_available": "0",
        "bootcount": "0",
        "boot_failures": "0",
        "rollback_reason": reason(why) or "unknown",
        "ustate": str(UpdateState.FAILED.value),
    }


class Updates:
    """The device's own side of an update. What writes banks is SWUpdate (dcu.platform.swupdate)."""

    def __init__(
        self,
        bootenv: BootEnv,
        index: RollbackIndex,
        running: Slot,
        version: Version,
        writing: Callable[[], bool] = lambda: False,
    ) -> None:
        """writing: whether an installation is at work now; one that has begun and is not was cut off."""
        self.running = running
        self.version = version
        self._bootenv = bootenv
        self._index = index
        self._writing = writing

    def status(self) -> Status:
        """Raises UpdateError: U-Boot's environment cannot be read."""
        environment = self._bootenv.read()
        phase = self._phase(environment)
        index = self._index.read()
        return Status(phase, self.running, self.version, index, environment, _why(phase, environment, self.running))

    def _phase(self, environment: Environment) -> Phase:
        phase = phase_of(environment, self.running)
        return Phase.FAILED if phase is Phase.INSTALLING and not self._writing() else phase

    def target(self) -> tuple[Slot, Version]:
        """Return the bank that an update goes to and the oldest version that it may have.

        Raises UpdateError: not during a trial, whose other bank is the one to fall back to, nor before a reboot.
        """
        status = self.status()
        if status.phase in (Phase.TRIAL, Phase.INSTALLED, Phase.ROLLING_BACK):
            raise UpdateError(f"no update now: {status.why}", "state")
        return self.running.other, max(self.version, status.index or self.version)

    def admit(self, offered: Version) -> None:
        """Raises UpdateError when `offered` is older than what was confirmed here."""
        _, oldest = self.target()
        if offered < oldest:
            raise UpdateError(
                f"version {offered} is older than {oldest}, which was confirmed on this device: to go back on purpose, "
                "release the old software again under a higher version",
                "version",
            )

    def confirm(self, *, report: bool = False) -> bool:
        """End a trial for good; return whether there was one. Raises UpdateError, StoreError.

        On a confirmed bank it says that this boot went well: U-Boot's count of failed boots is cleared, an installation
        that a power cut ended is marked as failed, and the index is raised where a power cut kept the confirm from it.
        report: a server waits to hear of the outcome.
        """
        environment = self._bootenv.read()
        phase = self._phase(environment)
        if phase in (Phase.INSTALLED, Phase.ROLLING_BACK):
            return False
        changes = confirmation(report=report) if phase is Phase.TRIAL else _tidied(environment, phase)
        if changes:
            self._bootenv.write(changes)
        self._index.raise_to(self.version)
        return phase is Phase.TRIAL

    def roll_back(self, why: str) -> None:
        """Have the next boot go to the other bank, for `why`. Raises UpdateError: no trial."""
        phase = phase_of(self._bootenv.read(), self.running)
        if phase is not Phase.TRIAL:
            raise UpdateError(f"nothing to roll back: the running bank is {phase}, not on trial", "state")
        self._bootenv.write(rollback(self.running, why))


def _tidied(environment: Environment, phase: Phase) -> dict[str, str]:
    changes = {"boot_failures": "0"} if environment.boot_failures else {}
    if phase is Phase.FAILED and environment.update_state is not UpdateState.FAILED:
        changes["ustate"] = str(UpdateState.FAILED.value)
    return changes


def _why(phase: Phase, environment: Environment, running: Slot) -> str:
    other = running.other
    match phase:
        case Phase.TRIAL:
            trial = f"boot {environment.bootcount} of {BOOTLIMIT}"
            return f"bank {running} is on trial ({trial}): it confirms itself or gives way"
        case Phase.INSTALLED:
            return f"bank {other} holds an update that is tried at the next boot: reboot"
        case Phase.ROLLING_BACK:
            reason_given = environment.rollback_reason or "for no reason given"
            return f"bank {running} gives way to bank {other} at the next boot: {reason_given}"
        case Phase.ROLLED_BACK:
            return f"bank {other} gave way: {environment.rollback_reason}"
        case Phase.INSTALLING:
            return f"bank {other} is being written"
        case Phase.FAILED if environment.update_state is UpdateState.IN_PROGRESS:
            return f"the installation into bank {other} was cut off: nothing was switched: install again"
        case Phase.FAILED:
            return f"the last installation into bank {other} failed or was cut off: nothing was switched: install again"
        case Phase.CONFIRMED:
            return f"bank {running} is confirmed"


def running_slot(cmdline: str) -> Slot:
    """The bank that the kernel was started from, by `dcu.slot=` of its command line. Raises DecodeError."""
    named = [word.removeprefix("dcu.slot=") for word in cmdline.split() if word.startswith("dcu.slot=")]
    if len(named) != 1 or named[0] not in (Slot.A, Slot.B):
        raise DecodeError("the kernel's command line does not say dcu.slot=a or dcu.slot=b: is this the device?")
    return Slot(named[0])


def image_version(os_release: str) -> Version:
    """The version of the running image: `IMAGE_VERSION=` of os-release(5), else `VERSION_ID=`. Raises DecodeError."""
    values: Mapping[str, str] = dict(
        line.split("=", 1) for line in os_release.splitlines() if "=" in line and not line.startswith("#")
    )
    text = values.get("IMAGE_VERSION") or values.get("VERSION_ID") or ""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    if not text:
        raise DecodeError("os-release has neither IMAGE_VERSION nor VERSION_ID: is this the device?")
    return Version.parse(text)
