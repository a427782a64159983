"""A .swu from a kernel, a root file system and the payload's template: described, perhaps encrypted, signed, packed."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ota import archive, description, signing
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
    software: Software, out: Path, signer: Signer, *, key: AesKey | None = None, template: Path = TEMPLATE
) -> None:
    """Make `out`; where it cannot be made, what stood there stays. Raises OtaError."""
    with tempfile.TemporaryDirectory(prefix="ota-", dir=out.parent) as scratch:
        work = Path(scratch)
        for script in SCRIPTS:
            shutil.copy(script, work / script.name)
        names, vectors = _place(software, work, key)
        listed = work / description.NAME
        text = template.read_text(encoding="utf-8")
        listed.write_text(
            description.render(text, _variables(software, names, vectors), lambda name: _digest(work, name)),
            encoding="utf-8",
        )
        signing.sign(listed, work / description.SIGNATURE, signer)
        members = [description.NAME, description.SIGNATURE, *(script.name for script in SCRIPTS), *names.values()]
        packed = work / "packed.swu"
        with packed.open("wb") as file:
            archive.write(file, [(name, work / name) for name in members])
        packed.replace(out)


def _place(software: Software, work: Path, key: AesKey | None) -> tuple[dict[str, str], dict[str, str]]:
    """Put the images into `work`; return the name in the archive and the vector of each role."""
    names: dict[str, str] = {}
    vectors: dict[str, str] = {}
    for role, path in {"KERNEL": software.kernel, "ROOTFS": software.rootfs}.items():
        names[role] = plain(path.name, "file name")
        if not path.is_file():
            raise OtaError(f"{path}: no such file")
        if (work / path.name).exists():
            raise OtaError(f"{path}: another file of this name is in the update: rename one")
        vectors[role] = _copy(path.resolve(), work / path.name, key)
    return names, vectors


def _copy(source: Path, target: Path, key: AesKey | None) -> str:
    if key:
        return signing.encrypt(source, target, key)
    target.symlink_to(source)  # an image is large, and only read
    return ""


def _variables(software: Software, names: dict[str, str], vectors: dict[str, str]) -> dict[str, str]:
    variables = {
        "DCU_VERSION": plain(software.version, "version"),
        "DCU_BOARD": plain(software.board, "board"),
        "DCU_HARDWARE": ", ".join(f'"{plain(revision, "hardware revision")}"' for revision in software.hardware),
    }
    for role, name in names.items():
        vector = vectors[role]
        variables[f"DCU_{role}"] = name
        variables[f"DCU_{role}_ENCRYPTED"] = "encrypted = true;" if vector else ""
        variables[f"DCU_{role}_VECTOR"] = f'ivt = "{vector}";' if vector else ""
    return variables


def _digest(work: Path, name: str) -> str:
    path = work / name
    if not path.is_file():
        raise OtaError(f"the template asks for the hash of {name}, which is not in the update")
    return description.sha256(path)
