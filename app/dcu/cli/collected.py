"""A meter through the running collector's control socket (contract: docs/control.md)."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from dcu.cli import buffers
from dcu.cli.access import Answer, ClockAnswer, RelayAnswer, Rows, TokenAnswer, Window
from dcu.cli.collector import ask, pages
from dcu.cli.options import family_named
from dcu.collect.jobs.discovery import SCALED
from dcu.control.messages import Fault, revive
from dcu.cosem import apdu, axdr, profile
from dcu.cosem.apdu import ActionResult, DataAccessResult
from dcu.cosem.datetimes import TimeZoneRule
from dcu.errors import AccessDenied, ConfigError, DecodeError, JobError, MalformedAnswer
from dcu.model import AttributeRef, Column, MethodRef, Obis

CLOCK = AttributeRef.parse("8,0-0:1.0.0*255,2")
_INVOKE = 0xC1  # invoke-id-and-priority of what the collector carries for us: confirmed, high priority
STATUS = AttributeRef.parse("1,0-0:96.10.1*255,2")


class Collected:
    """An `Access` through the collector. family: for the clock of a meter whose family does not ship."""

    def __init__(self, socket: Path, meter: str, family: str | None, timeout: float | None) -> None:
        self._socket = socket
        self._meter = meter
        self._family = family
        self._timeout = timeout

    @property
    def rule(self) -> TimeZoneRule | None:
        known = self._family or ask(self._socket, "meters", names=[self._meter])[0]["profile"]
        try:
            family = family_named(known)
        except ConfigError:
            if self._family:
                raise
            return None  # a family of the collector's own
        return family.time_rule if family else None

    def object_list(self) -> bytes:
        return bytes.fromhex(self._ask("objects")["raw"])

    def read(self, attributes: Sequence[AttributeRef]) -> list[Answer]:
        found = self._ask("read", objects=[str(attribute) for attribute in attributes])
        return [_answer(attribute, row) for attribute, row in zip(attributes, found, strict=True)]

    def profile(self, obis: Obis, window: Window) -> Rows:
        period = self._number(buffers.attribute(obis, buffers.CAPTURE_PERIOD))
        if not period:
            return self._log(obis, window)
        if window.whole:
            raise ConfigError(f"{obis}: say --last, or --from (and --to): the collector reads a profile by time")
        return self._periodic(obis, window, period)

    def clock(self, sync: bool) -> ClockAnswer:
        found = self._ask("clock", sync=sync or None)
        at = datetime.fromtimestamp(found["meter_time"], UTC)
        return ClockAnswer(at, found["offset"], found["adjusted"], found.get("after"))

    def relay(self, command: str) -> RelayAnswer:
        found = self._ask("command", command=command)
        return RelayAnswer(found["output"], found["state"], found["confirmed"])

    def token(self, digits: str) -> TokenAnswer:
        found = self._ask("token", token=digits)
        return TokenAnswer(found["accepted"], found["code"], found["meaning"], found["confirmed"])

    def write(self, attribute: AttributeRef, raw: bytes, *, unconfirmed: bool = False) -> bytes | None:
        _require_confirmed(unconfirmed)
        answer = self._passed(apdu.SetRequestNormal(_INVOKE, attribute, None, raw))
        if not isinstance(answer, apdu.SetResponseNormal):
            raise MalformedAnswer(f"{type(answer).__name__} where {attribute} was written")
        if answer.result != DataAccessResult.SUCCESS:
            raise AccessDenied(f"{attribute}: {answer.result}", answer.result)
        (after,) = self.read([attribute])
        if isinstance(after.error, AccessDenied):
            return None
        if after.error:
            raise JobError(f"{attribute}: the meter took it, and could not be read back: {after.error}")
        return after.raw

    def call(self, method: MethodRef, raw: bytes | None, *, unconfirmed: bool = False) -> bytes | None:
        _require_confirmed(unconfirmed)
        answer = self._passed(apdu.ActionRequestNormal(_INVOKE, method, raw))
        if not isinstance(answer, apdu.ActionResponseNormal):
            raise MalformedAnswer(f"{type(answer).__name__} where {method} was called")
        if answer.result != ActionResult.SUCCESS:
            raise AccessDenied(f"{method}: {answer.result}", answer.result)
        if isinstance(answer.value, DataAccessResult):
            raise AccessDenied(f"{method} was executed, but what it returned is withheld: {answer.value}", answer.value)
        return answer.value

    def _passed(self, request: apdu.Apdu) -> apdu.Apdu:
        """Have the collector carry a request of ours; it audits it."""
        answer = bytes.fromhex(self._ask("opaque", apdu=apdu.encode(request).hex())["apdu"])
        try:
            return apdu.decode(answer)
        except DecodeError as error:
            raise MalformedAnswer(f"the meter's answer does not decode: {error}") from None

    def _periodic(self, obis: Obis, window: Window, period: int) -> Rows:
        """From the store, what is missing there from the meter."""
        end = window.end or datetime.now(UTC) + timedelta(hours=1)
        start = window.start or datetime.now(UTC) - timedelta(seconds=period * ((window.last or 0) + 1))
        span = int(start.timestamp()), int(end.timestamp()) + 1
        answer = pages(self._socket, self._meter, obis, *span, fetch=True, timeout=self._timeout)
        columns = [
            Column(AttributeRef.parse(column["attribute"]), column["scaler"], column["unit"])
            for column in answer["columns"]
        ]
        rows = [(datetime.fromtimestamp(row[0], UTC), *row[1:]) for row in answer["rows"]]
        return Rows(obis, (Column(CLOCK), Column(STATUS), *columns), buffers.cut(rows, 0, window))

    def _log(self, obis: Obis, window: Window) -> Rows:
        """The collector keeps no event logs: the whole buffer comes from the meter."""
        wanted = [buffers.attribute(obis, number) for number in (buffers.CAPTURE_OBJECTS, buffers.BUFFER)]
        layout, buffer = (self._given(answer) for answer in self.read(wanted))
        captured = buffers.captured_by(layout, obis)
        scales = [(0, "")] * len(captured)
        scaled = [index for index, item in enumerate(captured) if item.attribute in SCALED.get(item.class_id, ())]
        if scaled:
            for index, answer in zip(scaled, self.read([captured[index].ref for index in scaled]), strict=True):
                scales[index] = answer.scaler, answer.unit
        newest_first = self._number(buffers.attribute(obis, buffers.SORT_METHOD)) == buffers.NEWEST_FIRST
        found = buffers.rows_of(buffer, obis, captured, scales, period=0, rule=self.rule)
        if newest_first:
            found.rows.reverse()
        found.rows[:] = buffers.cut(found.rows, profile.clock_column(captured), window)
        return found

    def _number(self, attribute: AttributeRef) -> int | None:
        (answer,) = self.read([attribute])
        if answer.error:
            return None
        try:
            value = axdr.decode(answer.raw).value
        except DecodeError:
            return None
        return value if isinstance(value, int) else None

    def _given(self, answer: Answer) -> bytes:
        if answer.error:
            raise answer.error
        return answer.raw

    def _ask(self, method: str, **params: Any) -> Any:
        return ask(self._socket, method, meter=self._meter, timeout=self._timeout, **params)


def _require_confirmed(unconfirmed: bool) -> None:
    if unconfirmed:
        raise ConfigError("--unconfirmed: the collector asks for an answer, and audits it; use a link of your own")


def _answer(attribute: AttributeRef, row: dict[str, Any]) -> Answer:
    if "error" in row:
        return Answer(attribute, error=revive(msgspec.convert(row["error"], Fault)))
    return Answer(attribute, bytes.fromhex(row["raw"]), row["scaler"], row["unit"])
