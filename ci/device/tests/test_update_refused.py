"""What the device does not install: it says why, and neither the other bank nor U-Boot's environment has changed."""

import hashlib
import subprocess

import pytest

from device import disk, keys, swu
from device.cache import Run
from device.tests.updating import BANK_B, MINUTES, NEWER, SLOW, changed, environment, offered, status
from ota import archive

pytestmark = [pytest.mark.long, MINUTES]

SMALL = 1 << 18  # bytes of root: what is refused by its description needs no more


@pytest.fixture(scope="module")
def refusals(good, tmp_path_factory):
    """Make the files; return each with what the device must say of it."""
    folder = tmp_path_factory.mktemp("refused")
    small, genuine = folder / "rootfs.img", swu.release(NEWER)
    small.write_bytes((good / "rootfs.img").read_bytes()[:SMALL])

    def packed(name, version=NEWER, **how):
        swu.packed(folder / f"{name}.swu", version, good, rootfs=small, **how)

    packed("unsigned")
    edited(folder / "unsigned.swu", lambda parts: [part for part in parts if part[0] != "sw-description.sig"])
    packed("redescribed")
    edited(folder / "redescribed.swu", lambda parts: [(n, c.replace(b"1.1.0", b"1.1.1", 1)) for n, c in parts])
    packed("foreign", signing=foreign(folder / "foreign"))
    packed("not-for-code", signing=for_mail(folder / "mail"))
    packed("other-board", board="other-board")
    packed("other-revision", hardware=("2.0",))
    packed("older", "0.9.9")
    content = bytearray(genuine.read_bytes())
    (folder / "truncated.swu").write_bytes(content[: len(content) * 2 // 3])
    content[-(1 << 20)] ^= 1  # near the end of the root, which comes last
    (folder / "damaged.swu").write_bytes(content)
    (folder / "picture.swu").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4096)
    (folder / "empty.swu").write_bytes(b"")
    wanted = {
        "unsigned": "it is not signed",
        "redescribed": "its signature does not hold",
        "foreign": "its signature does not hold",
        "not-for-code": "its signature does not hold",
        "other-board": "it is for other hardware",
        "other-revision": "it is for other hardware",
        "older": "version 0.9.9 is older than 1.0.0",
        "truncated": "damaged",
        "damaged": "damaged",
        "picture": "it is no .swu",
        "empty": "no .swu",
        "missing": "no such file",
    }
    return genuine, [folder / f"{name}.swu" for name in wanted if name != "missing"], wanted


def test_what_is_refused_is_refused_for_its_reason_and_changes_nothing(settled, refusals):
    genuine, files, wanted = refusals
    with settled.on(genuine, *files) as dut:
        before = environment(dut), bank(dut)
        wrong = {}
        for name, why in wanted.items():
            code, said = offered(dut, f"{name}.swu")
            after = environment(dut)
            if code != 11 or why not in said or changed(before[0], after):
                wrong[name] = code, said, changed(before[0], after)
        assert not wrong
        assert bank(dut) == before[1]
        shown = status(dut)
        assert (shown["slot"], shown["oldest"], shown["rollback_reason"]) == ("a", "1.0.0", None), shown
        on_trial(dut)
        assert bank(dut) == before[1]
        code, said = offered(dut, genuine.name, "--check")
        assert code == 0, said
        settled.nothing_lost(dut)


def on_trial(dut):
    """The running bank is made one on trial: neither our command nor SWUpdate by itself installs anything."""
    dut.shell("fw_setenv upgrade_available 1")
    before = environment(dut)
    code, said = offered(dut)
    assert code == 11, said
    assert "no update now: bank a is on trial" in said
    raw = "swupdate -f /etc/swupdate.cfg -e stable,b -N 1.0.0 -i /run/medium/update.swu 2>&1; test $? != 0"
    dut.shell(raw, SLOW)
    assert changed(before, environment(dut)) == {}
    dut.shell("fw_setenv upgrade_available 0")


def bank(dut):
    """A digest of the bank that does not run, as it lies on the disk."""
    dut.shell("sync")
    digest = hashlib.sha256()
    with dut.disk.open("rb") as image:
        for name in BANK_B:
            start, size = disk.partition(dut.disk, name, Run(dut.home / "tools.log"))
            image.seek(start)
            digest.update(image.read(size))
    return digest.hexdigest()


def edited(path, change):
    """Pack the file anew with its members changed."""
    folder = path.with_suffix(".parts")
    folder.mkdir()
    with path.open("rb") as file:
        parts = [(member.name, b"".join(archive.content(file, member))) for member in archive.members(file)]
    for name, content in (kept := change(parts)):
        (folder / name).write_bytes(content)
    with path.open("wb") as file:
        archive.write(file, [(name, folder / name) for name, _ in kept])


def foreign(folder):
    """Keys of somebody else, who has an authority of his own."""
    from ota.signing import make_keys

    make_keys(folder)
    return folder


def for_mail(folder):
    """A certificate of our own authority that is not for signing code."""
    folder.mkdir()
    ours = keys.update() / "update-ca"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=mail"
    extensions = ("basicConstraints=critical,CA:FALSE", "keyUsage=critical,digitalSignature")
    options = [
        word for text in (*extensions, "extendedKeyUsage=critical,emailProtection") for word in ("-addext", text)
    ]
    made = ["-keyout", folder / "update.key", "-out", folder / "update.crt"]
    signed = ["-CA", f"{ours}.crt", "-CAkey", f"{ours}.key"]
    subprocess.run([*command.split(), *signed, *options, *made], check=True, capture_output=True)  # noqa: S603
    return folder
