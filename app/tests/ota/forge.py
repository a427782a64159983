"""Updates for the tests: one that is good, and the ways in which one is not."""

from dataclasses import dataclass
from pathlib import Path

from ota import archive, packing, signing
from ota.description import NAME, SIGNATURE
from ota.packing import Software
from ota.signing import AesKey, Signer


@dataclass(frozen=True)
class Forge:
    """A folder with keys, images and updates."""

    folder: Path

    @classmethod
    def made(cls, folder):
        forge = cls(folder)
        signing.make_keys(folder / "ours")
        (folder / "kernel.fit").write_bytes(b"kernel " * 20_000)
        (folder / "rootfs.img").write_bytes(bytes(range(256)) * 3_000 + b"odd")
        return forge

    @property
    def authority(self):
        return self.folder / "ours/update-ca.crt"

    @property
    def aes(self):
        return self.folder / "ours/update.aes"

    def signer(self, keys="ours", name="update"):
        return Signer(str(self.folder / keys / f"{name}.key"), self.folder / keys / f"{name}.crt")

    def pack(self, name, *, version="1.2.0", signer=None, encrypted=False, **software):
        out = self.folder / f"{name}.swu"
        wanted = Software(version, self.folder / "kernel.fit", self.folder / "rootfs.img", **software)
        key = AesKey.load(self.aes) if encrypted else None
        packing.pack(wanted, out, signer or self.signer(), key=key)
        return out

    def repacked(self, source, name, change):
        """`source` with its members changed by `change`: a list of (name, content) in, the same out."""
        with source.open("rb") as file:
            parts = [(each.name, b"".join(archive.content(file, each))) for each in archive.members(file)]
        folder = self.folder / f"{name}.parts"
        folder.mkdir(exist_ok=True)
        files = []
        for number, (member, content) in enumerate(change(parts)):
            path = folder / str(number)
            path.write_bytes(content)
            files.append((member, path))
        out = self.folder / f"{name}.swu"
        with out.open("wb") as file:
            archive.write(file, files)
        return out


def replaced(name, edit):
    return lambda parts: [(each, edit(content) if each == name else content) for each, content in parts]


def without(name):
    return lambda parts: [part for part in parts if part[0] != name]


TAMPERED = {
    "a changed description": replaced(NAME, lambda text: text.replace(b"1.2.0", b"9.9.9")),
    "a changed image": replaced("rootfs.img", lambda raw: raw[:99] + bytes((raw[99] ^ 1,)) + raw[100:]),
    "a changed script": replaced("dcu-flush.sh", lambda raw: raw + b"reboot\n"),
    "no signature": without(SIGNATURE),
    "a signature that is none": replaced(SIGNATURE, lambda raw: b"x" * len(raw)),
    "a missing image": without("kernel.fit"),
}
