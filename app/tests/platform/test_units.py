"""The units of the payload: each sandboxed to 2.0 or below, each with all that it runs, each saying what it reaches."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

LAYER = Path(__file__).parents[3] / "meta-grid-dcu"
FILES = [*LAYER.glob("recipes-*/*/files/*")]
# Not on any device: the one service of the factory's card, whose work is to overwrite disks
FACTORY = "dcu-factory.service"
SERVICES = sorted(
    path for path in FILES if path.name.startswith("dcu-") and path.suffix == ".service" and path.name != FACTORY
)
COMMON = LAYER / "recipes-metering/dcu/files/10-hardened.conf"
LIMIT = 2.0


def offline():
    """Whether systemd-analyze can judge a unit without a running systemd."""
    if not shutil.which("systemd-analyze"):
        return False
    return "--offline" in subprocess.run(["systemd-analyze", "--help"], capture_output=True, text=True).stdout


needs_systemd = pytest.mark.skipif(not offline(), reason="needs systemd-analyze 250 or later")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root with our units where a device has them."""
    made = tmp_path_factory.mktemp("root")
    units = made / "usr/lib/systemd/system"
    (units / "dcu-.service.d").mkdir(parents=True)
    (made / "etc/systemd/system").mkdir(parents=True)
    for path in FILES:
        if path.suffix in (".service", ".socket", ".timer", ".mount"):
            shutil.copy(path, units)
    shutil.copy(COMMON, units / "dcu-.service.d")
    return made


def exposure(root, name):
    command = ["systemd-analyze", "security", "--offline=yes", f"--root={root}", "--no-pager", name]
    said = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"exposure level for \S+: ([0-9.]+)", said.stdout)
    assert found, said.stdout + said.stderr
    return float(found[1])


@needs_systemd
@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.stem)
def test_every_service_of_ours_is_at_most_two(root, unit):
    assert exposure(root, unit.name.replace("@", "@x")) <= LIMIT


@needs_systemd
def test_canary_a_service_without_its_sandbox_is_found(root, tmp_path):
    shutil.copytree(root, tmp_path / "root")
    shutil.rmtree(tmp_path / "root/usr/lib/systemd/system/dcu-.service.d")
    assert exposure(tmp_path / "root", "dcu-collector.service") > LIMIT


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.stem)
def test_no_service_relaxes_what_holds_for_all(unit):
    """A drop-in wins over the unit: a line that both have would say one thing and do another."""
    fixed = {line.partition("=")[0] for line in COMMON.read_text().splitlines() if "=" in line and line[0] != "#"}
    own = {line.partition("=")[0] for line in unit.read_text().splitlines() if "=" in line and line[0] != "#"}
    assert not (fixed & own) - {"Environment"}


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.stem)
def test_every_service_says_what_it_reaches(unit):
    assert "\n# Reaches: " in unit.read_text()


def test_every_script_that_a_unit_runs_is_in_the_payload_and_executable():
    named = {name for unit in SERVICES for name in re.findall(r"/usr/lib/dcu/([\w-]+)(?!\S*\.conf)", unit.read_text())}
    scripts = {path.name: path for path in FILES}
    for name in named - {"dcu-persist"}:
        assert scripts[name].stat().st_mode & 0o111, name


@pytest.mark.parametrize("script", [p for p in FILES if p.is_file() and p.read_bytes()[:9] == b"#!/bin/sh"], ids=str)
def test_every_script_is_one_that_a_shell_can_read(script):
    assert subprocess.run(["sh", "-n", script]).returncode == 0


def test_the_trial_script_tells_a_trial_from_everything_else(tmp_path):
    script = (LAYER / "recipes-metering/dcu/files/on-trial").read_text()
    for cmdline, upgrade, slot, trial in (
        ("console=x dcu.slot=b quiet", "1", "b", True),
        ("dcu.slot=b", "1", "a", False),
        ("dcu.slot=b", "0", "b", False),
        ("quiet", "1", "b", False),
        ("dcu.slot=b", "", "", False),
    ):
        (tmp_path / "cmdline").write_text(cmdline + "\n")
        tool = tmp_path / "fw_printenv"
        tool.write_text(f'#!/bin/sh\ncase "$2" in slot) echo {slot};; *) echo {upgrade};; esac\n')
        tool.chmod(0o755)
        done = subprocess.run(
            ["sh", "-c", script.replace("/proc/cmdline", str(tmp_path / "cmdline"))],
            env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        )
        assert (done.returncode == 0) is trial, (cmdline, upgrade, slot)


@pytest.mark.parametrize(
    ("trial", "result", "ended", "given_way", "reset"),
    [
        (True, "exit-code", "exited:1", True, True),
        (True, "exit-code", "exited:3", True, True),  # the new software does not take this device's configuration
        (False, "exit-code", "exited:1", False, True),
        (False, "signal", "killed:6", False, True),
        (False, "signal", "killed:3", False, True),
        (False, "start-limit-hit", ":", False, True),
        (False, "exit-code", "exited:3", False, False),  # no reset makes a configuration right
        (False, "success", ":", False, False),  # it never began: persist is lost, say
        (True, "", ":", False, False),
    ],
)
def test_a_collector_that_failed_for_good_gives_way_on_trial_and_else_has_the_device_reset(
    tmp_path, trial, result, ended, given_way, reset
):
    """The script's exit decides over a reset; what confirms or rolls back is a command that notes that it was asked."""
    script = (LAYER / "recipes-metering/dcu/files/collector-failed").read_text()
    asked, tool = tmp_path / "asked", tmp_path / "dcu"
    tool.write_text(f'#!/bin/sh\necho "$@" > {asked}\nexit 11\n')
    tool.chmod(0o755)
    text = script.replace("/usr/lib/dcu/on-trial", "true" if trial else "false").replace("/usr/bin/dcu", str(tool))
    code, _, status = ended.partition(":")
    monitored = {"SERVICE_RESULT": result, "EXIT_CODE": code, "EXIT_STATUS": status}
    environment = {"PATH": "/usr/bin:/bin", **{f"MONITOR_{name}": text for name, text in monitored.items() if text}}
    assert (subprocess.run(["sh", "-c", text], env=environment).returncode != 0) is reset
    assert asked.exists() is given_way
    assert not given_way or asked.read_text() == "device confirm --or-roll-back\n"


def test_who_hears_of_the_collectors_failure_hears_of_the_last_one_only():
    """systemd runs OnFailure= at each failure that it starts a service anew from, unless RestartMode= is direct."""
    unit = (LAYER / "recipes-metering/dcu/files/dcu-collector.service").read_text().splitlines()
    assert {"Restart=on-failure", "RestartMode=direct", "OnFailure=dcu-collector-failed.service"} <= set(unit)
