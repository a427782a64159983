"""The guest's base: Debian packages for arm64, unpacked and configured by mmdebstrap. Nothing of ours is in it yet."""

from pathlib import Path

from device import debian
from device.cache import Run, built, tool

PACKAGES = (
    # init, devices, mounts
    *("systemd", "systemd-sysv", "udev", "kmod", "mount", "e2fsprogs", "util-linux-extra", "libpam-systemd", "dbus"),
    # network and time
    *("iproute2", "nftables", "chrony", "ca-certificates", "tzdata", "netbase"),
    # the application
    *("python3", "libsqlite3-0"),
    # the update
    *("swupdate", "libubootenv-tool", "openssl", "zstd", "zchunk"),
)
NEWER = "swupdate libswupdate0.1"  # the release recipe's version is in the backports
LEFT_OUT = ("man", "doc", "info", "locale", "lintian", "bash-completion", "bug")


def build() -> Path:
    """Return the directory with base.tar."""
    tool("mmdebstrap", "arch-test", "qemu-aarch64-static")
    inputs = [*PACKAGES, NEWER, *LEFT_OUT, debian.state(), "recipe 1"]
    return built("rootfs", inputs, _make)


def _make(home: Path, run: Run) -> None:
    debian.emulation()
    pin = f"Package: {NEWER}\nPin: release n={debian.SUITE}-backports\nPin-Priority: 990\n"
    (home / "pin").write_text(pin)
    run(
        *("mmdebstrap", "--mode=root", "--architectures=arm64", "--variant=essential"),
        *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in LEFT_OUT),
        '--aptopt=APT::Install-Recommends "false"',
        f"--setup-hook=copy-in {home}/pin /etc/apt/preferences.d",
        f"--include={','.join(PACKAGES)}",
        *(debian.SUITE, home / "base.tar", debian.SOURCES),
    )
