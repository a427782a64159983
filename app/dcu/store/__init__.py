"""What the DCU keeps through power cuts: readings in day files, everything irreplaceable in the critical file.

Durability is asymmetric (docs/architecture.md, decision 5). Readings can be fetched again from the meter, so they wait
in RAM and are committed in bulk; alarms, audit, outbox and invocation counters are committed before a call returns.
"""

from dcu.store.archive import Archive
from dcu.store.check import check
from dcu.store.critical import Critical
from dcu.store.records import (
    AuditEntry,
    Finding,
    MeterRecord,
    MeterState,
    OutboxItem,
    Settings,
    StoreReport,
    StoreStatus,
)
from dcu.store.store import Store

__all__ = [
    "Archive",
    "AuditEntry",
    "Critical",
    "Finding",
    "MeterRecord",
    "MeterState",
    "OutboxItem",
    "Settings",
    "Store",
    "StoreReport",
    "StoreStatus",
    "check",
]
