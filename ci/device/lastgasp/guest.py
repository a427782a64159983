"""A kernel in QEMU with the module's device-tree node, the power-fail line in the test's hand, the agent as process 1.

The line is pin 3 of the virt machine's PL061, set through QEMU's qtest socket: QMP's system_powerdown would give a
pulse of 100 ms, here a level stays. Booted once, the machine's state is kept; each test goes back to it at once.
"""

# ruff: noqa: S603  (it runs QEMU: that is its work)

import json
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from device.cache import BuildError, tool

PIN = 3
MODULE = "/lastgasp.ko"
SYSFS = "/sys/class/misc/lastgasp"
DRIVER = "/sys/bus/platform/drivers/lastgasp"


class Guest:
    """Use as a context manager: the machine ends with it."""

    def __init__(
        self,
        kernel: Path,
        module: Path,
        agent: Path,
        node: Mapping[str, int],
        *,
        more: Mapping[str, Mapping[str, int]] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        tool("qemu-system-aarch64", "qemu-img", "dtc", "fdtput", "fdtget")
        self._home = tempfile.TemporaryDirectory(prefix="lastgasp-")
        home = Path(self._home.name)
        _tree(home, {"power-fail": node, **(more or {})})
        (home / "initramfs").write_bytes(initramfs({"init": agent.read_bytes(), "lastgasp.ko": module.read_bytes()}))
        _run("qemu-img", "create", "-q", "-f", "qcow2", str(home / "state"), "1G")
        command = [*_machine(), "-dtb", str(home / "dtb"), "-kernel", str(kernel), "-initrd", str(home / "initramfs")]
        command += [
            "-append",
            "console=ttyAMA0 panic=1 loglevel=4",
            "-drive",
            f"if=none,format=qcow2,file={home}/state",
        ]
        for name in ("serial", "qmp", "qtest"):
            command += [f"-{name}", f"unix:{home}/{name}.sock,server=on,wait=off"]
        command += ["-qtest-log", "none", "-display", "none", "-no-shutdown", *options]
        self._log = (home / "qemu.log").open("wb")
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, stdin=subprocess.DEVNULL)
        self._serial = _Lines(home / "serial.sock", self._process)
        self._qmp = _Lines(home / "qmp.sock", self._process)
        self._qtest = _Lines(home / "qtest.sock", self._process)
        self._pending: list[dict[str, Any]] = []  # QMP events
        self.console: list[str] = []
        self.saved = False
        self.reset = False  # how the last `off` came

    def __enter__(self) -> "Guest":
        self._qmp.line(10)
        self.qmp("qmp_capabilities")
        self.qmp("set-action", reboot="shutdown")
        children = self.qmp("qom-list", path="/machine/unattached")
        self._gpio = next(each["name"] for each in children if each["type"] == "child<pl061>")
        self.expect("agent", 120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()
        for each in (self._serial, self._qmp, self._qtest):
            each.close()
        self._home.cleanup()

    # --- the machine

    def line(self, level: int) -> float:
        """Set the power-fail line; return when (host's monotonic clock)."""
        self._qtest.send(f"set_irq_in /machine/unattached/{self._gpio} unnamed-gpio-in {PIN} {level}")
        at = time.monotonic()
        answer = self._qtest.line(5)
        if not answer.startswith("OK"):
            raise BuildError(f"qtest: {answer}")
        return at

    def qmp(self, command: str, **arguments: object) -> Any:
        self._qmp.send(json.dumps({"execute": command, "arguments": arguments}))
        while True:
            answer = json.loads(self._qmp.line(60))
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise BuildError(f"QMP {command}: {answer['error']}")
            self._pending.append(answer)

    def save(self) -> None:
        self._monitor("savevm ready")
        self.saved = True

    def restore(self) -> None:
        """Go back to what was saved: memory, devices, the machine's clock."""
        if self._status() == "shutdown":  # a machine that is off has to be reset before it may go on
            self.qmp("set-action", reboot="reset")
            self.qmp("system_reset")
            while self._status() == "shutdown":
                time.sleep(0.01)
            self.qmp("set-action", reboot="shutdown")
        self._monitor("loadvm ready")
        self.qmp("cont")
        self._serial.clear()
        self._pending.clear()
        self.console.clear()

    def off(self, seconds: float) -> float | None:
        """Wait until the guest has powered off or was reset (`reset` tells); return when (host's monotonic clock)."""
        end = time.monotonic() + seconds
        at = None
        while at is None and (left := end - time.monotonic()) > 0:
            try:
                self._pending.append(json.loads(self._qmp.line(left)))
            except TimeoutError:
                break
            if self._pending[-1].get("event") == "SHUTDOWN":
                at = time.monotonic()
                self.reset = self._pending[-1]["data"]["reason"] == "guest-reset"
        try:
            while True:
                self.console.append(self._serial.line(0.2))
        except TimeoutError:
            return at

    # --- the agent

    def ask(self, command: str, seconds: float = 5) -> str:
        """Let the agent obey; return its answer without the command's name."""
        self._serial.send(command)
        return self.expect(command.split()[0], seconds)

    def get(self, attribute: str) -> str:
        return self.ask(f"get {SYSFS}/{attribute}").removeprefix("is ")

    def put(self, attribute: str, text: str) -> str:
        return self.ask(f"put {SYSFS}/{attribute} {text}")

    def tell(self, command: str) -> None:
        """Let the agent obey without waiting for an answer."""
        self._serial.send(command)

    def expect(self, word: str, seconds: float = 5) -> str:
        """Return the rest of the next line of the agent that begins with `word`; TimeoutError without one."""
        end = time.monotonic() + seconds
        while True:
            text = self.hear(max(end - time.monotonic(), 0.001))
            if text.startswith("LG ") and text.split()[1] == word:
                return text.split(" ", 2)[2] if text.count(" ") > 1 else ""

    def hear(self, seconds: float) -> str:
        """Return the next line of the console."""
        self.console.append(self._serial.line(seconds))
        return self.console[-1]

    def silent(self, word: str, seconds: float) -> bool:
        """Tell whether the agent says nothing that begins with `word` for so long."""
        try:
            self.expect(word, seconds)
        except TimeoutError:
            return True
        return False

    def _status(self) -> object:
        return self.qmp("query-status")["status"]

    def _monitor(self, command: str) -> None:
        if said := self.qmp("human-monitor-command", **{"command-line": command}):
            raise BuildError(f"QEMU, {command}: {said}")


class _Lines:
    """A socket that speaks in lines."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 20
        while True:
            try:
                self._socket.connect(str(path))
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    raise BuildError(f"QEMU: {(path.parent / 'qemu.log').read_text()}") from None
                time.sleep(0.05)
        self._rest = b""

    def send(self, text: str) -> None:
        self._socket.sendall(text.encode() + b"\n")

    def line(self, seconds: float) -> str:
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            self._socket.settimeout(max(end - time.monotonic(), 0.001))
            got = self._socket.recv(65536)
            if not got:
                raise BuildError("QEMU hung up")
            self._rest += got
        text, _, self._rest = self._rest.partition(b"\n")
        return text.decode(errors="replace").strip("\r")

    def clear(self) -> None:
        self._socket.setblocking(False)
        try:
            while self._socket.recv(65536):
                pass
        except BlockingIOError:
            self._rest = b""

    def close(self) -> None:
        self._socket.close()


def initramfs(files: Mapping[str, bytes]) -> bytes:
    """Return a cpio archive (newc) with a few programs and the directories that the agent mounts on."""
    entries = [(name, 0o040755, b"") for name in ("dev", "proc", "sys")]
    entries += [(name, 0o100755, content) for name, content in files.items()]
    archive = b""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")]):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08X" % each for each in fields) + name.encode() + b"\0"
        archive += header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4)
    return archive


def _machine() -> list[str]:
    return ["qemu-system-aarch64", "-nodefaults", "-M", "virt,acpi=off", "-cpu", "cortex-a57", "-smp", "2", "-m", "256"]


def _tree(home: Path, nodes: Mapping[str, Mapping[str, int]]) -> None:
    """Write the virt machine's device tree with our nodes instead of gpio-keys."""
    tree = str(home / "dtb")
    words = _machine()
    words[words.index("-M") + 1] += f",dumpdtb={tree}"
    _run(*words, "-display", "none")
    _run("fdtput", "-r", tree, "/gpio-keys")
    phandle = _run("fdtget", "-t", "x", tree, "/pl061@9030000", "phandle").strip()
    for name, node in nodes.items():
        _run("fdtput", "-c", tree, f"/{name}")
        _run("fdtput", "-t", "s", tree, f"/{name}", "compatible", "grid-dcu,last-gasp")
        _run("fdtput", "-t", "x", tree, f"/{name}", "power-fail-gpios", phandle, f"{PIN:x}", "0")
        for key, value in node.items():
            _run("fdtput", "-t", "i", tree, f"/{name}", f"grid-dcu,{key}", str(value))


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise BuildError(f"{' '.join(command)[:200]}: {done.stderr[-500:]}")
    return done.stdout
