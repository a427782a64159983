"""Debian's packages for the bench: trixie and its backports, from the mirror that this host's own apt uses.

Nothing here names a mirror: the host's apt is asked (`apt-get indextargets`) and the suite is exchanged. apt's state
for the guest (lists, downloads) is private, under out/device/apt. The lists stay as first fetched, so that the
same tree builds the same device, until `refresh` is asked for or the mirror no longer has what they name.
"""

# ruff: noqa: S603, S607  (it runs commands of this host: that is its work)
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from device.cache import BuildError, content, tell, tool
from device.paths import OUT

SUITE = "trixie"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
HOME = OUT / "apt"
SOURCES = HOME / "etc" / "sources.list"


def prepare(*, refresh: bool = False) -> None:
    """Fetch the package lists unless they are there."""
    tool("apt-get", "apt-cache", "dpkg-deb")
    if not refresh and _indexes():
        return
    if not KEYRING.exists():
        raise BuildError("Debian's archive keys are missing on this host: `make device-deps` installs them")
    for part in ("etc/apt.conf.d", "etc/preferences.d", "lists/partial", "cache/archives/partial", "downloads"):
        (HOME / part).mkdir(parents=True, exist_ok=True)
    (HOME / "status").touch()
    SOURCES.write_text("".join(f"{line}\n" for line in _source_lines()))
    (HOME / "apt.conf").write_text(
        f'Dir::Etc "{HOME}/etc"; Dir::Etc::sourceparts "/dev/null"; Dir::State::lists "{HOME}/lists";\n'
        f'Dir::Cache "{HOME}/cache"; Dir::State::status "{HOME}/status"; APT::Sandbox::User "root";\n'
        'APT::Architecture "arm64"; APT::Architectures { "arm64"; }; Acquire::Languages "none";\n'
    )
    tell(f"apt: fetching the lists of {SUITE}")
    done = _apt("apt-get", "update", "--error-on=any")
    if done.returncode:
        shutil.rmtree(HOME / "lists")
        raise BuildError(f"this host's Debian mirror does not give {SUITE}:\n{done.stderr[-2000:]}")


def state() -> str:
    """Return what identifies the package lists in use: the same state installs the same versions."""
    prepare()
    return content(_indexes())


def binary(package: str) -> Path:
    """Download the .deb of `package` and return it."""
    found = re.search(r"^'\S+' (\S+) ", _uris("download", package), re.MULTILINE)
    if not found:
        raise BuildError(f"{SUITE} has no package {package}")
    target = HOME / "downloads" / found[1].replace("%3a", ":")
    if not target.exists():
        _fetched("apt-get", "download", package)
    return target if target.exists() else _only(f"{package}_*.deb")


def source(package: str) -> tuple[str, list[Path]]:
    """Download the tarballs of the source `package`, checked against the signed index; return its version and them.

    The .dsc is not needed for that (some mirrors fail to serve one), nor is dpkg-source.
    """
    shown = _text("apt-cache", "showsrc", "--only-source", package)
    version = _newest(re.findall(r"^Version: (\S+)$", shown, re.MULTILINE))
    record = next(each for each in shown.split("\n\n") if f"\nVersion: {version}\n" in f"\n{each}\n")
    sums = record.partition("Checksums-Sha256:")[2].splitlines()
    wanted = {}
    for line in sums[1:]:
        if not line.startswith(" "):
            break
        digest, _, name = line.split()
        if ".tar." in name and not name.endswith(".asc"):
            wanted[name] = digest
    missing = [name for name in wanted if not (HOME / "downloads" / name).exists()]
    if missing:
        _apt("apt-get", "source", "--download-only", f"{package}={version}", cwd=HOME / "downloads")
    for name, digest in wanted.items():
        path = HOME / "downloads" / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise BuildError(f"{name} of {package} {version}: not fetched, or not what the index signs")
    return version, [HOME / "downloads" / name for name in sorted(wanted)]


def emulation() -> None:
    """Let this host run arm64 programs (in the guest's chroot), if it does not yet."""
    tool("arch-test")
    if subprocess.run(["arch-test", "arm64"], capture_output=True).returncode == 0:
        return
    if not Path("/proc/sys/fs/binfmt_misc/register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc"], capture_output=True)
    subprocess.run(["update-binfmts", "--enable", "qemu-aarch64"], capture_output=True)
    if subprocess.run(["arch-test", "arm64"], capture_output=True).returncode:
        raise BuildError("this host does not run arm64 programs: it needs qemu-user-static and binfmt_misc (root)")


def _source_lines() -> list[str]:
    """Return sources.list for the guest: the host's Debian archives with the suite exchanged."""
    shown = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages"],
        capture_output=True,
        text=True,
    ).stdout
    archives = {}
    for line in shown.splitlines():
        origin, label, component, uri = line.split("|")
        if origin == "Debian" and component == "main":
            archives.setdefault(label, uri)
    if "Debian" not in archives:
        raise BuildError("this host's apt knows no Debian archive with its lists fetched; run `apt-get update` first")
    where = f"signed-by={KEYRING}"
    lines = [f"deb [{where}] {archives['Debian']} {each} main" for each in (SUITE, f"{SUITE}-backports")]
    lines.append(f"deb-src [{where}] {archives['Debian']} {SUITE} main")
    if "Debian-Security" in archives:
        lines.append(f"deb [{where}] {archives['Debian-Security']} {SUITE}-security main")
    return lines


def _indexes() -> list[Path]:
    return sorted((HOME / "lists").glob("*_InRelease"))


def _environment() -> dict[str, str]:
    return {**os.environ, "APT_CONFIG": str(HOME / "apt.conf"), "LC_ALL": "C.UTF-8"}


def _apt(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, env=_environment(), cwd=cwd)


def _text(*command: str) -> str:
    prepare()
    done = _apt(*command)
    if done.returncode:
        raise BuildError(f"{' '.join(command)}: {done.stderr[-1000:]}")
    return done.stdout


def _uris(verb: str, package: str) -> str:
    return _text("apt-get", verb, "--print-uris", package)


def _fetched(*command: str) -> None:
    done = _apt(*command, cwd=HOME / "downloads")
    if done.returncode:  # the mirror moved on since the lists were fetched
        prepare(refresh=True)
        done = _apt(*command, cwd=HOME / "downloads")
    if done.returncode:
        raise BuildError(f"{' '.join(command)}: {done.stderr[-1000:]}")


def _only(pattern: str) -> Path:
    found = sorted((HOME / "downloads").glob(pattern), key=lambda path: path.stat().st_mtime)
    if not found:
        raise BuildError(f"{pattern} was not fetched")
    return found[-1]


def _newest(versions: list[str]) -> str:
    if not versions:
        raise BuildError("no such source package")
    best = versions[0]
    for each in versions[1:]:
        if subprocess.run(["dpkg", "--compare-versions", each, "gt", best]).returncode == 0:
            best = each
    return best
