"""What a real SWUpdate makes of our updates: takes the good ones, refuses the others, each for its reason.

It is found in the root of the device bench, if that is built (out/device; `make device-test` has it built), or in the
root directory that DCU_SWUPDATE_ROOT names; both are entered by chroot, so that needs root, and there an update is also
installed for good, into files in the banks' places.
"""

import os
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest
from device.webserver import Authority, Fault, WebServer

from dcu.errors import UpdateError
from dcu.platform import swuconfig, swupdate
from dcu.platform.bootenv import Environment, Slot, decode, parse
from ota import packing, signing
from ota.packing import FILES

from .forge import TAMPERED, Forge

GIVEN = os.environ.get("DCU_SWUPDATE_ROOT", "")  # "bench": build what is not built
EMULATED = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
BASES = sorted((FILES.parents[3] / "out/device/rootfs").glob("*/.seconds"), key=lambda path: path.stat().st_mtime)
entered = os.geteuid() == 0 and bool(GIVEN or (BASES and EMULATED.exists()))

# The host's own swupdate would be another version, which says no in other words
pytestmark = pytest.mark.skipif(
    not entered, reason="needs root, and the device bench's root (make device) or one under DCU_SWUPDATE_ROOT"
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The directory that is entered."""
    if GIVEN not in ("", "bench"):
        yield Path(GIVEN)
    else:
        folder = tmp_path_factory.mktemp("root")
        subprocess.run(["tar", "-xf", bench() if GIVEN else BASES[-1].with_name("base.tar"), "-C", folder], check=True)
        yield folder
        shutil.rmtree(folder)


def bench():
    from device import debian, rootfs

    debian.emulation()
    return rootfs.build() / "base.tar"


class Device:
    """SWUpdate with the payload's configuration, the authority of a forge, and /tmp of its own."""

    def __init__(self, forge, root):
        self.forge = forge
        self.root = root
        self.inside = Path("/dcu-test")
        self.outside = root / "dcu-test"
        self.prefix = ("chroot", str(root))
        shutil.rmtree(self.outside, ignore_errors=True)
        (self.outside / "tmp").mkdir(parents=True)
        for folder in ("run/swupdate", "run/lock"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (self.outside / "ca.crt").write_bytes(forge.authority.read_bytes())
        (self.outside / "aes").write_bytes(forge.aes.read_bytes())
        shutil.copy(FILES / "swupdate.cfg", self.outside)

    def configure(self, *sections):
        """Add sections to the configuration, as the device does (dcu.platform.swuconfig)."""
        swuconfig.write(sections, self.outside / "swupdate.cfg", base=FILES / "swupdate.cfg")

    def run(self, path, *options, check=True, oldest="1.0", hardware="grid-dcu:1.0", bank="b"):
        shutil.copy(path, self.outside / "given.swu")
        command = (
            *self.prefix,
            *("env", f"TMPDIR={self.inside}/tmp", "swupdate", "-v", "-f", f"{self.inside}/swupdate.cfg"),
            *("-k", f"{self.inside}/ca.crt", "-H", hardware, "-e", f"stable,{bank}", "-N", oldest),
            *(("-c",) if check else ()),
            *(*options, "-i", f"{self.inside}/given.swu"),
        )
        swupdate.install(command, lambda said: None)


@pytest.fixture(scope="module")
def device(root, tmp_path_factory):
    made = Device(Forge.made(tmp_path_factory.mktemp("forge")), root)
    yield made
    shutil.rmtree(made.outside, ignore_errors=True)


@pytest.fixture(scope="module")
def good(device):
    return device.forge.pack("good")


@pytest.mark.parametrize("bank", ["a", "b"])
def test_a_good_update_is_taken_for_either_bank(device, good, bank):
    device.run(good, bank=bank)


def test_an_encrypted_one_is_taken_with_the_key(device):
    device.run(device.forge.pack("encrypted", encrypted=True), "-K", f"{device.inside}/aes")


def test_the_same_version_again_is_taken(device, good):
    device.run(good, oldest="1.2.0")


CAUSES = {"a changed image": "image", "a changed script": "image", "a missing image": "image"}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_tampered_one_is_refused(device, good, how):
    with pytest.raises(UpdateError) as refused:
        device.run(device.forge.repacked(good, "bad", TAMPERED[how]))
    assert refused.value.cause == CAUSES.get(how, "signature")


@pytest.mark.parametrize("signer", ["foreign", "authority"])
def test_one_that_somebody_else_signed_is_refused(device, signer):
    forge = device.forge
    signing.make_keys(forge.folder / "theirs")
    key = forge.signer("theirs") if signer == "foreign" else forge.signer(name="update-ca")
    with pytest.raises(UpdateError, match="signature does not hold"):
        device.run(forge.pack(signer, signer=key))


@pytest.mark.parametrize("hardware", ["other-board:1.0", "grid-dcu:2.0"])
def test_one_for_other_hardware_is_refused(device, good, hardware):
    with pytest.raises(UpdateError) as refused:
        device.run(good, hardware=hardware)
    assert refused.value.cause == "hardware"


@pytest.mark.parametrize("oldest", ["1.2.1", "1.10", "2.0"])
def test_an_older_one_is_refused(device, good, oldest):
    with pytest.raises(UpdateError, match=rf"version 1\.2\.0 is older than {oldest}"):
        device.run(good, oldest=oldest)


def test_an_encrypted_one_is_refused_under_another_key_when_it_is_only_looked_at_too(device):
    other = device.outside / "other.aes"
    other.write_text(f"{'00' * 32} {'00' * 16}\n")
    with pytest.raises(UpdateError, match="encrypted under another key"):
        device.run(device.forge.pack("encrypted", encrypted=True), "-K", f"{device.inside}/other.aes")


def test_an_encrypted_one_is_refused_without_a_key(device):
    with pytest.raises(UpdateError) as refused:
        device.run(device.forge.pack("encrypted", encrypted=True))
    assert refused.value.cause == "key"


# --- for good, where files may stand in the banks' places


@pytest.fixture
def banks(device, tmp_path):
    root = device.root
    labels = root / "dev/disk/by-partlabel"
    labels.mkdir(parents=True, exist_ok=True)
    for name in ("kernel_a", "kernel_b", "rootfs_a", "rootfs_b"):
        (labels / name).write_bytes(bytes(1 << 20))
    (root / "usr/lib/dcu").mkdir(parents=True, exist_ok=True)
    shutil.copy(FILES / "update-allowed", root / "usr/lib/dcu")
    disk = device.outside / "env"
    text = "".join(f"{name}={value}\n" for name, value in ENVIRONMENT.variables().items() if value)
    (tmp_path / "text").write_text(text)
    subprocess.run(["mkenvimage", "-r", "-s", "0x4000", "-o", tmp_path / "copy", tmp_path / "text"], check=True)
    disk.write_bytes((tmp_path / "copy").read_bytes() * 2)
    config = f"{device.inside}/env 0x0 0x4000\n{device.inside}/env 0x4000 0x4000\n"
    (root / "etc/fw_env.config").write_text(config)
    yield labels
    shutil.rmtree(root / "dev/disk")


ENVIRONMENT = Environment(Slot.A, rollback_reason="health:store", boot_failures=1)


def environment(device, *names):
    said = subprocess.run([*device.prefix, "fw_printenv", *names], capture_output=True, check=True).stdout
    return parse(said, names)


def test_an_installation_writes_the_other_bank_and_then_switches_in_the_environment(device, banks, good):
    device.run(good, check=False)
    for image, name in (("kernel_b", "kernel.fit"), ("rootfs_b", "rootfs.img")):
        wanted = (device.forge.folder / name).read_bytes()
        assert (banks / image).read_bytes()[: len(wanted)] == wanted
    assert not any((banks / image).read_bytes().strip(b"\0") for image in ("kernel_a", "rootfs_a"))
    after = environment(device, *ENVIRONMENT.variables())
    assert decode(after) == Environment(Slot.B, upgrade_available=True, update_state=decode(after).update_state)
    assert after["ustate"] == "1"
    assert environment(device, "recovery_status")["recovery_status"] == ""


def test_during_a_trial_nothing_is_written(device, banks, good):
    device.run(good, check=False)
    with pytest.raises(UpdateError):
        device.run(good, check=False, bank="a")
    assert not (banks / "kernel_a").read_bytes().strip(b"\0")
    assert environment(device, "slot") == {"slot": "b"}


def test_a_refused_one_writes_nothing(device, banks, good):
    for how in TAMPERED:
        with pytest.raises(UpdateError):
            device.run(device.forge.repacked(good, "bad", TAMPERED[how]), check=False)
    assert not any(path.read_bytes().strip(b"\0") for path in banks.iterdir())
    assert environment(device, "slot", "upgrade_available") == {"slot": "a", "upgrade_available": "0"}


def test_a_bank_that_cannot_be_flushed_is_not_switched_to(device, banks, good):
    """/dev/null takes every write and refuses fsync. Only the update's own script asks for it."""
    (banks / "rootfs_b").unlink()
    (banks / "rootfs_b").symlink_to("/dev/null")
    with pytest.raises(UpdateError):
        device.run(good, check=False)
    assert environment(device, "slot", "upgrade_available") == {"slot": "a", "upgrade_available": "0"}


def test_canary_without_that_script_swupdate_switches_to_a_bank_that_is_not_on_the_medium(device, banks, monkeypatch):
    script = device.forge.folder / "toothless" / "dcu-flush.sh"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    monkeypatch.setattr(packing, "SCRIPTS", (script,))
    (banks / "rootfs_b").unlink()
    (banks / "rootfs_b").symlink_to("/dev/null")
    device.run(device.forge.pack("toothless"), check=False)
    assert environment(device, "slot", "upgrade_available") == {"slot": "b", "upgrade_available": "1"}


# --- a delta, whose chunks come from a server


@pytest.fixture(scope="module")
def authority(device, tmp_path_factory):
    made = Authority(tmp_path_factory.mktemp("utility"))
    (device.outside / "servers.pem").write_bytes(made.pem.read_bytes())
    return made


@pytest.fixture
def chunks(device, banks, authority):
    """A server for the chunks of the forge's images; the device runs the same, changed a little."""
    if not shutil.which("zck"):
        pytest.skip("needs zck (Debian's package zchunk)")
    random = Random(3)
    for image, name in (("kernel", "kernel.fit"), ("rootfs", "rootfs.img")):
        content = random.randbytes(900_000)
        (device.forge.folder / name).write_bytes(content)
        (banks / f"{image}_a").write_bytes(content[:400_000] + b"changed" + content[400_000:] + bytes(50_000))
    with WebServer(authority) as server:
        yield server


def trusting(device, authorities="servers.pem"):
    channel = swuconfig.channel(device.inside / authorities) | {"retry": 1, "retrywait": "1"}
    device.configure(swuconfig.section("delta", channel))


def delta(device, server):
    out = device.forge.folder / "delta.swu"
    wanted = packing.Software("1.2.0", device.forge.folder / "kernel.fit", device.forge.folder / "rootfs.img")
    made = packing.pack(wanted, out, device.forge.signer(), chunks=server.url("/1.2.0"))
    server.site.files |= {f"/1.2.0/{path.name}": path for path in made}
    return out


def written(device, banks):
    images = (("kernel_b", "kernel.fit"), ("rootfs_b", "rootfs.img"))
    return all(
        (banks / image).read_bytes().startswith((device.forge.folder / name).read_bytes()) for image, name in images
    )


def test_a_delta_fetches_what_differs_and_writes_the_whole(device, banks, chunks):
    trusting(device)
    device.run(delta(device, chunks), check=False)
    assert written(device, banks)
    assert environment(device, "slot", "upgrade_available") == {"slot": "b", "upgrade_available": "1"}
    assert 0 < chunks.site.sent < 400_000
    assert all("bytes=" in request for request in chunks.site.requests)


def test_a_delta_for_a_bank_that_has_nothing_in_common_fetches_all(device, banks, chunks):
    for image in ("kernel_a", "rootfs_a"):
        (banks / image).write_bytes(bytes(1 << 20))
    trusting(device)
    device.run(delta(device, chunks), check=False)
    assert written(device, banks)
    assert chunks.site.sent > 1_800_000


FAULTS = {
    "a server without ranges": Fault(ranges=False),
    "a server that has them no more": Fault(status=404),
    "a server that breaks off": Fault(cut=1000, times=99),
    "a server that redirects into nowhere": Fault(status=302, location="https://127.0.0.1:1/"),
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_delta_that_cannot_be_completed_switches_nothing(device, banks, chunks, how):
    trusting(device)
    swu = delta(device, chunks)
    for path in list(chunks.site.files):
        chunks.site.faults[path] = FAULTS[how]
    with pytest.raises(UpdateError, match="install the full update") as refused:
        device.run(swu, check=False)
    assert refused.value.cause == "image"
    assert environment(device, "slot", "upgrade_available") == {"slot": "a", "upgrade_available": "0"}


def test_chunks_that_were_changed_on_the_server_switch_nothing(device, banks, chunks):
    trusting(device)
    swu = delta(device, chunks)
    for path, file in chunks.site.files.items():
        content = bytearray(file.read_bytes())
        for at in range(len(content) // 4, len(content), 1000):
            content[at] ^= 1
        chunks.site.files[path] = bytes(content)
    with pytest.raises(UpdateError):
        device.run(swu, check=False)
    assert environment(device, "slot", "upgrade_available") == {"slot": "a", "upgrade_available": "0"}


def test_chunks_come_from_nobody_whom_nobody_vouches_for(device, banks, chunks, tmp_path):
    (device.outside / "others.pem").write_bytes(Authority(tmp_path, "somebody else").pem.read_bytes())
    trusting(device, "others.pem")
    with pytest.raises(UpdateError, match="install the full update"):
        device.run(delta(device, chunks), check=False)
    assert chunks.site.requests == []


def test_canary_without_our_section_swupdate_checks_no_certificate(device, banks, chunks):
    """Why dcu.platform.swuconfig says `nocheckcert = false` in so many words."""
    device.configure()
    device.run(delta(device, chunks), check=False)
    assert chunks.site.requests
