"""Which meters there are, kept a second time outside the store: a store that was lost is filled again by nobody's hand.

The store's critical file has the registry that counts. Beside the keys and their twin (on a device: on persist) lies a
copy, doubly written, of what was imported: name, address, profile, system title. It is written with each import. At the
start, meters that only the copy knows are registered again; their readings are then collected like those of any new
meter, and their invocation counters are read before anything is ciphered, since the store knows none.
"""

import asyncio
import logging
from collections.abc import Sequence

import msgspec

from dcu.errors import DecodeError, StoreError
from dcu.platform.doubly import Doubly
from dcu.store.records import MeterRecord
from dcu.store.store import Store
from dcu.total import from_msgpack

FORMAT = 1
log = logging.getLogger(__name__)


class Entry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """As it was imported; see MeterRecord."""

    name: str
    address: str
    profile: str
    system_title: bytes


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    meters: list[Entry]


class Registry:
    """The copy. `file` None: there is none, and nothing is restored."""

    def __init__(self, file: Doubly | None) -> None:
        self._file = file

    async def keep(self, records: Sequence[MeterRecord]) -> None:
        """Write down what is registered; that it cannot be written costs nothing today, and is logged."""
        if self._file is None:
            return
        entries = [Entry(each.name, each.address, each.profile, each.system_title) for each in records]
        content = msgspec.msgpack.encode(_File(FORMAT, entries))
        try:
            if await asyncio.to_thread(self._file.read) != content:
                await asyncio.to_thread(self._file.write, content)
        except (StoreError, ValueError) as error:
            log.error("the copy of the meters' registry is not kept: %s", error)

    async def reconcile(self, store: Store) -> list[MeterRecord]:
        """Register again what the store has lost; return all meters. Raises StoreError: of the store."""
        known = await store.meters()
        if self._file is None:
            return known
        found = await asyncio.to_thread(self._file.look)
        if found.content is not None and not found.whole:
            await tell(store, "restored", "meters", "a copy of the registry was damaged, restored from its twin")
        try:
            kept = await asyncio.to_thread(self._read, self._file)
        except (StoreError, DecodeError) as error:
            await tell(store, "registry-damaged", "meters", f"{error}; it is written anew from the store")
            kept = []
            await asyncio.to_thread(self._file.forget)
        names = {record.name for record in known}
        missing = [entry for entry in kept if entry.name not in names]
        if missing:
            await store.add_meters([(each.name, each.address, each.profile, each.system_title) for each in missing])
            what = "all of its meters" if not known else f"{len(missing)} of its {len(known) + len(missing)} meters"
            await tell(
                store,
                "meters-restored",
                f"{len(missing)} meters",
                f"the store had lost {what}: registered again; their readings are collected anew, their counters read",
            )
            known = await store.meters()
        await self.keep(known)
        return known

    @staticmethod
    def _read(file: Doubly) -> list[Entry]:
        content = file.read()
        if content is None:
            return []
        found = from_msgpack(content, _File)
        if found.format != FORMAT:
            raise DecodeError(f"format {found.format} of the registry's copy, this program knows {FORMAT}")
        return found.meters


async def tell(store: Store, kind: str, subject: str, text: str) -> None:
    """Say what the collector found at its start: in the log, in the audit log and to the head-end."""
    log.error("%s: %s: %s", kind, subject, text)
    await store.audit("collector", kind, subject, text)
    await store.put("alarm", msgspec.json.encode({"event": kind, "subject": subject, "text": text}))
