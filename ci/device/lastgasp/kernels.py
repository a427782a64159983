"""The kernels that the module builds for.

Of every x.y that Debian's oldstable, stable and stable's backports carry, the newest that both architectures have.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.cache import BuildError, Run, built
from device.lastgasp.archive import Archive

BOOKWORM = Archive(("bookworm",))
TRIXIE = Archive(("trixie", "trixie-backports"))
SID = Archive(("sid",))

GENERATIONS = {"6.1.": BOOKWORM, "6.12.": TRIXIE, "7.": TRIXIE}  # what a release begins with
ONLY = "LASTGASP_KERNELS"  # in the environment: some of them

TOOLS = (
    *("bash", "coreutils", "dash", "diffutils", "file", "findutils", "grep", "mawk", "sed", "tar"),
    *("gcc", "gcc-aarch64-linux-gnu", "libc6-dev", "libc6-dev-arm64-cross", "make", "perl", "python3", "sparse"),
    *("device-tree-compiler", "dt-schema"),
)
FLAVOURS = {"amd64": "x86", "arm64": "arm64", "cloud-arm64": "arm64"}  # QEMU runs the cloud's: small, PL061 built in


@dataclass(frozen=True, slots=True)
class Kernel:
    archive: Archive
    release: str  # as in 6.12.107+deb13
    root: Path  # where its headers and the tools to build against them are unpacked

    def headers(self, flavour: str) -> str:
        return f"/usr/src/linux-headers-{self.release}-{flavour}"

    def image(self) -> Path:
        """Return the kernel image that QEMU runs."""
        release = re.escape(self.release)  # since 7.0 linux-binary has the image, and linux-image nothing
        packages = self.archive.names(
            f"^linux-(image-{release}-cloud-arm64-unsigned|binary-unsigned-{release}-cloud-arm64)$"
        )
        if not packages:
            raise BuildError(f"no image of Linux {self.release} for QEMU")
        (deb,) = self.archive.debs((), [f"{packages[0]}:arm64"])
        home = built(
            f"lastgasp-image-{_generation(self.release)}", [deb.name], lambda home, run: _image(home, run, deb)
        )
        return home / "vmlinuz"


def wanted() -> tuple[str, ...]:
    """What the releases begin with that are asked for: all, unless the environment names some (CI: one)."""
    named = tuple(os.environ.get(ONLY, "").split())
    if wrong := set(named) - set(GENERATIONS):
        raise BuildError(f"{ONLY}: {', '.join(wrong)}: allowed are {', '.join(GENERATIONS)}")
    return named or tuple(GENERATIONS)


def kernels() -> list[Kernel]:
    archives = {GENERATIONS[begin] for begin in wanted()}
    SID.prepare()
    sparse = SID.debs((), ["sparse:amd64"])  # no released one reads the headers of 7.x
    found = _kernels(BOOKWORM) if BOOKWORM in archives else []
    return [*found, *_kernels(TRIXIE, sparse)] if TRIXIE in archives else found


def _kernels(archive: Archive, newer: Sequence[Path] = ()) -> list[Kernel]:
    archive.prepare()
    releases = _newest(archive.names("^linux-headers-[0-9].*-amd64$"), archive.names("^linux-headers-[0-9].*-arm64$"))
    releases = [each for each in releases if each.startswith(wanted())]
    whole, single = list(TOOLS), []
    for release in releases:
        single.append(f"linux-headers-{release}-common")
        single += [f"linux-headers-{release}-{flavour}:{flavour[-5:]}" for flavour in FLAVOURS]
        needs = archive.depends(f"linux-headers-{release}-amd64")
        whole += [each for each in needs if each.startswith("linux-kbuild-")]
    root = archive.root(whole, single, newer)
    return [Kernel(archive, release, root) for release in releases]


def _newest(*names: list[str]) -> list[str]:
    """Return the newest release of each generation that both architectures have."""
    found = [
        {each[1] for name in some if (each := re.match(r"linux-headers-([^-]+(?:-\d+)?)-a", name))} for some in names
    ]
    newest: dict[str, str] = {}
    for release in sorted(set.intersection(*found), key=_version):
        newest[_generation(release)] = release
    return list(newest.values())


def _version(release: str) -> list[int]:
    return [int(each) for each in re.findall(r"\d+", release)]


def _generation(release: str) -> str:
    return ".".join(release.split(".")[:2])


def _image(home: Path, run: Run, deb: Path) -> None:
    unpack = f'dpkg-deb --fsys-tarfile "{deb}" | tar -xO --wildcards "*/vmlinuz*" > "{home}/vmlinuz"'
    run("sh", "-ec", unpack)
