"""The payload's manifest: what the recipes put into the image (mode, owner, digest, path), compared with the bench's
root.

It is made of the recipes' real ${D} by `make layer-check`, for machine dcu-qemuarm64, which is the bench's. Not in
it: what lies in site-packages (`make layer-check` compares that with app/ itself) and the kernel's modules. `refresh`
takes new digests of files that are in it already, for whoever changes a file's content and has no OpenEmbedded at
hand; a file that comes or goes, or changes its place or mode, needs `make layer-check`.
"""

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from device import system
from device.paths import LAYER, ROOT

MANIFEST = LAYER / "payload.manifest"
HEAD = (
    "# mode owner:group sha256 path, of the recipes' ${D}: made by `make layer-check`, compared by `make layer-lint`\n"
)
# In the image and not among the bench's payload, each with its reason (docs/bench.md)
NOT_ON_THE_BENCH = {
    "/etc/nftables.d/dev-ssh.nft": "development images only",
    "/etc/ssh/sshd_config.d/dev-sshd.conf": "development images only",
    "/usr/bin/dcu": "made by the wheel's installer; the bench links it from a virtual environment",
    "/usr/bin/dcu-gurux": "the same",
    "/usr/share/doc/dcu/collector.toml": "the bench copies it from docs/ itself",
    "/usr/share/doc/dcu/gateway.toml": "the same",
    "/usr/share/dcu/update-ca.crt": "each build's own authority: no digest",
}
NO_DIGEST = {
    "/usr/share/dcu/update-ca.crt",
    "/usr/share/doc/dcu/collector.toml",
    "/usr/share/doc/dcu/gateway.toml",
    "/usr/bin/dcu",
    "/usr/bin/dcu-gurux",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """mode: octal digits; owner: user:group; digest: SHA-256, or `-` where it is no fact of the repository."""

    mode: str
    owner: str
    digest: str
    path: str

    def __str__(self) -> str:
        return f"{self.mode} {self.owner} {self.digest} {self.path}"


def read(path: Path = MANIFEST) -> dict[str, Entry]:
    lines = [line.split(maxsplit=3) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {line[3]: Entry(*line) for line in lines}


def write(entries: dict[str, Entry], path: Path = MANIFEST) -> None:
    path.write_text(HEAD + "".join(f"{entries[name]}\n" for name in sorted(entries)))


def of_folder(root: Path, owner: str) -> dict[str, Entry]:
    """The entries of one recipe's ${D}; `owner` is who owns all of it (${D} is made under fakeroot)."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = "/" + str(path.relative_to(root))
        if path.is_dir() or path.is_symlink() or "/site-packages/" in name or "/lib/modules/" in name:
            continue
        digest = "-" if name in NO_DIGEST else sha256(path)
        found[name] = Entry(oct(stat.S_IMODE(path.stat().st_mode))[2:], owner, digest, name)
    return found


def faults(entries: dict[str, Entry] | None = None) -> Iterator[str]:
    """Differences between manifest and bench, a line each."""
    manifest = read() if entries is None else entries
    bench = on_the_bench()
    for name in sorted(bench.keys() - manifest.keys()):
        yield f"{name}: the bench installs it, no recipe does: SRC_URI, do_install, then make layer-check"
    for name in sorted(manifest.keys() - bench.keys() - NOT_ON_THE_BENCH.keys()):
        yield f"{name}: a recipe installs it, the bench does not (device.system.PLACES), and nothing says why"
    for name in sorted(NOT_ON_THE_BENCH.keys() - manifest.keys()):
        yield f"{name}: named as a difference, and in no recipe"
    for name in sorted(manifest.keys() & bench.keys()):
        ours, path = manifest[name], bench[name]
        mode = "755" if path.stat().st_mode & 0o100 else "644"
        if ours.mode != mode or ours.owner != "root:root":
            yield f"{name}: {ours.mode} {ours.owner} in the image, {mode} root:root on the bench"
        if ours.digest != sha256(path):
            yield f"{name}: {path.relative_to(ROOT)} changed: make layer-manifest"


def refresh() -> int:
    """Take the digests of files whose content changed; return how many."""
    manifest, bench = read(), on_the_bench()
    changed = {
        name: Entry(entry.mode, entry.owner, sha256(bench[name]), name)
        for name, entry in manifest.items()
        if name in bench and entry.digest != sha256(bench[name])
    }
    if changed:
        write({**manifest, **changed})
    return len(changed)


def on_the_bench() -> dict[str, Path]:
    """Place to file, of everything that the bench takes from the layers."""
    return {f"/{target}": path for path, target in system.payload() if system.GUEST not in path.parents}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
