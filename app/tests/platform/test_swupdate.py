"""What SWUpdate's refusals mean: the words of two real versions, and any words at all."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcu.errors import UpdateError
from dcu.platform import swupdate
from dcu.platform.bootenv import Slot
from dcu.platform.version import Version

CAUSES = {
    "tampered-description": "signature",
    "foreign": "signature",
    "garbage-signature": "signature",
    "unsigned": "signature",
    "older": "version",
    "other-board": "hardware",
    "other-revision": "hardware",
    "tampered-image": "image",
    "missing-image": "image",
    "truncated": "image",
    "noise": "image",
}


def recorded():
    text = Path(__file__).with_name("swupdate-refusals.txt").read_text().partition("\n== ")[2]
    for part in text.split("\n== "):
        head, _, lines = part.partition("\n")
        yield pytest.param(head.split()[1], lines.splitlines(keepends=True), id=head.replace(" ", "-"))


@pytest.mark.parametrize(("case", "said"), list(recorded()))
def test_the_cause_is_found_in_what_a_real_swupdate_said(case, said):
    assert swupdate.refusal(said).cause == CAUSES[case]


def test_both_versions_are_there_with_every_cause():
    assert sorted(each.id for each in recorded()) == sorted(f"{v}-{c}" for v in ("2022.12", "2026.05") for c in CAUSES)


def test_an_older_version_is_named_with_the_way_out():
    said = next(each.values[1] for each in recorded() if each.id == "2026.05-older")
    assert str(swupdate.refusal(said)) == (
        "the update is refused: version 1.2.0 is older than 1.3.0, which was confirmed on this device: to go back on "
        "purpose, release the old software again under a higher version"
    )


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_last_line_does_not_lose_the_cause(lost):
    """SWUpdate's process ends before its log is written out, now and then."""
    for each in recorded():
        case, said = each.values
        kept = said[: len(said) - lost] if case != "tampered-image" else said
        assert swupdate.refusal(kept).cause == CAUSES[case]


@given(st.lists(st.text(max_size=60), max_size=10))
def test_whatever_it_says_is_an_update_error(said):
    error = swupdate.refusal(said)
    assert isinstance(error, UpdateError)
    assert error.cause


def test_an_encrypted_one_without_a_key_is_said_with_the_way_out():
    said = [
        "[ERROR] : SWUPDATE failed [0] ERROR swupdate_decrypt_openssl.c : openssl_DECRYPT_init : 36 : no key or iv\
 provided for decryption!\n",
        "[ERROR] : SWUPDATE failed [1] Installation failed !\n",
    ]
    found = swupdate.refusal(said)
    assert found.cause == "key"
    assert "dcu device update-key" in str(found)


def test_an_empty_file_is_no_update():
    said = [
        "[ERROR] : SWUPDATE failed [0] ERROR cpio_utils.c : extract_cpio_header : 937 : "
        "Cannot read CPIO header from stream 7: Early EOF\n"
    ]
    found = swupdate.refusal(said)
    assert found.cause == "image"
    assert "it is no .swu" in str(found)


def test_the_key_is_handed_over_where_there_is_one():
    given = {"target": Slot.B, "oldest": Version.parse("1.0"), "configuration": Path("/c")}
    command = swupdate.local("/x", **given, key=Path("/k"))
    assert command[command.index("-K") + 1] == "/k"
    assert "-K" not in swupdate.local("/x", **given)


def test_commands_name_the_other_bank_and_the_oldest_version():
    command = swupdate.local(
        "/tmp/x.swu", Slot.B, Version.parse("1.2"), configuration=Path("/run/swupdate/update.cfg"), check=True
    )
    assert " ".join(command) == "swupdate -v -f /run/swupdate/update.cfg -e stable,b -N 1.2 -c -i /tmp/x.swu"


def program(tmp_path, script):
    path = tmp_path / "swupdate"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return (str(path),)


def test_a_run_that_ends_well_is_told_line_by_line(tmp_path):
    heard = []
    line = "[INFO ] : SWUPDATE running :  [main] : Running on grid-dcu"
    swupdate.install(program(tmp_path, f"echo '{line}'; echo '[TRACE] : SWUPDATE running : x'"), heard.append)
    assert heard == ["[main] : Running on grid-dcu"]


def test_it_unpacks_where_it_is_told(tmp_path):
    swupdate.install(program(tmp_path, f'test "$TMPDIR" = {tmp_path}'), print, scratch=tmp_path)


def test_a_run_that_fails_is_a_refusal(tmp_path):
    line = "[ERROR] : SWUPDATE failed [0] ERROR : SW not compatible with hardware"
    with pytest.raises(UpdateError, match="other hardware") as refused:
        swupdate.install(program(tmp_path, f"echo '{line}' >&2; exit 1"), lambda said: None)
    assert refused.value.cause == "hardware"


def test_one_that_hangs_after_it_refused_is_ended(tmp_path, monkeypatch):
    """Seen of 2022.12 with an unsigned update, one time in some."""
    monkeypatch.setattr(swupdate, "LINGERS", 0.2)
    said = "echo 'ERROR : Signature verification failed'; echo '[ERROR] : SWUPDATE failed [1] Not installing ...'"
    with pytest.raises(UpdateError, match="signature does not hold"):
        swupdate.install(program(tmp_path, f"{said}; exec sleep 60"), lambda said: None)


def test_one_that_says_nothing_at_all_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(swupdate, "SILENT", 0.2)
    with pytest.raises(UpdateError, match="did not say why"):
        swupdate.install(program(tmp_path, "exec sleep 60"), print)


def test_a_flood_without_a_line_end_is_bounded(tmp_path):
    with pytest.raises(UpdateError):
        swupdate.install(program(tmp_path, "head -c 3000000 /dev/zero; exit 1"), print)


def test_it_reads_what_it_is_fed(tmp_path):
    pieces = [bytes([n]) * 100_000 for n in range(20)]
    swupdate.install(program(tmp_path, f"exec cat > {tmp_path}/read"), print, pieces=pieces)
    assert (tmp_path / "read").read_bytes() == b"".join(pieces)


def test_what_breaks_while_it_is_fed_is_the_error_that_is_told(tmp_path):
    def pieces():
        yield b"x" * 100_000
        raise UpdateError("broken off", "server")

    said = "echo '[ERROR] : SWUPDATE failed [0] ERROR cpio_utils.c : CPIO Header: bad'"
    with pytest.raises(UpdateError, match=r"^broken off$") as refused:
        swupdate.install(program(tmp_path, f"cat > {tmp_path}/read; {said}; exit 1"), print, pieces=pieces())
    assert refused.value.cause == "server"
    assert (tmp_path / "read").stat().st_size == 100_000


def test_one_that_refuses_at_once_is_fed_no_more(tmp_path):
    fed = []

    def pieces():
        for _ in range(10_000):
            fed.append(1)
            yield b"x" * 65536

    line = "[ERROR] : SWUPDATE failed [0] ERROR : SW not compatible with hardware"
    with pytest.raises(UpdateError, match="other hardware"):
        swupdate.install(program(tmp_path, f"head -c 10 > /dev/null; echo '{line}'; exit 1"), print, pieces=pieces())
    assert len(fed) < 10


def test_a_delta_that_fails_names_the_way_out(tmp_path):
    said = "[ERROR] : SWUPDATE failed [0] ERROR delta_handler.c : install_delta : 952 : Delta Update fails : aborting"
    error = swupdate.refusal([said])
    assert error.cause == "image"
    assert "install the full update" in str(error)


def test_no_swupdate_is_said(tmp_path):
    with pytest.raises(UpdateError, match="is this the device"):
        swupdate.install((str(tmp_path / "none"),), print)


def test_another_swupdate_is_seen(tmp_path):
    import socket

    assert not swupdate.busy(tmp_path / "control")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control"))
        listener.listen()
        assert swupdate.busy(tmp_path / "control")
    assert not swupdate.busy(tmp_path / "control")
