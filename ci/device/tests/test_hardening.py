"""What the device holds against whoever is on its network, at its console, or inside one of its processes."""

import json
import re
import socket
import time
from pathlib import Path

import pytest

from device import disk
from device.paths import BASE_FILES, ROOT
from device.qemu import Device
from device.tests.test_lastgasp import PYTHON, working

LIMIT = 2.0  # of systemd-analyze's exposure
DOCUMENT = ROOT / "docs" / "hardening.md"
PROBE = Path(__file__).with_name("probe.py")
# The collector's own unit, with the probe in its place; as a dcu-*.service it has the drop-in, too
SANDBOXED = """
sed -e 's|^ExecStart=.*|ExecStart=/usr/lib/dcu/venv/bin/python3 -I /run/probe.py /persist/dcu/probe.json|' \
    -e 's/^Type=.*/Type=oneshot/' -e '/^WatchdogSec\\|^Restart\\|^StartLimit\\|^RuntimeDirectory/d' \
    /usr/lib/systemd/system/dcu-collector.service > /run/systemd/system/dcu-probe.service
systemctl daemon-reload
systemctl start dcu-probe.service || journalctl -b -u dcu-probe.service --no-pager
cat /persist/dcu/probe.json
rm -f /persist/dcu/probe.json
"""
HARMLESS = [  # when there is no sandbox
    *("the device's identity and key-encryption key", "what else persist holds", "passwords", "the disk"),
    *("U-Boot's environment", "disarming the power-fail driver", "another process", "systemd", "the bus"),
    *("raw packets", "code that was data", "a real-time priority"),
]
SHELLS = {"bench-shell.service", "serial-getty@ttyAMA0.service"}  # only in ci/device/guest
NO_LOGIN = ("/usr/sbin/nologin", "/bin/false", "/usr/bin/false")
ABSENT = ("COREDUMP", "KEXEC", "KEXEC_FILE", "DEBUG_FS", "DEVMEM", "SWAP", "HIBERNATION", "IO_URING", "VT", "COMPAT")
SERVE = """
import socket, threading, time
def serve(port):
    server = socket.create_server(("0.0.0.0", port))
    while True:
        server.accept()[0].sendall(b"here")
for port in (8080, 4059):
    threading.Thread(target=serve, args=(port,), daemon=True).start()
time.sleep(90)
"""


@pytest.fixture(scope="module")
def dut(good, firmware):
    """One device for all of these: they only look."""
    with Device(firmware, disk.build(good, good)) as made:
        working(made)
        yield made


# --- what may not be changed


def test_the_root_cannot_be_written(dut):
    for path in ("/usr/bin/x", "/x", "/usr/lib/dcu/x", "/boot/x"):
        assert "Read-only file system" in dut.shell(f"touch {path}", check=False), path
    assert "exit 0" not in dut.shell("mount -o remount,rw / 2>&1; echo exit $?")
    assert "exit 0" not in dut.shell("dd if=/dev/zero of=/dev/dm-0 bs=4096 count=1 conv=fsync 2>&1; echo exit $?")
    assert dut.shell("touch /run/x && echo touched") == "touched"  # where it is allowed, it is seen


def test_every_system_setting_has_taken(dut):
    settings = re.findall(r"^(-?)([\w.]+) = (.*)$", (BASE_FILES / "90-dcu-sysctl.conf").read_text(), re.MULTILINE)
    assert len(settings) > 30
    paths = " ".join("/proc/sys/" + name.replace(".", "/") for _, name, _ in settings)
    shown = dut.shell(f'for path in {paths}; do echo "$path=$(cat $path 2>/dev/null || echo none)"; done')
    found = dict(line.split("=", 1) for line in shown.splitlines())
    wrong = []
    for optional, name, value in settings:
        now = found["/proc/sys/" + name.replace(".", "/")]
        if now != value and not (optional and now == "none"):
            wrong.append(f"{name} = {now}, not {value}")
    assert wrong == []


def test_the_kernel_gives_nothing_away_and_takes_nothing_unsigned(dut):
    for path in ("/dev/mem", "/dev/port", "/proc/kcore", "/sys/kernel/debug/gpio"):
        assert "No such file" in dut.shell(f"ls {path}", check=False), path
    assert set(dut.shell("cut -c1-16 /proc/kallsyms | sort -u").split()) == {"0" * 16}
    config = dut.shell("zcat /proc/config.gz")
    assert "CONFIG_MODULE_SIG_FORCE=y" in config
    assert [symbol for symbol in ABSENT if f"CONFIG_{symbol}=y" in config] == []
    assert "[confidentiality]" in dut.shell("cd /sys/kernel/security; echo none > lockdown; cat lockdown")
    dut.shell("modprobe gpio-sim && rmmod gpio_sim")
    dut.shell("cp $(modinfo -n gpio-sim) /run/m.ko && truncate -s -20 /run/m.ko")
    assert "Key was rejected" in dut.shell("insmod /run/m.ko", check=False)


def test_no_program_gives_its_caller_more_rights(dut):
    assert dut.shell("find / -xdev -type f -perm /6000", 120).split() == []


# --- who may come in


def test_nobody_can_log_in(dut):
    shadow = [line.split(":") for line in dut.shell("cat /etc/shadow").splitlines()]
    assert len(shadow) > 10
    assert [name for name, password, *_ in shadow if password[:1] not in ("!", "*")] == []
    users = [line.split(":") for line in dut.shell("cat /etc/passwd").splitlines()]
    assert {user[0] for user in users if user[6] not in NO_LOGIN} <= {"root", "sync"}
    assert dut.shell("for name in sshd dropbear telnetd; do command -v $name; done; true") == ""
    assert dut.shell("find / -xdev -name 'authorized_keys*'") == ""


def test_only_the_bench_has_shells(dut):
    pattern = "'*getty*' '*shell*' '*login*' emergency.service rescue.service"
    listed = dut.shell(f"systemctl list-units --all --type=service --no-legend --plain --no-pager {pattern}")
    active = {line.split()[0] for line in listed.splitlines() if line.split()[2] == "active"}
    assert active - {"systemd-logind.service"} == SHELLS
    for unit in SHELLS:
        given = dut.shell(f"systemctl show -p FragmentPath -p DropInPaths {unit}")
        assert "bench-shell.service" in given or "serial-autologin.conf" in given, given


def test_exactly_the_documented_ports_listen(dut):
    """The table of docs/hardening.md is the device's, line for line."""
    documented = set(re.findall(r"^\| (tcp|udp) \| (\S+) \| (\d+) \|", DOCUMENT.read_text(), re.MULTILINE))
    listening = set()
    for row in map(str.split, dut.shell("ss -Htuln").splitlines()):
        where, _, port = row[4].rpartition(":")
        where = where.partition("%")[0].strip("[]")
        listening.add((row[0], "own" if where.startswith("10.0.2.") else where, port))
    assert documented
    assert listening == documented


def test_the_packet_filter_drops_what_nobody_documented(dut):
    rules = dut.shell("nft list ruleset")
    for hook in ("input", "forward"):
        assert f"hook {hook} priority filter; policy drop;" in rules
    dut.put("/run/serve.py", SERVE.encode())
    dut.shell(f"{PYTHON} /run/serve.py >/dev/null 2>&1 &")
    end = time.monotonic() + 60
    while dut.shell("ss -Htln | grep -c ':8080\\|:4059'", check=False) != "2":
        assert time.monotonic() < end
    assert {port: reached(dut, port) for port in (8080, 4059)} == {8080: False, 4059: True}  # 4059: meters push there


def reached(dut, port):
    """Whether this host reaches a port of the device."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        here = free.getsockname()[1]
    dut.qmp.command("human-monitor-command", **{"command-line": f"hostfwd_add net tcp:127.0.0.1:{here}-:{port}"})
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", here), 3) as link:
                link.settimeout(5)
                if link.recv(10) == b"here":
                    return True
        except OSError:
            pass
        time.sleep(0.2)
    return False


# --- what a process of ours may do


def exposure(dut, unit):
    said = dut.shell(f"systemd-analyze security --no-pager {unit}", 120)
    return float(re.search(r"exposure level for \S+: ([0-9.]+)", said)[1])


def test_every_service_of_ours_is_exposed_to_two_at_most(dut):
    listed = dut.shell("systemctl list-unit-files --type=service --no-legend --no-pager 'dcu-*'")
    units = [line.split()[0].replace("@.", "@x.") for line in listed.splitlines()]
    assert {"dcu-collector.service", "dcu-confirm.service", "dcu-gurux@x.service"} < set(units)
    found = {unit: exposure(dut, unit) for unit in units}
    assert {unit: level for unit, level in found.items() if level > LIMIT} == {}
    assert exposure(dut, "bench-shell.service") > LIMIT  # the canary


def test_the_collectors_sandbox_lets_it_do_its_work_and_nothing_else(dut):
    dut.put("/run/probe.py", PROBE.read_bytes())
    seen = json.loads(dut.shell(SANDBOXED, 120))
    done = {name for name, outcome in seen["found"].items() if outcome == "done"}
    assert done & set(seen["forbidden"]) == set()
    assert {name: outcome for name, outcome in seen["found"].items() if name not in seen["forbidden"]} == dict.fromkeys(
        seen["found"].keys() - set(seen["forbidden"]), "done"
    )


def test_canary_without_a_sandbox_the_probe_gets_everywhere(dut):
    dut.put("/run/probe.py", PROBE.read_bytes())
    names = " ".join(f'"{name}"' for name in HARMLESS)
    seen = json.loads(dut.shell(f"{PYTHON} /run/probe.py /run/probe.json {names} && cat /run/probe.json"))
    assert seen["found"] == dict.fromkeys(HARMLESS, "done")


def test_a_collector_that_crashes_leaves_no_core(dut):
    main = dut.shell("systemctl show -p MainPID --value dcu-collector.service")
    assert re.search(r"Max core file size +0 +0 ", dut.shell(f"cat /proc/{main}/limits"))
    assert dut.shell(f"stat -c %U /proc/{main}/mem") == "root"  # not dumpable: its own user may not look, either
    assert "No such file" in dut.shell("cat /proc/swaps", check=False)
    dut.shell(f"kill -ABRT {main}")
    end = time.monotonic() + 120
    while dut.shell("systemctl show -p MainPID --value dcu-collector.service") in (main, "0"):
        assert time.monotonic() < end
        time.sleep(1)
    assert (
        dut.shell(
            "find / -xdev \\( -name 'core' -o -name 'core.*' -o -name '*.core' \\) -type f -size +64k"
            " -not -path '/proc/*' -not -path '/usr/*' -not -path '/sys/*'",
            60,
        )
        == ""
    )
