"""The guest's root: Debian's base, the payload of the layers (the files that BitBake installs, too), the application.

Where a file of the payload goes is told by its kind (PLACES); what a unit is enabled by stands in its own [Install].
The outcome is a squashfs, byte for byte the same from the same inputs.
"""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from device import application, kernel, keys, rootfs
from device.cache import Run, built, content, tool
from device.paths import BANK_FILES, BASE_FILES, DCU_FILES, MODULE_FILES, ROOT, SWUPDATE_FILES, UBOOT_FILES

GUEST = ROOT / "ci" / "device" / "guest"  # what only the bench has
UNITS = ("service", "socket", "timer", "target", "mount", "automount", "path")
VERSION = "1.0.0"  # of the bench's image; updates of the tests are newer
SYSTEMD = "usr/lib/systemd"
# The first pattern that fits tells the place; a place that ends in / keeps the name. What fits none is not for the root
PLACES: tuple[tuple[str, str], ...] = (
    ("dev-*", ""),  # development images only
    ("serial-autologin.conf", f"{SYSTEMD}/system/serial-getty@.service.d/"),
    ("bench-line.conf", f"{SYSTEMD}/system/dcu-collector.service.d/"),
    ("10-hardened.conf", f"{SYSTEMD}/system/dcu-.service.d/"),
    ("10-dcu-coredump.conf", f"{SYSTEMD}/coredump.conf.d/"),
    ("10-dcu-journald.conf", f"{SYSTEMD}/journald.conf.d/"),
    ("10-dcu-watchdog.conf", f"{SYSTEMD}/system.conf.d/"),
    ("90-dcu-sysctl.conf", "usr/lib/sysctl.d/90-dcu.conf"),
    ("dcu-sysusers.conf", "usr/lib/sysusers.d/dcu.conf"),
    ("dcu-tmpfiles.conf", "usr/lib/tmpfiles.d/dcu.conf"),
    ("dcu-persist.conf", "usr/lib/dcu/"),
    ("bench-street", "usr/bin/"),
    ("bench-line", "usr/bin/"),
    ("check-disk", "usr/lib/dcu/"),
    ("on-trial", "usr/lib/dcu/"),
    ("collector-failed", "usr/lib/dcu/"),
    ("update-allowed", "usr/lib/dcu/"),
    ("nftables.conf", "etc/"),
    ("fw_env.config", "etc/"),
    ("hwrevision", "etc/"),
    ("swupdate.cfg", "etc/"),
    ("collector.toml", "usr/share/dcu/"),
    ("*.preset", f"{SYSTEMD}/system-preset/"),
    ("*.network", f"{SYSTEMD}/network/"),
    ("*.rules", "usr/lib/udev/rules.d/"),
    *((f"*.{kind}", f"{SYSTEMD}/system/") for kind in UNITS),
)
EXPLAINED = tuple(ROOT / "docs" / name for name in ("collector.toml", "gateway.toml"))  # configurations, key by key
SORTED = BANK_FILES / "rootfs.sort"
# As BitBake's (dcu-image.inc), without times. No fragments: a small file that changes takes no other's block with it
SQUASH = (
    *("-comp", "zstd", "-Xcompression-level", "15", "-no-exports", "-no-fragments", "-sort", str(SORTED)),
    *("-noappend", "-no-progress", "-all-time", "0", "-mkfs-time", "0"),
)
SWITCHED_OFF = ("swupdate.service", "swupdate.socket", "swupdate-progress.service", "swupdate-usb@.service")
REMOVED = ("var/lib/apt/lists", "var/cache", "var/log", "usr/share/zoneinfo/right", "usr/share/zoneinfo/posix", "boot")


def build(version: str = VERSION, extra: Mapping[str, str] | None = None) -> Path:
    """Return rootfs.squashfs of this version; `extra` are further files (path: text) for tests of bad updates."""
    tool("mksquashfs")
    base, kernel_home, module = rootfs.build(), kernel.build(), kernel.lastgasp()
    parts = application.build()
    more = dict(extra or {})
    inputs = [
        base.name,
        *(part.parent.name for part in parts),
        kernel_home.name,
        module.name,
        version,
        repr(sorted(more.items())),
        repr(PLACES),
        SORTED,
        "recipe 3",
    ]
    authority = keys.update() / "update-ca.crt"
    inputs += [authority, *EXPLAINED]
    inputs += [content([path]) + str(target) for path, target in payload()]

    def make(home: Path, run: Run) -> None:
        root = home / "root"
        root.mkdir()
        run("tar", "-xf", base / "base.tar", "-C", root)
        for part in parts:
            run("cp", "-a", f"{part}/.", f"{root}/")
        for each in (kernel_home, module):
            run("cp", "-a", f"{each}/modules/lib/modules", root / "usr/lib/")
        run("find", root / "usr/lib/modules", "-maxdepth", "2", "-type", "l", "-delete")  # to where they were built
        for path, target in payload():
            install(path, root / target)
        for page in EXPLAINED:
            install(page, root / "usr/share/doc/dcu" / page.name)
        install(authority, root / "usr/share/dcu/update-ca.crt")
        for name, text in more.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        _configure(root, run, version)
        run("mksquashfs", root, home / "rootfs.squashfs", *SQUASH)
        run("rm", "-rf", root)

    return built("system", inputs, make) / "rootfs.squashfs"


def payload() -> Iterator[tuple[Path, Path]]:
    """Yield every file of the payload with its place in the root."""
    for folder in (DCU_FILES, BASE_FILES, SWUPDATE_FILES, UBOOT_FILES, MODULE_FILES, GUEST):
        for path in sorted(folder.glob("*")):
            place = next((place for pattern, place in PLACES if path.match(pattern)), "")
            if place:
                yield path, Path(place + path.name if place.endswith("/") else place)


def install(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    target.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _configure(root: Path, run: Run, version: str) -> None:
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("dcu\n")
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/os-release").unlink(missing_ok=True)
    (root / "etc/os-release").write_text(
        f'ID=grid-dcu\nNAME="Grid DCU"\nVERSION_ID="{version}"\nPRETTY_NAME="Grid DCU {version} (bench)"\n'
    )
    (root / "etc/issue").write_text("Grid DCU: bench image\n")
    chroot = ("chroot", root)
    ours = [f"/{program.packages / program.package}" for program in application.PROGRAMS]
    run(*chroot, "systemd-sysusers")
    run("find", root, "-xdev", "-type", "f", "-perm", "/6000", "-exec", "chmod", "ug-s", "{}", "+")  # nobody logs in
    run(*chroot, "systemctl", "preset-all")
    run(*chroot, "systemctl", "mask", *SWITCHED_OFF)
    run(*chroot, "depmod", (root / "usr/lib/modules").iterdir().__next__().name)
    run(*chroot, "python3", "-m", "compileall", "-q", "-j2", *ours)
    for name in REMOVED:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True)
    for name in ("persist", "etc/nftables.d", "etc/dcu"):
        (root / name).mkdir(exist_ok=True)
