"""The signed update file of a bank: what SWUpdate installs on the device (packed by `ota`, as a release is)."""

from pathlib import Path
from typing import Any

from device import bank, keys, system
from device.cache import BuildError, built
from device.paths import SWUPDATE_FILES


def build(version: str, bank_home: Path) -> Path:
    """Return the .swu that installs this bank as `version`."""
    inputs = [version, bank_home.name, keys.update() / "update.crt", SWUPDATE_FILES, "recipe 1"]
    return built("swu", inputs, lambda home, _: _release(home, version, bank_home)) / "update.swu"


def _release(home: Path, version: str, bank_home: Path) -> None:
    packed(home / "update.swu", version, bank_home)


def packed(
    out: Path, version: str, bank_home: Path, *, signing: Path | None = None, rootfs: Path | None = None, **how: Any
) -> tuple[Path, ...]:
    """Pack the .swu of this bank: as it is released, or in other ways for tests; return a delta's files of chunks.

    signing: another folder with update.key and update.crt; rootfs: another image; the rest goes to `ota` (Software's
    board and hardware, pack's key, template and chunks).
    """
    from ota.errors import OtaError
    from ota.packing import Software, pack
    from ota.signing import Signer

    folder = signing or keys.update()
    options = {name: how.pop(name) for name in ("key", "template", "chunks") if name in how}
    software = Software(version, bank_home / "kernel.fit", rootfs or bank_home / "rootfs.img", **how)
    try:
        return pack(software, out, Signer(str(folder / "update.key"), folder / "update.crt"), **options)
    except OtaError as error:
        raise BuildError(str(error)) from None


def release(version: str, *, arguments: str = "", extra: dict[str, str] | None = None) -> Path:
    """Return the .swu of a system of this version; `arguments` and `extra` spoil it, for tests."""
    return build(version, bank_of(version, arguments=arguments, extra=extra))


def bank_of(version: str, *, arguments: str = "", extra: dict[str, str] | None = None) -> Path:
    """Return the directory with the bank of a system of this version."""
    return bank.build(system.build(version, extra), arguments=arguments)
