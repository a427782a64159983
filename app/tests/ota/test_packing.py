"""Packing and checking: what was packed holds, whatever was changed is found, nothing secret is in it."""

import subprocess

import pytest

from ota import checking, description, packing, signing
from ota.__main__ import main
from ota.archive import members
from ota.errors import OtaError

from .forge import TAMPERED, Forge


@pytest.fixture(scope="module")
def forge(tmp_path_factory):
    return Forge.made(tmp_path_factory.mktemp("forge"))


@pytest.fixture(scope="module")
def good(forge):
    return forge.pack("good")


def test_what_was_packed_holds(forge, good):
    seen = checking.check(good, forge.authority)
    assert seen.version == "1.2.0"
    assert not seen.encrypted
    names = ["sw-description", "sw-description.sig", "dcu-flush.sh", "kernel.fit", "rootfs.img"]
    assert [name for name, _ in seen.files] == names


@pytest.mark.parametrize("how", TAMPERED)
def test_whatever_was_changed_is_found(forge, good, how):
    with pytest.raises(OtaError):
        checking.check(forge.repacked(good, "bad", TAMPERED[how]), forge.authority)


def test_another_authority_is_not_ours(forge, good):
    signing.make_keys(forge.folder / "theirs")
    theirs = forge.pack("theirs", signer=forge.signer("theirs"))
    with pytest.raises(OtaError, match="signature does not hold"):
        checking.check(theirs, forge.authority)
    assert checking.check(theirs, forge.folder / "theirs/update-ca.crt")


def test_a_certificate_that_is_not_for_code_signing_signs_no_update(forge):
    """The authority's own key, for instance."""
    with pytest.raises(OtaError, match="what it is for"):
        checking.check(forge.pack("by-authority", signer=forge.signer(name="update-ca")), forge.authority)


def test_a_file_beside_those_described_is_found(forge, good):
    more = forge.repacked(good, "more", lambda parts: [*parts, ("extra", b"x")])
    with pytest.raises(OtaError, match="extra: in the file, and not described"):
        checking.check(more, forge.authority)


def test_encrypted_images_are_decrypted_by_openssl_with_key_and_vector(forge):
    path = forge.pack("encrypted", encrypted=True)
    assert checking.check(path, forge.authority).encrypted
    key = forge.aes.read_text().split()[0]
    plain = (forge.folder / "rootfs.img").read_bytes()
    raw = path.read_bytes()
    assert plain[:64] not in raw
    with path.open("rb") as file:
        found = {each.name: raw[each.at : each.at + each.size] for each in members(file)}
    text = found["sw-description"].decode().partition("rootfs.img")[2]
    vector = text.partition('ivt = "')[2][:32]
    command = ["openssl", "enc", "-d", "-aes-256-cbc", "-K", key, "-iv", vector]
    assert subprocess.run(command, input=found["rootfs.img"], capture_output=True).stdout == plain


def test_each_encryption_has_a_vector_of_its_own(forge):
    listed = [forge.pack(name, encrypted=True).read_bytes() for name in ("one", "two")]
    vectors = {raw.partition(b'ivt = "')[2][:32] for raw in listed}
    assert len(vectors) == 2


def test_no_private_key_is_in_an_update(forge, good):
    raw = good.read_bytes()
    assert b"PRIVATE KEY" not in raw
    assert forge.aes.read_text().split()[0].encode() not in raw


def test_development_keys_are_for_their_owner_and_made_once(forge):
    before = {path: path.read_bytes() for path in (forge.folder / "ours").iterdir()}
    signing.make_keys(forge.folder / "ours")
    assert {path: path.read_bytes() for path in before} == before
    assert all(path.stat().st_mode & 0o077 == 0 for path in before if path.suffix in (".key", ".aes"))


@pytest.mark.parametrize("version", ["", '1.0"; x = "', "1.0\n", "1 0"])
def test_a_version_cannot_end_its_quotes(forge, version):
    with pytest.raises(OtaError, match="version"):
        forge.pack("x", version=version)


def test_an_update_that_cannot_be_made_leaves_the_old_one(forge):
    path = forge.pack("kept")
    before = path.read_bytes()
    with pytest.raises(OtaError):
        forge.pack("kept", board="a;b")
    assert path.read_bytes() == before


def test_the_template_asks_for_nothing_that_is_unknown_and_knows_both_banks():
    text = packing.TEMPLATE.read_text()
    values = dict.fromkeys(description._VARIABLE.findall(text), "x")
    filled = description.render(text, values, lambda name: "0" * 64)
    assert "@@" not in filled
    assert "$swupdate" not in filled
    for bank in "ab":
        for image in ("kernel", "rootfs"):
            assert f'device = "/dev/disk/by-partlabel/{image}_{bank}";' in filled
    with pytest.raises(OtaError, match="asks for @@DCU_VERSION@@"):
        description.render(text, {}, lambda name: "")


def test_bitbake_would_read_the_template_the_same_way():
    """One variable and one function a line at most where BitBake's patterns are greedy, and none in a comment."""
    for line in packing.TEMPLATE.read_text().splitlines():
        assert line.count("$swupdate_") <= 1
        if line.lstrip().startswith(("*", "/*")):
            assert "@@" not in line
            assert "$" not in line


def test_the_command_packs_checks_and_says_what_is_wrong(forge, capsys):
    ours, out = forge.folder / "ours", forge.folder / "by-command.swu"
    images = ["--kernel", str(forge.folder / "kernel.fit"), "--rootfs", str(forge.folder / "rootfs.img")]
    keys = ["--key", str(ours / "update.key"), "--cert", str(ours / "update.crt")]
    assert main(["pack", "--version", "2.0", *images, *keys, "-o", str(out)]) == 0
    assert main(["check", str(out), "--authority", str(ours / "update-ca.crt")]) == 0
    assert "version 2.0, signed" in capsys.readouterr().out
    out.write_bytes(out.read_bytes()[:-5000])
    assert main(["check", str(out), "--authority", str(ours / "update-ca.crt")]) == 1
    assert capsys.readouterr().err.startswith("ota: ")
    assert main(["keys", str(forge.folder / "more")]) == 0
