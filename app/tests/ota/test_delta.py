"""Delta updates: what is packed, what is signed, and what a device would fetch."""

import random
import shutil

import pytest

from ota import archive, checking, delta, packing
from ota.__main__ import main
from ota.errors import OtaError
from ota.packing import Software
from ota.signing import AesKey

from .forge import Forge

needs_zck = pytest.mark.skipif(not shutil.which("zck"), reason="needs zck (Debian's package zchunk)")
URL = "https://updates.example/1.2.0"


@pytest.fixture(scope="module")
def forge(tmp_path_factory):
    return Forge.made(tmp_path_factory.mktemp("forge"))


@pytest.fixture
def software(forge):
    return Software("1.2.0", forge.folder / "kernel.fit", forge.folder / "rootfs.img")


@needs_zck
def test_a_delta_holds_headers_and_its_chunks_lie_beside_it(forge, software):
    out = forge.folder / "delta.swu"
    made = packing.pack(software, out, forge.signer(), chunks=URL)
    assert [path.name for path in made] == ["kernel-1.2.0.zck", "rootfs-1.2.0.zck"]
    names = [name for name, _ in checking.check(out, forge.authority).files]
    assert names[3:] == ["kernel-1.2.0.zck.header", "rootfs-1.2.0.zck.header"]
    with out.open("rb") as file:
        members = {each.name: b"".join(archive.content(file, each)) for each in archive.members(file)}
    for path in made:
        assert path.read_bytes().startswith(members[f"{path.name}.header"])
    text = members["sw-description"].decode()
    assert text.count('type = "delta";') == 4
    chunks = f'url = "{URL}/rootfs-1.2.0.zck"; zckloglevel = "error";'
    for other in "ab":
        assert f'{{ chain = "raw"; source = "/dev/disk/by-partlabel/rootfs_{other}"; {chunks} }};' in text


def test_a_full_update_names_no_server(forge):
    with forge.pack("full").open("rb") as file:
        text = b"".join(archive.content(file, next(archive.members(file)))).decode()
    assert text.count('type = "raw";') == 4
    assert "url" not in text


def test_what_cannot_be_is_said(forge, software):
    out = forge.folder / "not.swu"
    with pytest.raises(OtaError, match="cannot be encrypted"):
        packing.pack(software, out, forge.signer(), chunks=URL, key=AesKey.load(forge.aes))
    with pytest.raises(OtaError, match="https"):
        packing.pack(software, out, forge.signer(), chunks="http://updates.example")
    assert not out.exists()


def test_without_zck_its_package_is_named(forge, software, monkeypatch):
    monkeypatch.setattr(delta.shutil, "which", lambda name: None)
    with pytest.raises(OtaError, match="package zchunk"):
        packing.pack(software, forge.folder / "not.swu", forge.signer(), chunks=URL)


@needs_zck
def test_what_a_device_would_fetch_is_what_differs(tmp_path, capsys):
    content = random.Random(2).randbytes(3_000_000)
    for name, image in (("old", content), ("new", content[:1_000_000] + b"more" + content[1_000_000:])):
        (tmp_path / name).write_bytes(image)
        delta.make(tmp_path / name, tmp_path / f"{name}.zck")
    seen = delta.cost(tmp_path / "old.zck", tmp_path / "new.zck")
    assert 1 <= seen.chunks <= 3
    assert seen.fetched < 300_000 < seen.whole
    assert delta.cost(tmp_path / "new.zck", tmp_path / "new.zck").fetched == 0
    assert main(["cost", str(tmp_path / "old.zck"), str(tmp_path / "new.zck")]) == 0
    assert f"{seen.fetched} of {seen.whole} bytes" in capsys.readouterr().out


@needs_zck
def test_what_is_no_zchunk_file_is_said(tmp_path):
    (tmp_path / "x").write_bytes(b"no")
    with pytest.raises(OtaError, match="zck_read_header"):
        delta.cost(tmp_path / "x", tmp_path / "x")
