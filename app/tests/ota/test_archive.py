"""The cpio archive of a .swu: byte-exact, readable by cpio(1), and a reader that survives anything."""

import io
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ota import archive
from ota.errors import OtaError


def packed(tmp_path, contents):
    files = []
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        files.append((name, tmp_path / name))
    out = io.BytesIO()
    archive.write(out, files)
    return out


def read(source):
    return {each.name: b"".join(archive.content(source, each)) for each in archive.members(source)}


def test_a_member_is_byte_exact(tmp_path):
    """cpio(5): header, name with its zero, padding to four, data, padding; the check is the sum of the bytes."""
    fields = (
        "00000001 000081A4 00000000 00000000 00000001 00000000 00000005 00000000 00000000 00000000 00000000 00000003"
    )
    head = f"070702{fields.replace(' ', '')}00000214".encode()
    assert packed(tmp_path, {"ab": b"hello"}).getvalue().startswith(head + b"ab\0\0\0\0" + b"hello\0\0\0" + b"070702")


@pytest.mark.skipif(not shutil.which("cpio"), reason="needs cpio")
def test_cpio_reads_it_and_its_checksums_hold(tmp_path):
    contents = {"sw-description": b"x" * 1001, "b": b"", "rootfs.img": bytes(range(256)) * 40}
    raw = packed(tmp_path, contents).getvalue()
    (tmp_path / "out").mkdir()
    subprocess.run(["cpio", "-i", "--quiet", "--only-verify-crc"], input=raw, cwd=tmp_path / "out", check=True)
    subprocess.run(["cpio", "-i", "--quiet"], input=raw, cwd=tmp_path / "out", check=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == contents


@given(st.dictionaries(st.sampled_from(["a", "bc", "def", "sw-description"]), st.binary(max_size=50)))
def test_what_is_written_is_read(contents):
    out = io.BytesIO()
    for number, (name, content) in enumerate(contents.items(), 1):
        archive._header(out, number, name, len(content), sum(content))
        out.write(content + bytes(-len(content) % 4))
    archive._header(out, 0, archive.TRAILER, 0, 0)
    assert read(out) == contents


@given(st.binary(max_size=400), st.integers(0, 120))
def test_noise_is_an_ota_error(noise, keep):
    good = io.BytesIO()
    archive._header(good, 1, "a", 3, 0)
    for raw in (noise, good.getvalue()[:keep] + noise):
        try:
            read(io.BytesIO(raw))
        except OtaError:
            continue


def test_a_file_that_ends_too_soon_is_said(tmp_path):
    raw = packed(tmp_path, {"rootfs.img": bytes(1000)}).getvalue()
    with pytest.raises(OtaError, match=r"rootfs\.img: the file ends before it does"):
        read(io.BytesIO(raw[:600]))
