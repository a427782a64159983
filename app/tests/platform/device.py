"""A device in memory: two banks behind a volatile cache, U-Boot's environment and boot logic, SWUpdate's steps.

Power may be cut before any durable step. The environment is saved whole or not at all (two copies, proven on the real
tool in test_bootenv); what was written to a bank and not flushed may or may not be there afterwards. The boot logic
follows layers/meta-grid-dcu-bsp/recipes-bsp/u-boot/files/dcu.env, SWUpdate's order core/stream_interface.c.
"""

from dataclasses import dataclass, field

from dcu.errors import UpdateError
from dcu.platform.bootenv import BOOTLIMIT, NAMES, Environment, Slot, UpdateState, decode
from dcu.platform.update import Phase, RollbackIndex, Updates
from dcu.platform.version import Version

FAILURE_LIMIT = 4
BOOTS = 12  # within which every device has come to rest


class PowerCut(Exception):
    pass


@dataclass
class Bank:
    """parts: what of the image is on the medium, of 2; cached: what would be there after a flush."""

    version: Version
    behaviour: str = "healthy"  # or: panics, unhealthy
    parts: int = 2
    cached: int = 2


@dataclass
class Device:
    cut: int | None = None  # the step before which power goes, counted from here
    keeps_cache: bool = False  # whether what was not flushed happens to be there after a cut
    variables: dict[str, str] = field(default_factory=lambda: Environment(Slot.A).variables())
    banks: dict[Slot, Bank] = field(
        default_factory=lambda: {
            Slot.A: Bank(Version.parse("1.0")),
            Slot.B: Bank(Version.parse("0.9"), parts=0, cached=0),
        }
    )
    copies: list[bytes | None] = field(default_factory=lambda: [b"1.0", b"1.0"])
    steps: int = 0
    running: Slot = Slot.A

    # --- what lasts

    def step(self):
        if self.cut is not None and self.steps >= self.cut:
            self.cut = None
            for bank in self.banks.values():
                bank.parts = bank.cached = bank.cached if self.keeps_cache else bank.parts
            raise PowerCut
        self.steps += 1

    def save(self, **changes):
        self.step()
        self.variables.update(changes)

    # --- BootEnv and SmallFile, as dcu.platform asks for them

    def read(self):
        return decode(self.variables)

    def write(self, changes):
        assert set(changes) <= set(NAMES)
        self.save(**changes)

    @property
    def index(self):
        return RollbackIndex(_Twice(self))

    def updates(self):
        return Updates(self, self.index, self.running, self.banks[self.running].version)

    # --- SWUpdate

    def install(self, version, behaviour, *, flush=True, at_once=True):
        target, oldest = self.updates().target()
        assert version >= oldest
        self.save(ustate=str(UpdateState.IN_PROGRESS.value))
        self.step()
        bank = self.banks[target] = Bank(version, behaviour, parts=0, cached=0)
        for part in (1, 2):
            self.step()
            bank.cached = part
        if flush:
            self.step()
            bank.parts = bank.cached
        switch = {"slot": target.value}
        trial = {"upgrade_available": "1", "bootcount": "0", "boot_failures": "0", "rollback_reason": ""}
        for changes in ({**switch, **trial},) if at_once else (switch, trial):
            self.save(**changes)
        self.save(ustate=str(UpdateState.INSTALLED.value))

    # --- U-Boot

    def boot(self):
        for each in self.banks.values():
            each.parts = each.cached  # an orderly reboot flushes; after a cut there is nothing more in the cache
        now = decode(self.variables)
        first, reason = now.slot, ""
        if now.upgrade_available:
            self.save(bootcount=str(now.bootcount + 1))
            if now.bootcount + 1 > BOOTLIMIT:
                first, reason = now.slot.other, "bootlimit"
        elif now.boot_failures >= FAILURE_LIMIT:
            first, reason = now.slot.other, "boot-failures"
        else:
            self.save(boot_failures=str(now.boot_failures + 1), bootcount="0")
        for bank in (first, first.other):
            if self.banks[bank].parts == 2:
                break
            reason = "signature" if bank is now.slot else reason
        else:
            raise AssertionError("no bank can be booted")
        if bank is not now.slot:
            gave_way = {"ustate": "3"} if now.upgrade_available else {}
            self.save(
                slot=bank.value,
                rollback_reason=reason,
                upgrade_available="0",
                bootcount="0",
                boot_failures="1",
                **gave_way,
            )
        self.running = bank

    # --- Linux, after a boot: what dcu-confirm.service and dcu-health.service do

    def live(self, confirm=Updates.confirm):
        """Return whether the device has come to rest."""
        behaviour = self.banks[self.running].behaviour
        if behaviour == "panics":
            return False
        updates = self.updates()
        if behaviour == "unhealthy" and updates.status().phase is Phase.TRIAL:
            updates.roll_back("health:store")
            return False
        confirm(updates)
        return True

    def come_to_rest(self, confirm=Updates.confirm):
        for _ in range(BOOTS):
            try:
                self.boot()
                if self.live(confirm):
                    return
            except PowerCut:
                pass
        raise AssertionError(f"after {BOOTS} boots it is still restless: {self.variables}")


class _Twice:
    """A file written doubly (dcu.platform.doubly has its own proof): one step a copy."""

    def __init__(self, device):
        self._device = device

    def read(self):
        values = [copy for copy in self._device.copies if copy is not None]
        return max(values, key=lambda text: Version.parse(text.decode())) if values else None

    def write(self, content):
        for number in (1, 0):
            self._device.step()
            self._device.copies[number] = content


def steps_of(story):
    """How many durable steps `story` takes when nothing is cut."""
    device = Device()
    story(device)
    return device.steps


def refused(device):
    """Whether an update is refused now."""
    try:
        device.updates().target()
    except UpdateError:
        return True
    return False
