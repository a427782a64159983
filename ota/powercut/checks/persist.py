"""The persist partition after a power cut: provisioning runs on it as at the next boot."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from dcu.credentials import Secret
from dcu.errors import DcuError
from dcu.keys.wrapped import WrappedKeys
from dcu.platform.machine import Machine
from dcu.platform.provision import CREDENTIAL, MARK, Provisioning, State
from dcu.platform.update import RollbackIndex
from dcu.platform.version import Version

TEMPLATE = Path(__file__).resolve().parents[3] / "meta-grid-dcu/recipes-metering/dcu/files/collector.toml"
FOLDERS = ("device", "device.twin", "dcu", "dcu.twin")
TAKEN = (*FOLDERS, MARK)  # what of persist is looked at


@dataclass(frozen=True, slots=True)
class Persisted:
    """state: before provisioning; configuration: digest of collector.toml after it; keys: meters whose keys open."""

    wrong: tuple[str, ...]
    state: State
    title: str = ""
    configuration: str = ""
    index: Version | None = None
    keys: frozenset[str] = frozenset()
    generation: int = 0  # of the key file


def examine(directory: Path) -> Persisted:
    """`directory` has what persist holds; it is changed, as a boot would change it."""
    for name in FOLDERS:  # dcu-persist-tree.service makes them
        (directory / name).mkdir(exist_ok=True)
    run = directory / "run"
    run.mkdir()
    machine = Machine(
        persist=directory,
        credentials=run,
        template=TEMPLATE,
        serial=run / "none",
        recreated=run / "recreated",
        restored=run / "restored",
        mounted=lambda _: True,
    )
    provisioning = Provisioning(machine)
    state = provisioning.state()
    try:
        identity = provisioning.run().identity
        keys, generation = _keys(machine)
    except DcuError as error:
        return Persisted((f"persist ({state}): {error}",), state)
    configuration = machine.persist / "dcu/collector.toml"
    text = configuration.read_bytes()
    wrong = () if identity.system_title.encode() in text else ("collector.toml is another device's",)
    index = RollbackIndex(machine.twice("rollback-index")).read()
    return Persisted(wrong, state, identity.system_title, hashlib.sha256(text).hexdigest(), index, keys, generation)


def _keys(machine: Machine) -> tuple[frozenset[str], int]:
    path, twin = machine.persist / "dcu/keys", machine.persist / "dcu.twin/keys"
    if not path.exists() and not twin.exists():
        return frozenset(), 0
    kek = Secret((machine.credentials / CREDENTIAL).read_bytes())
    keys = WrappedKeys.open(path, kek, 0, twin)
    return frozenset(name for name in keys.names() if keys.meter(name)), keys.generation
