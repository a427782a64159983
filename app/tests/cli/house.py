"""A collector and its street, each a process of its own: `dcu run --config` and `neighbourhood meters`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dcu.cli import collector
from dcu.keys import shipment
from dcu.keys.wrapped import new_kek
from neighbourhood.identity import serial
from tests.cli.done import Done
from tests.cli.street import SEED

ONE, TWO, ILL = (serial(SEED, number) for number in (1, 2, 3))

FAMILY = """\
name = "simulated"
[security]
counter = "0-0:43.1.0*255"
[clock]
every = 864000.0
[[poll]]
profile = "1-0:99.1.0*255"
scheduled = 86400.0
history = 172800.0
"""
CONFIG = """\
system_title = "4443550000000001"
meter_profiles = "families"
trust_clock = "always"
log = "warning"
[keys]
file = "keys"
kek = "kek"
[store]
directory = "store"
[control]
socket = "control.sock"
[[medium]]
name = "lan"
addresses = ["tcp://*"]
"""


def command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", f"from {module} import main; main()", *map(str, arguments)]


@dataclass(slots=True)
class House:
    """A collector and its street. told: what the first commands printed."""

    folder: Path
    collector: "subprocess.Popen[bytes] | None" = None
    addresses: dict[str, str] = field(default_factory=dict)
    told: dict[str, Done] = field(default_factory=dict)

    @property
    def socket(self) -> Path:
        return self.folder / "control.sock"

    def dcu(self, *arguments: object) -> Done:
        """Run `dcu` in a process of its own."""
        environment = {**os.environ, "DCU_SOCKET": str(self.socket), "XDG_STATE_HOME": str(self.folder / "state")}
        done = subprocess.run(
            command("dcu.cli.main", *arguments), env=environment, cwd=self.folder, capture_output=True, text=True
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self) -> None:
        with (self.folder / "collector.log").open("ab") as log:
            self.collector = subprocess.Popen(
                command("dcu.cli.main", "run", "--config", "collector.toml"), cwd=self.folder, stderr=log
            )
        until(self.socket.is_socket)

    def stop(self) -> int:
        if self.collector is None:
            return 0
        self.collector.send_signal(signal.SIGTERM)
        code, self.collector = self.collector.wait(20), None
        return code


def until(holds: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def inhabited(folder: Path) -> Iterator[House]:
    """Three meters; the third answers nonsense."""
    here = House(folder)
    new_kek(here.folder / "kek")
    (here.folder / "families").mkdir()
    (here.folder / "families" / "simulated.toml").write_text(FAMILY)
    (here.folder / "collector.toml").write_text(CONFIG)
    options = ("--count", 3, "--seed", SEED, "--udp", "--fault", "nonsense:3", "--profile", "simulated", "--json")
    files = ("--shipment", "shipment.toml", "--transport-key", "transport.key")
    street = subprocess.Popen(
        command("neighbourhood.cli", "meters", *options, *files), cwd=here.folder, stdout=subprocess.PIPE
    )
    try:
        assert street.stdout
        assert json.loads(street.stdout.readline())["ready"]
        shipped = shipment.read(here.folder / "shipment.toml").meters
        here.addresses = {meter.name: meter.address.removeprefix("tcp://") for meter in shipped}
        here.start()
        here.told["meters"] = here.dcu("meters")
        here.told["import"] = here.dcu("meters", "import", "shipment.toml", "--transport-key", "transport.key")
        until(lambda: collected(here))
        yield here
    finally:
        here.stop()
        street.send_signal(signal.SIGTERM)
        street.communicate(timeout=20)


def collected(house: House) -> bool:
    rows = collector.ask(house.socket, "meters")
    return [row["readings"] >= 48 or row["state"] == "quarantined" for row in rows] == [True] * 3


def state(run, meter: str) -> str:
    return next(row["state"] for row in run("meters", "--json").json if row["name"] == meter)
