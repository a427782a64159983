"""The `neighbourhood` command: what it prints, and that a mistake is told what is allowed."""

import json
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dcu.keys import keysfile
from neighbourhood import truth
from neighbourhood.cli import run


def test_truth_is_printed_as_csv_and_as_json(capsys):
    span = ("--from", "2025-11-20T00:00:00Z", "--to", "2025-11-20T01:00:00+00:00", "--seed", "7")
    assert run(["truth", "--meter", "4", *span]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = truth.captured(7, 4, 1_763_596_800)
    assert lines[1] == ",".join(map(str, ("GDM000700004", first.timestamp, *first.registers)))
    assert len(lines) == 3
    assert run(["truth", "--count", "2", "--json", *span]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["meter"] for row in rows] == ["GDM000700001"] * 2 + ["GDM000700002"] * 2
    assert rows[0]["import_wh"] == truth.captured(7, 1, 1_763_596_800).registers.active_import


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["meters", "--count", "0"], "1<=x<=10000"),
        (["meters", "--fault", "loud:1"], "KIND is one of nonsense, garbage, replays"),
        (["meters", "--count", "2", "--fault", "silent:3"], "there are 1-2"),
        (["meters", "--addresses", "10.1.2.3"], "stay on 127.0.0.0/8"),
        (["meters", "--addresses", "nowhere"], "does not appear to be an IPv4"),
        (["meters", "--zone", "Europe/Atlantis"], "as in Europe/Vienna"),
        (["meters", "--start", "noon"], "as in 2025-11-20T12:00:00Z"),
        (["meters", "--push", "here"], "write HOST:PORT"),
        (["meters", "--shipment", "x"], "go together"),
        (["meters", "--base-port", "65530", "--count", "48"], "leaves no port"),
        (["meters", "--listen", "192.0.2.1", "--count", "1"], "cannot listen on 192.0.2.1:0"),
        (["meters", "--count", "1", "--shipment", "/nowhere/s", "--transport-key", "/nowhere/k"], "cannot be written"),
        (["meter"], "--tcp PORT, --udp PORT, --pty LINK or --serial DEVICE"),
        (["meter", "--tcp", "0"], "--auth gmac needs --keys FILE"),
        (["meter", "--tcp", "0", "--keys", "/nowhere/keys.toml"], "/nowhere/keys.toml: cannot be read"),
        (["meter", "--tcp", "0", "--auth", "none", "--generate"], "--generate needs --keys FILE"),
        (["meter", "--tcp", "0", "--pty", "x"], "a meter is on a line (--pty, --serial), or at a port"),
        (["meter", "--tcp", "0", "--auth", "none", "--mode-e", "--echo"], "--echo, --mode-e: of a line"),
        (["meter", "--udp", "0", "--auth", "none", "--sn"], "--sn over UDP"),
        (["meter", "--pty", "/nowhere/line", "--auth", "none"], "--pty /nowhere/line: cannot be made: No such file"),
        (["meter", "--tcp", "0", "--listen", "meter.invalid", "--auth", "none"], "meter.invalid:0: Name or service"),
        (["meter", "--tcp", "0", "--auth", "none", "--status", "/nowhere/s"], "--status /nowhere/s: cannot be written"),
        (["firmware", "/nowhere/image"], "/nowhere/image: cannot be written"),
        (["demo", "--meters", "0"], "1<=x<=10000"),
    ],
)
def test_a_mistake_is_told_what_is_allowed_and_never_with_a_traceback(arguments, told, capsys):
    assert run(arguments) in (2, 3)
    said = capsys.readouterr().err
    assert told in " ".join(said.split())
    assert "Traceback" not in said


def test_a_keys_file_is_generated_once_readable_by_its_owner_only(tmp_path, capsys):
    keys = tmp_path / "keys.toml"
    command = ["meter", "--tcp", "0", "--keys", str(keys), "--generate", "--duration", "0.05"]
    assert run(command) == 0
    assert f"--keys {keys}" in capsys.readouterr().out
    assert keys.stat().st_mode & 0o777 == 0o600
    assert keysfile.load(keys).meter_keys().system_title.startswith(b"GDM")
    before = keys.read_text()
    assert run(command) == 3
    assert "exists" in capsys.readouterr().err
    assert keys.read_text() == before


def test_a_keys_file_that_does_not_do_is_not_left_in_the_way_of_the_next_try(tmp_path, capsys):
    command = ["meter", "--tcp", "0", "--keys", str(tmp_path / "k"), "--generate", "--duration", "0.05", "--signed"]
    assert run(command) == 2
    assert "security suite 1 or 2" in capsys.readouterr().err
    assert run([*command, "--suite", "1"]) == 0


def test_a_pseudo_terminals_name_takes_no_file_away(tmp_path, capsys):
    file, link = tmp_path / "meter.toml", tmp_path / "line"
    file.write_text("keys")
    command = ["meter", "--auth", "none", "--duration", "0.05", "--pty"]
    assert run([*command, str(file)]) == 3
    assert f"{file}: there is such a file" in capsys.readouterr().err
    assert file.read_text() == "keys"
    link.symlink_to("/dev/pts/of-a-meter-that-was-killed")
    assert run([*command, str(link)]) == 0
    assert not link.is_symlink()


@pytest.mark.parametrize(("auth", "options"), [("none", []), ("low", ["--keys", "k"]), ("gmac", ["--keys", "k"])])
def test_one_meter_is_read_by_the_products_command(auth, options, tmp_path):
    environment = {"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(tmp_path)}
    generate = ["--generate"] if options else []
    command = [sys.executable, "-m", "neighbourhood", "meter", "--tcp", "0", "--json", "--seed", "7"]
    with subprocess.Popen(
        [*command, "--start", "2025-11-20T12:00:00Z", "--speed", "0", "--auth", auth, *options, *generate],
        stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment,
    ) as meter:  # fmt: skip
        try:
            port = json.loads(meter.stdout.readline())["tcp"]
            done = subprocess.run(
                [sys.executable, "-c", "from dcu.cli.main import main; main()", "read", "--json", "--auth", auth,
                 "--tcp", f"127.0.0.1:{port}", "--client", "1", *options, "1-0:1.8.0*255"],
                capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60,
            )  # fmt: skip
        finally:
            meter.send_signal(signal.SIGINT)
            assert meter.wait(10) == 0
    assert done.returncode == 0, done.stderr
    assert str(truth.registers(7, 1, 1_763_640_000).active_import) in done.stdout


@pytest.mark.parametrize(
    "options",
    [
        "--udp 0 --auth md5",
        "--tcp 0 --auth ecdsa --suite 2 --general-blocks",
        "--tcp 0 --framing hdlc --auth sha1",
        "--udp 0 --framing hdlc --auth sha256 --ciphered",
        "--tcp 0 --auth gmac --protection general",
        "--tcp 0 --auth sha256 --ciphered --suite 1 --protection static",
        "--pty line --auth ecdsa --suite 2 --protection one-pass --signed",
        "--pty line --auth high",
        "--pty line --auth gmac --sn --suite 1",
        "--pty line --auth low --mode-e --echo",
        "--pty line --auth none --mode-c",
        "--tcp 0 --auth none --ciphered --listen ::1",
        "--tcp 0 --auth gmac --sn --pre-established",
        "--udp 0 --auth low --pre-established",
    ],
)
def test_a_meter_serves_every_mode_and_what_it_says_to_try_reads_it(options, tmp_path):
    app = Path(__file__).parents[2]
    environment = {"PATH": "/usr/bin:/bin", "XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": str(app)}
    generate = [] if "none" in options and "--ciphered" not in options else ["--keys", "k", "--generate"]
    command = [sys.executable, "-m", "neighbourhood", "meter", "--seed", "7", "--start", "2025-11-20T12:00:00Z"]
    with subprocess.Popen(
        [*command, "--speed", "0", *options.split(), *generate],
        stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment,
    ) as meter:  # fmt: skip
        try:
            said = iter(meter.stdout.readline, "Ctrl-C ends\n")
            tried = [shlex.split(line) for line in said if line.startswith("  dcu ")]
            done = [
                subprocess.run(
                    [sys.executable, "-c", "from dcu.cli.main import main; main()", *words, "--json"],
                    capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60,
                )
                for _, *words in tried
            ]  # fmt: skip
        finally:
            meter.send_signal(signal.SIGINT)
            assert meter.wait(10) == 0
    counted = truth.registers(7, 1, 1_763_640_000).active_import
    shown = f"{counted / 1000:010.3f}" if "--mode-c" in options else str(counted)
    assert len(done) == 1 + ("--pre-established" in options)
    for each in done:
        assert each.returncode == 0, each.stderr
        assert shown in each.stdout
