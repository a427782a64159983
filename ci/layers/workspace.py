"""BitBake as this host runs it: a kas work directory with the upstream layers, an unprivileged user, build directories.

BitBake refuses root; with `--user` it is started as that user, who needs to read the repository and this interpreter.
Nothing here fetches a layer: `kas checkout kas.yml:layers/kas/board-am335x.yml` does (docs/yocto.md).
"""

# ruff: noqa: S603, S607, T201  (a command that runs commands of this host)
import os
import pwd
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from device.paths import BSP, LAYER, ROOT

UPSTREAM = (
    "openembedded-core/meta",
    "meta-openembedded/meta-oe",
    "meta-openembedded/meta-python",
    "meta-openembedded/meta-networking",
    "meta-security/meta-tpm",
    "meta-swupdate",
    "meta-yocto/meta-yocto-bsp",
)
# What BitBake asks for, and what the recipes of the lite gate take from this host: in which package of Debian's
PROGRAMS = {
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "chrpath": "chrpath",
    "cpio": "cpio",
    "diffstat": "diffstat",
    "dtc": "device-tree-compiler",
    "gawk": "gawk",
    "lz4": "lz4",
    "mkimage": "u-boot-tools",
    "pseudo": "pseudo",
    "qemu-system-aarch64": "qemu-system-arm",
    "swupdate": "swupdate",
    "veritysetup": "cryptsetup-bin",
    "zstd": "zstd",
}


class CheckError(Exception):
    """One line, with what to do."""


@dataclass(frozen=True, slots=True)
class Workspace:
    work: Path  # kas work directory
    user: str  # who runs BitBake; empty: whoever runs this
    kernel: Path | None = None  # sources of the release's kernel and U-Boot, where they are at hand
    uboot: Path | None = None
    narrow: bool = False  # yocto-check-layer's world: what ours needs, and no more

    @property
    def upstream(self) -> Path:
        return self.work / "layers" / "upstream"

    def require(self) -> None:
        """Raises CheckError: what is missing, and how to get it."""
        lacking = [each for each in ("bitbake/bin", *UPSTREAM) if not (self.upstream / each).is_dir()]
        if lacking:
            raise CheckError(
                f"the upstream layers are not checked out in {self.upstream} ({', '.join(lacking)}): "
                "kas checkout kas.yml:layers/kas/board-am335x.yml"
            )
        if os.geteuid() == 0 and not self.user:
            raise CheckError("BitBake refuses root: run it as another user, or name one (USER_FOR_BITBAKE=name)")
        locales = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=False).stdout.lower()
        if "en_us.utf8" not in locales:
            raise CheckError("BitBake needs the locale en_US.UTF-8: add it to /etc/locale.gen, run locale-gen")
        if absent := sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)}):
            raise CheckError(f"programs are missing on this host: apt-get install {' '.join(absent)}")

    def build(self, name: str) -> Path:
        """A build directory that belongs to the user."""
        path = self.work / f"check-{name}"
        (path / "conf").mkdir(parents=True, exist_ok=True)
        self.give(path)
        return path

    def give(self, *paths: Path) -> None:
        """Let the user own what BitBake is to write."""
        if not self.user:
            return
        who = pwd.getpwnam(self.user)
        for top in paths:
            for path in (top, *top.rglob("*")):
                os.chown(path, who.pw_uid, who.pw_gid, follow_symlinks=False)

    def reads(self, path: Path) -> None:
        """Raises CheckError: BitBake's user cannot read `path`."""
        command = ["runuser", "-u", self.user, "--"] if self.user else []
        if subprocess.run([*command, "ls", path], capture_output=True, check=False).returncode:
            raise CheckError(
                f"{self.user} cannot read {path}: DCU_OUT names a place for the bench that everybody may read"
            )

    def bblayers(self, build: Path) -> None:
        layers = [str(self.upstream / each) for each in UPSTREAM] + [
            str(LAYER),
            str(BSP),
        ]
        (build / "conf" / "bblayers.conf").write_text(
            'BBPATH = "${TOPDIR}"\nBBFILES = ""\nBBLAYERS = "' + " ".join(layers) + '"\n'
        )

    def bitbake(self, build: Path, *arguments: str, machine: str, path: Path | None = None) -> str:
        """Run bitbake there, show and return what it says. Raises CheckError: it failed, or warned of ours."""
        log = self.run(build, "bitbake", *arguments, machine=machine, path=path)
        if told := re.findall(r"^WARNING: (?:dcu|lastgasp|python3).*", log, re.MULTILINE):
            raise CheckError("warnings of our recipes:\n" + "\n".join(told))
        return log

    def run(self, build: Path, *words: str, machine: str, path: Path | None = None) -> str:
        """Run a program of BitBake's or OpenEmbedded's there, as the user. Raises CheckError."""
        setup = f". {self.upstream}/openembedded-core/oe-init-build-env {build} {self.upstream}/bitbake >/dev/null"
        search = ":".join(filter(None, (str(path or ""), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")))
        environment = {
            "PATH": search,
            "LANG": "en_US.UTF-8",
            "LC_ALL": "en_US.UTF-8",
            "HOME": str(build),
            "MACHINE": machine,
            "BB_ENV_PASSTHROUGH_ADDITIONS": "MACHINE",
        }
        settings = [f"{name}={value}" for name, value in environment.items()]
        command = ["env", "-i", *settings, "bash", "-c", f'{setup} && exec "$@"', "bash", *words]
        if self.user:
            command = ["runuser", "-u", self.user, "--", *command]
        log = ""
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
        ) as running:
            for line in running.stdout or ():
                log += line
                if line.startswith(("ERROR", "INFO: ", "Summary", "NOTE: Tasks Summary", "Parsing of")):
                    print(f"       {line.rstrip()[:300]}", flush=True)
        if running.returncode:
            raise CheckError(f"{' '.join(words)} ({machine}) ended with {running.returncode}:\n{log[-3000:]}")
        return log


def python() -> Path:
    """This interpreter, as another user can start it."""
    return Path(sys.executable)
