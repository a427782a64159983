"""Whether a .swu holds together: its signature, its order, every file's hash, nothing beside. What a device does too.

It is a check for the build host, before an update is handed out; a device trusts SWUpdate and nothing else. Hardware
and version are the device's to judge: here they are only told.
"""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ota import archive, description, signing
from ota.archive import Member
from ota.errors import OtaError

_LARGEST = 1 << 20  # bytes of a description or its signature


@dataclass(frozen=True, slots=True)
class Checked:
    """files: name and bytes, in order; encrypted: whether its images are."""

    version: str
    files: tuple[tuple[str, int], ...]
    encrypted: bool


def check(path: Path, authority: Path) -> Checked:
    """Raises OtaError: why a device would refuse it."""
    with path.open("rb") as file:
        members = list(archive.members(file))
        names = [member.name for member in members]
        if names[:2] != [description.NAME, description.SIGNATURE]:
            raise OtaError(f"{path}: does not begin with {description.NAME} and {description.SIGNATURE}: not signed")
        if len(set(names)) != len(names):
            raise OtaError(f"{path}: a file is in it twice")
        raw = _signed(file, members, authority)
        text = raw.decode(errors="replace")
        wanted = description.hashes(text)
        for member in members[2:]:
            _compare(file, member, wanted)
        if missing := wanted.keys() - set(names):
            raise OtaError(f"{path}: {', '.join(sorted(missing))}: described, and not in it")
    sizes = tuple((member.name, member.size) for member in members)
    return Checked(description.version(text), sizes, "encrypted = true;" in text)


def _signed(file: BinaryIO, members: list[Member], authority: Path) -> bytes:
    """The description, whose signature holds."""
    with tempfile.TemporaryDirectory(prefix="ota-") as scratch:
        paths = [Path(scratch) / member.name for member in members[:2]]
        for member, path in zip(members[:2], paths, strict=True):
            if member.size > _LARGEST:
                raise OtaError(f"{member.name}: {member.size} bytes, at most {_LARGEST}")
            path.write_bytes(b"".join(archive.content(file, member)))
        signing.verify(paths[0], paths[1], authority)
        return paths[0].read_bytes()


def _compare(file: BinaryIO, member: Member, wanted: dict[str, str]) -> None:
    if member.name not in wanted:
        raise OtaError(f"{member.name}: in the file, and not described")
    digest, total = hashlib.sha256(), 0
    for chunk in archive.content(file, member):
        digest.update(chunk)
        total = total + sum(chunk) & 0xFFFFFFFF
    if digest.hexdigest() != wanted[member.name]:
        raise OtaError(f"{member.name}: its hash is not the one that was signed")
    if total != member.check:
        raise OtaError(f"{member.name}: its checksum in the archive does not fit")
