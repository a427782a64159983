"""Debian packages of several releases and two architectures, by name, unpacked into a private root.

Nothing is installed. The mirror is the one that this host's own apt uses, with the suite exchanged; apt's state is
private, under the bench's output. A root is made of packages with all that they depend on (a tool chain that runs by
chroot) and of single ones without (headers of a foreign architecture).
"""

# ruff: noqa: S603, S607  (it runs apt and dpkg of this host: that is its work)

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.cache import BuildError, Run, built, tell, tool
from device.debian import KEYRING
from device.paths import OUT


@dataclass(frozen=True, slots=True)
class Archive:
    """One release with its backports, for amd64 and arm64."""

    suites: tuple[str, ...]

    @property
    def home(self) -> Path:
        return OUT / "apt-lastgasp" / self.suites[0]

    def prepare(self) -> None:
        """Fetch the package lists unless they are there."""
        tool("apt-get", "apt-cache", "dpkg-deb")
        if any((self.home / "lists").glob("*_InRelease")):
            return
        for part in ("lists/partial", "archives/partial", "none/partial"):
            (self.home / part).mkdir(parents=True, exist_ok=True)
        (self.home / "status").touch()
        uri = _mirror()
        lines = [f"deb [signed-by={KEYRING}] {uri} {suite} main\n" for suite in self.suites]
        (self.home / "sources.list").write_text("".join(lines))
        (self.home / "apt.conf").write_text(
            f'Dir::Etc::sourcelist "{self.home}/sources.list"; Dir::Etc::sourceparts "/dev/null";\n'
            f'Dir::Etc::preferencesparts "/dev/null"; Dir::State::lists "{self.home}/lists";\n'
            f'Dir::State::status "{self.home}/status"; Dir::Cache "{self.home}"; Dir::Cache::archives "archives";\n'
            'APT::Architecture "amd64"; APT::Architectures { "amd64"; "arm64"; };\n'
            'APT::Sandbox::User "root"; Acquire::Languages "none"; APT::Install-Recommends "false";\n'
        )
        tell(f"apt: fetching the lists of {' and '.join(self.suites)}")
        self._apt("apt-get", "update", "--error-on=any")

    def depends(self, package: str) -> list[str]:
        """Return the direct dependencies of `package`, in its newest version."""
        shown = self._apt("apt-cache", "show", "--no-all-versions", package)
        found = re.search(r"^Depends: (.*)$", shown, re.MULTILINE)
        return re.findall(r"(?:^|, )([^ ,]+)", found[1]) if found else []

    def names(self, pattern: str) -> list[str]:
        """Return the packages whose names match."""
        return sorted(set(re.findall(r"^(\S+) - ", self._apt("apt-cache", "search", "--names-only", pattern), re.M)))

    def debs(self, whole: Sequence[str], single: Sequence[str]) -> list[Path]:
        """Download `whole` with all that they need, and `single` without; return the files."""
        self.prepare()
        install = ["apt-get", "-y", "--download-only", "install", *whole]
        wanted = _files(self._apt("apt-get", "download", "--print-uris", *single))
        if whole:  # asked with an empty cache, for apt leaves out what it has
            wanted = _files(self._apt(*install, "--print-uris", "-o", "Dir::Cache::archives=none")) + wanted
        archives = self.home / "archives"
        if not all((archives / name).exists() for name in wanted):
            tell(f"apt: fetching {len(wanted)} packages of {self.suites[0]}")
            if whole:
                self._apt(*install)
            self._apt("apt-get", "download", *single, cwd=archives)
        return [archives / name for name in wanted]

    def root(self, whole: Sequence[str], single: Sequence[str], over: Sequence[Path] = ()) -> Path:
        """Return the root directory that these packages make, with the files of `over` above them."""
        debs = [*self.debs(whole, single), *over]
        names = sorted(each.name for each in debs)
        return built(f"lastgasp-{self.suites[0]}", [*names, "recipe 1"], lambda home, run: _unpack(home, run, debs))

    def _apt(self, *command: str, cwd: Path | None = None) -> str:
        environment = {**os.environ, "APT_CONFIG": str(self.home / "apt.conf"), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)
        if done.returncode:
            raise BuildError(f"{' '.join(command)[:200]}: {done.stderr[-1500:]}")
        return done.stdout


def enter(root: Path, *command: str) -> list[str]:
    """Return the command that runs `command` inside `root`, as root or as anybody."""
    clean = "/usr/bin/env -i PATH=/usr/bin:/bin LC_ALL=C HOME=/tmp"
    inside = f'mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" && exec chroot "$0" {clean} "$@"'
    user = [] if os.getuid() == 0 else ["--map-root-user"]
    return ["unshare", "--mount", *user, "sh", "-ec", inside, str(root), *command]


def _unpack(home: Path, run: Run, debs: Sequence[Path]) -> None:
    # Merged /usr before anything is unpacked: packages of bookworm still have files in /bin and /lib.
    for name in ("bin", "sbin", "lib", "lib64"):
        (home / "usr" / name).mkdir(parents=True)
        (home / name).symlink_to(f"usr/{name}")
    for name in ("dev", "tmp", "proc"):
        (home / name).mkdir()
    for deb in debs:
        tar = f'dpkg-deb --fsys-tarfile "{deb}" | tar -x --keep-directory-symlink --no-same-owner -C "{home}"'
        run("sh", "-ec", tar)
    (home / "usr/bin/awk").symlink_to("mawk")  # no maintainer script ran


def _mirror() -> str:
    """Return where this host's apt finds Debian itself."""
    form = "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)"
    done = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages"], capture_output=True, text=True
    )
    for line in done.stdout.splitlines():
        if line.startswith("Debian|Debian|main|"):
            return line.rpartition("|")[2]
    raise BuildError("this host's apt knows no Debian archive with its lists fetched; run `apt-get update` first")


def _files(uris: str) -> list[str]:
    return re.findall(r"^'\S+' (\S+\.deb) ", uris, re.MULTILINE)
