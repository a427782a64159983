"""A .swu from a kernel, a root file system and the payload's template: described, perhaps encrypted, signed, packed."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ota import archive, delta, description, signing
from ota.description import plain
from ota.errors import OtaError
from ota.signing import AesKey, Signer

FILES = Path(__file__).resolve().parents[1] / "meta-grid-dcu" / "recipes-support" / "swupdate" / "files"
TEMPLATE = FILES / "sw-description.in"
SCRIPTS = (FILES / "dcu-flush.sh",)
BOARD, HARDWARE = "grid-dcu", ("1.0",)


@dataclass(frozen=True, slots=True)
class Software:
    """What an update holds. kernel: its FIT has a configuration for each bank; hardware: revisions that it is for."""

    version: str
    kernel: Path
    rootfs: Path
    board: str = BOARD
    hardware: tuple[str, ...] = HARDWARE


def pack(
    software: Software,
    out: Path,
    signer: Signer,
    *,
    key: AesKey | None = None,
    template: Path = TEMPLATE,
    chunks: str = "",
) -> tuple[Path, ...]:
    """Make `out`; where it cannot be made, what stood there stays. Raises OtaError.

    chunks: make a delta update, whose zchunk files will be served under this address. They are returned: they lie
    beside `out`, with their names.
    """
    if chunks and key:
        raise OtaError("a delta update cannot be encrypted: its chunks lie on a web server as they are")
    if chunks and not chunks.startswith("https://"):
        raise OtaError(f"{plain(chunks, 'address of the chunks')}: https://…")
    with tempfile.TemporaryDirectory(prefix="ota-", dir=out.parent) as scratch:
        work = Path(scratch)
        for script in SCRIPTS:
            shutil.copy(script, work / script.name)
        placed = _cut(software, work) if chunks else _place(software, work, key)
        listed = work / description.NAME
        text = template.read_text(encoding="utf-8")
        listed.write_text(
            description.render(text, _variables(software, placed, chunks), lambda name: _digest(work, name)),
            encoding="utf-8",
        )
        signing.sign(listed, work / description.SIGNATURE, signer)
        members = [
            description.NAME,
            description.SIGNATURE,
            *(script.name for script in SCRIPTS),
            *placed.names.values(),
        ]
        packed = work / "packed.swu"
        with packed.open("wb") as file:
            archive.write(file, [(name, work / name) for name in members])
        for name in placed.chunks.values():
            (work / name).replace(out.parent / name)
        packed.replace(out)
    return tuple(out.parent / name for name in placed.chunks.values())


@dataclass(frozen=True, slots=True)
class _Placed:
    """By role: names in the archive, initial vectors where encrypted, names of the zchunk files where a delta."""

    names: dict[str, str]
    vectors: dict[str, str]
    chunks: dict[str, str]


def _place(software: Software, work: Path, key: AesKey | None) -> _Placed:
    """Put the images into `work`."""
    placed = _Placed({}, {}, {})
    for role, path in _images(software).items():
        placed.names[role] = plain(path.name, "file name")
        if (work / path.name).exists():
            raise OtaError(f"{path}: another file of this name is in the update: rename one")
        placed.vectors[role] = _copy(path.resolve(), work / path.name, key)
    return placed


def _cut(software: Software, work: Path) -> _Placed:
    """Put the images into `work` as zchunk files, and their headers."""
    placed = _Placed({}, {}, {})
    for role, path in _images(software).items():
        name = plain(f"{role.lower()}-{software.version}.zck", "version")
        placed.chunks[role], placed.names[role] = name, f"{name}.header"
        (work / placed.names[role]).write_bytes(delta.make(path.resolve(), work / name))
    return placed


def _images(software: Software) -> dict[str, Path]:
    images = {"KERNEL": software.kernel, "ROOTFS": software.rootfs}
    for path in images.values():
        if not path.is_file():
            raise OtaError(f"{path}: no such file")
    return images


def _copy(source: Path, target: Path, key: AesKey | None) -> str:
    if key:
        return signing.encrypt(source, target, key)
    target.symlink_to(source)  # an image is large, and only read
    return ""


def _variables(software: Software, placed: _Placed, chunks: str) -> dict[str, str]:
    variables = {
        "DCU_VERSION": plain(software.version, "version"),
        "DCU_BOARD": plain(software.board, "board"),
        "DCU_HARDWARE": ", ".join(f'"{plain(revision, "hardware revision")}"' for revision in software.hardware),
        "DCU_TYPE": "delta" if chunks else "raw",
    }
    for role, name in placed.names.items():
        vector = placed.vectors.get(role, "")
        variables[f"DCU_{role}"] = name
        variables[f"DCU_{role}_ENCRYPTED"] = "encrypted = true;" if vector else ""
        variables[f"DCU_{role}_VECTOR"] = f'ivt = "{vector}";' if vector else ""
        url = f"{chunks.rstrip('/')}/{placed.chunks.get(role, '')}"
        wanted = f'url = "{plain(url, "address of the chunks")}"; zckloglevel = "error";'
        variables[f"DCU_{role}_CHUNKS"] = wanted if chunks else ""
    return variables


def _digest(work: Path, name: str) -> str:
    path = work / name
    if not path.is_file():
        raise OtaError(f"the template asks for the hash of {name}, which is not in the update")
    return description.sha256(path)
