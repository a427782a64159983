"""The signed update file of a bank: what SWUpdate installs on the device (packed by `ota`, as a release is)."""

from pathlib import Path

from device import bank, keys, system
from device.cache import BuildError, Run, built
from device.paths import SWUPDATE_FILES


def build(version: str, bank_home: Path) -> Path:
    """Return the .swu that installs this bank as `version`."""
    from ota.errors import OtaError
    from ota.packing import Software, pack
    from ota.signing import Signer

    signing = keys.update()

    def make(home: Path, _: Run) -> None:
        software = Software(version, bank_home / "kernel.fit", bank_home / "rootfs.img")
        try:
            pack(software, home / "update.swu", Signer(str(signing / "update.key"), signing / "update.crt"))
        except OtaError as error:
            raise BuildError(str(error)) from None

    inputs = [version, bank_home.name, signing / "update.crt", SWUPDATE_FILES, "recipe 1"]
    return built("swu", inputs, make) / "update.swu"


def release(version: str, *, arguments: str = "", extra: dict[str, str] | None = None) -> Path:
    """Return the .swu of a system of this version; `arguments` and `extra` spoil it, for tests."""
    return build(version, bank.build(system.build(version, extra), arguments=arguments))
