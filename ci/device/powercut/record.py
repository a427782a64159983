"""Records a device's life on its disks: first boot, a street of meters, one whole update, its confirmation.

What the host knows to have happened goes into the same sequence as marks; a mark always comes after what it tells.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from device import bank, disk, keys, swu, system, uboot
from device.cache import Run, built, tell
from device.powercut import talk
from device.qemu import Device
from device.street import HOST, Street
from ota.powercut import log, nbd, recorder

NEWER = "1.1.0"
METERS = 6
BOOT, READY, INSTALL = 240.0, 600.0, 900.0  # seconds on a loaded host
# A host that is slow for half a minute must not reset the device: what is recorded is the update, not the watchdog
UNWATCHED = ("-action", "watchdog=none")
SOURCES = (Path(__file__), Path(talk.__file__), Path(log.__file__), Path(nbd.__file__), Path(recorder.__file__))


class Recorded(Device):
    """A device whose disks are served, and recorded, by `recorder`."""

    def __init__(self, firmware: Path, disks: Path, home: Path, **options: Any) -> None:
        super().__init__(firmware, disks, **options)
        self.recorder = recorder.Recorder(home, {"card": self.card, "disk": self.disk}, ("card",))
        self._telling = threading.Lock()

    def drives(self) -> tuple[str, str]:
        return self.recorder.uri("card"), self.recorder.uri("disk")

    def mark(self, what: str, **facts: Any) -> None:
        with self._telling:
            self.recorder.mark(what, **facts)

    def __exit__(self, *of: Any) -> None:
        super().__exit__(*of)
        self.recorder.close()

    @contextmanager
    def listening(self) -> Iterator[int]:
        """Take marks from the guest by TCP; yields the port."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def hear() -> None:
                with suppress(OSError, ValueError):
                    connection, _ = server.accept()
                    for raw in connection.makefile("rb"):
                        facts = json.loads(raw)
                        self.mark(facts.pop("what"), **facts)

            threading.Thread(target=hear, daemon=True).start()
            yield server.getsockname()[1]

    @contextmanager
    def watching(self, street: Street) -> Iterator[None]:
        """Mark, twice a second, which invocation counters the meters have accepted."""
        ended = threading.Event()

        def look() -> None:
            before: Any = None
            while not ended.wait(0.5):
                seen = street.status()["counters"]
                if seen != before:
                    self.mark("counters", used=seen)
                    before = seen

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def release() -> Path:
    """The .swu of the update."""
    return swu.release(NEWER)


def described() -> dict[str, Any]:
    """What a checker must know of the device: where the environment is, who signs its FITs."""
    certificate = (keys.fit() / f"{keys.FIT}.crt").read_text()
    return {"environment": disk.copies(), "certificate": certificate, "older": system.VERSION, "newer": NEWER}


def update() -> Path:
    """Return the recording of a device's first boot, collection, update and confirmation; made where it is not kept."""
    firmware, disks, swu_file = uboot.build(), disk.build(bank.build(system.build())), release()
    inputs = [firmware.name, disks.name, swu_file.parent.name, *SOURCES, "recipe 1"]
    return built("powercut", inputs, lambda home, run: _life(home, run, firmware, disks, swu_file))


def _life(home: Path, run: Run, firmware: Path, disks: Path, swu_file: Path) -> None:
    medium = home / "medium.squashfs"
    run("mksquashfs", swu_file, medium, "-comp", "zstd", "-noD", "-no-progress", "-quiet")
    with (
        Street(METERS) as street,
        Recorded(firmware, disks, home, extra=[*medium_arguments(medium), *UNWATCHED]) as dut,
    ):
        dut.mark("device", **described())
        ready(dut)
        digest = dut.shell("sha256sum < /persist/dcu/collector.toml", BOOT).split()[0]
        dut.mark("provisioned", configuration=digest)
        with dut.watching(street), collecting(dut, street, 60):
            pass
        with dut.watching(street):
            install(dut)
            dut.mark("installed", slot="b")
            # Off and on: after the guest's own reboot Linux twice did not start from served disks (docs/reliability.md)
            with suppress(AssertionError):
                dut.shell("systemctl poweroff", check=False, timeout=5)
            dut.wait_off(BOOT)
            dut.start()
            dut.expect("slot b, upgrade_available 1, bootcount 1", BOOT)
            dut.booted(BOOT)
            confirmed(dut)
            dut.mark("confirmed", slot="b", version=NEWER)
            dut.shell("sleep 5")
    medium.unlink()


def medium_arguments(medium: Path) -> list[str]:
    """QEMU's arguments for a read-only disk with an update file."""
    drive = f"id=medium,if=none,format=raw,readonly=on,file={medium}"
    return ["-device", "virtio-blk-pci,drive=medium", "-drive", drive]


def ready(dut: Device) -> None:
    """Wait until the collector answers and the boot has been found good."""
    dut.booted(BOOT)
    state = dut.shell("systemctl is-system-running --wait", READY, check=False)
    if state != "running":
        raise AssertionError(f"{state}: {dut.shell('systemctl --failed --no-pager', BOOT, check=False)}")


@contextmanager
def collecting(dut: Recorded, street: Street, seconds: float) -> Iterator[None]:
    """Import the street; have the collector work and promise for so long, then go on."""
    dut.put("/run/talk.py", Path(talk.__file__).read_bytes())
    dut.put("/run/shipment.toml", street.shipment)
    dut.put("/run/transport.key", street.transport_key)
    with dut.listening() as port:
        command = f"/usr/lib/dcu/venv/bin/python3 /run/talk.py {HOST} {port} {seconds}"
        dut.shell(f"{command} > /run/talk.log 2>&1 & echo $! > /run/talk.pid")
        dut.shell("dcu meters import /run/shipment.toml --transport-key /run/transport.key", BOOT)
        dut.mark("imported", meters=METERS)
        yield
        dut.shell("while kill -0 $(cat /run/talk.pid); do sleep 1; done 2>/dev/null", seconds + BOOT, check=False)
        tell(f"powercut: the device said {dut.shell('cat /run/talk.log', BOOT)!r}")


def install(dut: Device) -> None:
    dut.shell("mkdir -p /run/medium && mount -o ro /dev/vdb /run/medium")
    dut.shell("dcu device update /run/medium/update.swu", INSTALL)


def confirmed(dut: Device) -> None:
    """Wait until the trial is over. Raises AssertionError: it was not confirmed."""
    end = time.monotonic() + READY
    while dut.shell("fw_printenv -n upgrade_available", BOOT) != "0":
        if time.monotonic() > end:
            raise AssertionError(dut.shell("journalctl -b -u 'dcu-*' --no-pager", BOOT))
        time.sleep(2)
    ready_again = dut.shell("systemctl is-system-running --wait", READY, check=False)
    if ready_again != "running" or "dcu.slot=b" not in dut.shell("cat /proc/cmdline", BOOT):
        raise AssertionError(f"after the confirm: {ready_again}")
