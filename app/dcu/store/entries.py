"""Rows of the critical file as values. A row that a flipped bit changed still becomes one: nothing here raises."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec

from dcu.model import AttributeRef, Column, Obis, Priority
from dcu.store.records import MeterRecord, MeterState, OutboxItem

log = logging.getLogger(__name__)

METERS = "SELECT id, name, address, profile, system_title, state, reason, since FROM meters"


def meter(row: Sequence[Any]) -> MeterRecord:
    record = MeterRecord(*row)
    try:
        return replace(record, state=MeterState(row[5]))
    except ValueError:  # a flipped bit: who looks at it decides
        reason = f"the store holds {str(row[5])[:40]!r} as its state: see to the disk, then release it"
        return replace(record, state=MeterState.QUARANTINED, reason=reason)


def item(row: Sequence[Any]) -> OutboxItem:
    try:
        priority = Priority(row[3])
    except ValueError:  # a flipped bit
        priority = Priority.ALARM
    return replace(OutboxItem(*row), priority=priority)


def packed(columns: Sequence[Column]) -> bytes:
    return msgspec.msgpack.encode(
        [(c.attribute.class_id, c.attribute.obis.raw, c.attribute.attribute, c.scaler, c.unit) for c in columns]
    )


def columns(raw: bytes) -> tuple[Column, ...] | None:
    """None: not readable, as if it had never been set."""
    try:
        rows = msgspec.msgpack.decode(raw, type=list[tuple[int, bytes, int, int, str]])
        return tuple(Column(AttributeRef(kind, Obis(obis), at), scaler, unit) for kind, obis, at, scaler, unit in rows)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        log.error("a layout cannot be read: %s", error)
        return None
