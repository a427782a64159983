"""Judges the disks of a device after a power cut.

Each part of a disk is examined once for each content that it has in any state: banks by their signature and their whole
verity tree, file systems by their journal and the product's own code. So thousands of states cost what differs.
"""

import hashlib
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from dcu.errors import DecodeError
from dcu.platform import bootenv
from dcu.platform.bootenv import Environment, Slot
from dcu.platform.provision import State as PersistState
from dcu.platform.version import Version
from ota.errors import OtaError
from ota.powercut.checks import environment, filesystem, fit, gpt, persist, store, verity
from ota.powercut.checks.ledger import Kept, Ledger, Promises, broken
from ota.powercut.checks.persist import Persisted
from ota.powercut.log import SECTOR, Mark, Recording
from ota.powercut.replay import Canvas, Sectors, State

T = TypeVar("T")
_STORE = "/store"


class DeviceJudge:
    """`judge` says what is wrong with a state; `examined` counts how often something had to be looked at."""

    def __init__(self, recording: Recording, scratch: Path, initial: State) -> None:
        facts = next((r.facts for r in recording.records if isinstance(r, Mark) and r.what == "device"), None)
        if facts is None:
            raise OtaError(f"{recording.home}: no mark says which device this is")
        self._card, self._disk = recording.disk("card"), recording.disk("disk")
        self._environment = [(int(offset) // SECTOR, int(size) // SECTOR) for offset, size in facts["environment"]]
        key = x509.load_pem_x509_certificate(facts["certificate"].encode()).public_key()
        assert isinstance(key, RSAPublicKey)
        self._key = key
        self._older, self._newer = Version.parse(facts["older"]), Version.parse(facts["newer"])
        self._sectors = Sectors(recording.home)
        self._ledger = Ledger(recording)
        disk = initial.disks[self._disk]
        self._parts = gpt.partitions(lambda first, count: self._sectors.join(disk[first : first + count]))
        self._scratch = scratch
        self._canvases = {
            name: Canvas(scratch / f"{name}.img", self._sectors, *self._parts[name]) for name in ("persist", "data")
        }
        self._known: dict[tuple[str, bytes], Any] = {}
        self.examined = 0
        old = self._bank(initial, Slot.A)
        if isinstance(old, str):
            raise OtaError(f"the recording begins with a bank that is none: {old}")
        self._old_root = old

    def environment(self, state: State) -> environment.Copies:
        """U-Boot's environment in this state."""
        card = state.disks[self._card]
        return environment.read([self._sectors.join(card[at : at + size]) for at, size in self._environment])

    def judge(self, state: State) -> list[str]:
        """Return what is wrong with this state, nothing where it is as it must be."""
        promised = self._ledger.at(state.position)
        found: list[str] = []
        seen = self._decoded(state, found)
        persisted, kept = self._persisted(state), self._kept(state)
        if seen:
            found += self._banks(state, seen, persisted.index)
            found += slots(seen, promised)
        found += persisted.wrong
        found += _identity(persisted, promised)
        found += broken(kept, promised)
        if kept.generation > persisted.generation:
            found.append(f"the store has seen key file {kept.generation}, persist has {persisted.generation}")
        return found

    def _decoded(self, state: State, found: list[str]) -> Environment | None:
        copies = self.environment(state)
        if copies.values is None:
            found.append("environment: neither copy is whole: U-Boot takes its defaults")
            return None
        try:
            return bootenv.decode(copies.values)
        except DecodeError as error:
            found.append(f"environment: {error}")
            return None

    def _banks(self, state: State, seen: Environment, index: Version | None) -> list[str]:
        found = []
        named = self._bank(state, seen.slot)
        if isinstance(named, str):
            found.append(f"slot {seen.slot} is named, and its bank is not whole: {named}")
        other = self._bank(state, seen.slot.other) if seen.upgrade_available else None
        if isinstance(other, str):
            found.append(f"slot {seen.slot} is on trial, and there is nothing to fall back to: {other}")
        fallen_back_to = other if seen.upgrade_available else named
        if index and isinstance(fallen_back_to, bytes) and index > self._version(fallen_back_to):
            found.append(f"rollback index {index} is above what was confirmed: {self._version(fallen_back_to)}")
        return found

    def _version(self, root: bytes) -> Version:
        return self._older if root == self._old_root else self._newer

    def _bank(self, state: State, slot: Slot) -> bytes | str:
        """The root hash of a bank that is whole, else what is wrong with it."""
        disk = state.disks[self._disk]
        kernel, root = (disk[at : at + n] for at, n in (self._parts[f"{name}_{slot}"] for name in ("kernel", "rootfs")))

        def look() -> fit.Verity | str:
            try:
                size = fit.size(self._sectors.join(kernel[:1]))
                raw = self._sectors.join(kernel[: -(-size // SECTOR)])[:size]
                return fit.verify(raw, self._key, f"conf-{slot}")
            except OtaError as error:
                return f"kernel_{slot}: {error}"

        table = self._once(f"kernel_{slot}", kernel, look)
        if isinstance(table, str):
            return table
        image = root[: verity.length(table) // SECTOR]

        def look_at_root() -> str:
            try:
                verity.verify(self._sectors.join(image), table)
            except OtaError as error:
                return f"rootfs_{slot}: {error}"
            return ""

        return self._once(f"rootfs {table.root.hex()} {slot}", image, look_at_root) or table.root

    def _persisted(self, state: State) -> Persisted:
        def look() -> Persisted:
            image, wrong = self._replayed("persist", state)
            if wrong:
                return Persisted((f"persist: {wrong}",), PersistState.LOST)
            target = self._scratch / "persist"
            filesystem.dumped(image, [f"/{name}" for name in persist.TAKEN], target)
            return persist.examine(target)

        return self._once("persist", self._part(state, "persist"), look)

    def _kept(self, state: State) -> Kept:
        def look() -> Kept:
            image, wrong = self._replayed("data", state)
            if wrong:
                return Kept((f"data: {wrong}",))
            target = self._scratch / "data"
            filesystem.dumped(image, [_STORE], target)
            return store.examine(target / "store")

        return self._once("data", self._part(state, "data"), look)

    def _replayed(self, name: str, state: State) -> tuple[Path, str]:
        canvas = self._canvases[name]
        canvas.show(state.disks[self._disk])
        return filesystem.replayed(canvas.path, self._scratch)

    def _part(self, state: State, name: str) -> "array[int]":
        first, count = self._parts[name]
        return state.disks[self._disk][first : first + count]

    def _once(self, what: str, content: "array[int]", look: Callable[[], T]) -> T:
        """`look` is asked once for each content."""
        key = what, hashlib.blake2b(content, digest_size=16).digest()
        if key not in self._known:
            self.examined += 1
            self._known[key] = look()
        known: T = self._known[key]
        return known


def slots(seen: Environment, promised: Promises) -> list[str]:
    """Whether the environment still says what was reported of the update."""
    found = []
    told = promised.flags.get("installed")
    if told and seen.slot != told["slot"] and not seen.rollback_reason:  # with a reason it is U-Boot that gave way
        found.append(f"slot {told['slot']} was reported as installed, and {seen.slot} is named")
    if "confirmed" in promised.flags and seen.upgrade_available:
        found.append("the update was reported as confirmed, and is on trial again")
    return found


def _identity(persisted: Persisted, promised: Promises) -> list[str]:
    """What makes the device itself never changes once it was made."""
    found = []
    told = promised.flags.get("provisioned")
    if told and not persisted.wrong:
        if persisted.state is PersistState.NEW:
            found.append("persist: the device was provisioned, and its identity is gone")
        elif persisted.configuration != told["configuration"]:
            found.append("persist: collector.toml is not the one that the device was provisioned with")
    if "imported" in promised.flags and (lost := promised.meters - persisted.keys):
        found.append(f"persist: the keys of {', '.join(sorted(lost))} are lost")
    return found
