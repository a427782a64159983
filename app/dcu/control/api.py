"""The methods of the control socket (contract: docs/control.md): checked parameters in, plain values out.

This is the one door for commands (design decision 7): whoever wants something of a meter comes through here and becomes
a job, with its priority, its deadline and its line in the audit log.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

from dcu import config
from dcu.clock import epoch_seconds, monotonic
from dcu.collect.fleet import Fleet
from dcu.collect.imaging import Imaging
from dcu.collect.jobs import clock, command, opaque, read
from dcu.collect.jobs.discovery import object_list
from dcu.collect.meter import Meter
from dcu.collect.networks import Networks
from dcu.collect.polling import Polling
from dcu.collect.retry import Backoff
from dcu.collect.scheduler import Job, JobState, Scheduler
from dcu.collect.services import Services
from dcu.collect.standing import State
from dcu.control import asked
from dcu.control.deeds import Deeds
from dcu.control.messages import fault
from dcu.control.networks import NetworkApi
from dcu.errors import ConfigError, DcuError
from dcu.model import Obis, Priority
from dcu.platform.watchdog import Progress
from dcu.store.dayfiles import day_name
from dcu.store.records import StoreReport
from dcu.store.rows import DAY

ON_DEMAND_RETRY = Backoff(attempts=3, first=1.0, factor=2.0, longest=10.0)
LONGEST_RANGE = 400 * 86400  # seconds that a profile is asked for at once


class Upkeep(Protocol):
    """What the collector itself does for the socket."""

    async def import_shipment(self, text: str, transport_key: str, actor: str) -> list[str]: ...

    async def import_head_end(self, text: str, transport_key: str, actor: str) -> tuple[str, int]: ...

    async def reset_keys(self, actor: str) -> list[str]: ...

    async def check_store(self) -> StoreReport: ...

    def progress(self) -> tuple[Progress, ...]: ...


class Api:
    """Answers calls: `handle` is what the server hands them to."""

    def __init__(
        self,
        services: Services,
        fleet: Fleet,
        scheduler: Scheduler,
        polling: Polling,
        upkeep: Upkeep,
        imaging: Imaging,
        networks: Networks | None = None,
    ) -> None:
        self._services = services
        self._fleet = fleet
        self._scheduler = scheduler
        self._polling = polling
        self._upkeep = upkeep
        self._started = monotonic()
        self._methods: dict[str, tuple[type[Any], Callable[[Any, str], Awaitable[Any]]]] = {
            "status": (asked.Nothing, self._status),
            "meters": (asked.Meters, self._meters),
            "meters.import": (asked.Import, self._import),
            "headend.import": (asked.HeadEnd, self._import_head_end),
            "keys.reset": (asked.Nothing, self._reset_keys),
            "meters.release": (asked.Meter, self._release),
            "meters.counter": (asked.Meter, self._counter),
            "objects": (asked.Objects, self._objects),
            "read": (asked.Read, self._read),
            "profile": (asked.Profile, self._profile),
            "poll": (asked.Poll, self._poll),
            "clock": (asked.Clock, self._clock),
            "command": (asked.Command, self._command),
            "opaque": (asked.Opaque, self._opaque),
            "jobs": (asked.Jobs, self._jobs),
            "jobs.cancel": (asked.Cancel, self._cancel),
            "flush": (asked.Nothing, self._flush),
            "store.check": (asked.Nothing, self._check),
            "audit": (asked.Audit, self._audit),
            **Deeds(services, fleet, scheduler, imaging).methods,
        }
        if networks is not None:
            self._methods |= NetworkApi(networks, services, lambda name: fleet.get(name).address).methods

    async def handle(self, method: str, actor: str, params: dict[str, Any]) -> Any:
        """Raises ConfigError for what the contract does not know, and what the method raises."""
        if method not in self._methods:
            raise ConfigError(f"no method {method!r}; there are: {', '.join(self._methods)}, subscribe")
        kind, call = self._methods[method]
        return await call(config.convert(params, kind, method), actor)

    # --- what there is

    async def _status(self, _: asked.Nothing, actor: str) -> dict[str, Any]:
        meters = [str(meter.state) for meter in self._fleet]
        scheduler, progress = self._scheduler, self._polling.progress
        waiting = scheduler.number(JobState.WAITING)
        return {
            "version": _version(),
            "pid": os.getpid(),
            "uptime": round(monotonic() - self._started),
            "clock_trusted": self._services.clock.trusted,
            "meters": {str(state): meters.count(str(state)) for state in State},
            "associated": self._services.open.count,
            "jobs": {
                "queued": scheduler.number(JobState.QUEUED) + waiting,
                "running": scheduler.number(JobState.RUNNING),
                "done": scheduler.done,
                "failed": scheduler.failed,
            },
            "progress": {**asdict(progress), "complete": progress.complete},
            "readings": sum(meter.readings for meter in self._fleet),
            "media": [
                {
                    "name": medium.name,
                    "concurrency": medium.concurrency,
                    "under_way": medium.under_way,
                    "waiting": medium.waiting,
                    "exchanges": medium.exchanges,
                    "bytes": medium.bytes,
                    "air_seconds": medium.air_seconds,
                    "air_left": medium.air_left,
                }
                for medium in self._fleet.media
            ],
            "store": asdict(await self._services.store.status()),
            "subsystems": [asdict(part) for part in self._upkeep.progress()],
        }

    async def _meters(self, params: asked.Meters, actor: str) -> list[dict[str, Any]]:
        wanted = list(self._fleet) if params.names is None else [self._fleet.get(name) for name in params.names]
        return [_meter(meter) for meter in wanted]

    async def _jobs(self, params: asked.Jobs, actor: str) -> list[dict[str, Any]]:
        return [asdict(job) for job in self._scheduler.jobs(ended=params.all)]

    async def _audit(self, params: asked.Audit, actor: str) -> list[dict[str, Any]]:
        limit = max(1, min(params.limit, 10_000))
        return [asdict(entry) for entry in await self._services.store.audit_log(limit, params.before)]

    async def _check(self, _: asked.Nothing, actor: str) -> dict[str, Any]:
        report = await self._upkeep.check_store()
        return {**asdict(report), "ok": report.ok}

    # --- upkeep

    async def _import(self, params: asked.Import, actor: str) -> dict[str, Any]:
        return {"imported": await self._upkeep.import_shipment(params.shipment, params.transport_key, actor)}

    async def _import_head_end(self, params: asked.HeadEnd, actor: str) -> dict[str, Any]:
        title, counter = await self._upkeep.import_head_end(params.file, params.transport_key, actor)
        return {"system_title": title, "counter": counter}

    async def _reset_keys(self, _: asked.Nothing, actor: str) -> dict[str, Any]:
        return {"set_aside": await self._upkeep.reset_keys(actor)}

    async def _release(self, params: asked.Meter, actor: str) -> dict[str, Any]:
        meter = self._fleet.get(params.meter)
        if meter.state is State.QUARANTINED:  # else there is nothing to say, and nothing to write down
            await self._services.store.audit(actor, "release", meter.name, meter.reason)
            await meter.release()
        return _meter(meter)

    async def _counter(self, params: asked.Meter, actor: str) -> dict[str, Any]:
        meter = self._fleet.get(params.meter)
        await self._services.store.audit(actor, "counter", meter.name, "its counter object is to be believed once")
        meter.believe_counter()
        return _meter(meter)

    async def _cancel(self, params: asked.Cancel, actor: str) -> dict[str, Any]:
        self._scheduler.cancel(params.job)
        return {}

    async def _flush(self, _: asked.Nothing, actor: str) -> dict[str, Any]:
        await self._services.store.flush()
        return {}

    async def _poll(self, params: asked.Poll, actor: str) -> dict[str, Any]:
        wanted = list(self._fleet) if params.meters is None else [self._fleet.get(name) for name in params.meters]
        return {"jobs": [job.id for job in self._polling.poll_now(wanted)]}

    # --- jobs

    async def _objects(self, params: asked.Objects, actor: str) -> dict[str, Any]:
        meter = self._fleet.get(params.meter)
        work = partial(object_list, self._services, meter, Priority.ON_DEMAND, refresh=params.refresh)
        return {"raw": (await self._on_demand("objects", meter, params.timeout, lambda job: work())).hex()}

    async def _read(self, params: asked.Read, actor: str) -> list[dict[str, Any]]:
        meter, names = self._fleet.get(params.meter), read.parsed(params.objects)
        work = partial(read.read_objects, self._services, meter, names, Priority.ON_DEMAND)
        results = await self._on_demand("read", meter, params.timeout, lambda job: work())
        return [_value(name, result) for name, result in zip(names, results, strict=True)]

    async def _profile(self, params: asked.Profile, actor: str) -> dict[str, Any]:
        meter, store = self._fleet.get(params.meter), self._services.store
        if not 0 <= params.start < params.end or params.end - params.start > LONGEST_RANGE:
            raise ConfigError(f"profile: from is below to, and at most {LONGEST_RANGE // 86400} days lie between")
        profile = await self._which(meter, params.profile)
        if params.fetch:
            now = epoch_seconds(self._services.clock.now())
            if params.start < (since := await store.kept_since()):
                raise ConfigError(
                    f"profile: readings before {day_name(since // DAY)} are not kept (retention, or a full disk): "
                    "fetch later ones, or have `dcu read` ask the meter itself"
                )

            async def work(job: Job) -> None:
                await self._polling.poller.fetch(job, profile, params.start, min(params.end, now))

            await self._on_demand("profile", meter, params.timeout, work)
        limit = max(1, min(params.limit, asked.ROWS))
        rows = await store.readings(meter.name, profile, params.start, params.end)
        columns = await store.layout(meter.name, profile) or ()
        return {
            "profile": str(profile),
            "columns": [{"attribute": str(c.attribute), "scaler": c.scaler, "unit": c.unit} for c in columns],
            "rows": [[row.timestamp, row.status, *map(_plain, row.values)] for row in rows[:limit]],
            "gaps": await self._polling.poller.known_gaps(meter, profile, params.start, params.end),
            "more": len(rows) > limit,
        }

    async def _which(self, meter: Meter, named: str | None) -> Obis:
        if named is not None:
            return Obis.parse(named)
        if meter.profile.poll:
            return Obis.parse(meter.profile.poll[0].profile)
        known = await self._services.store.profiles(meter.name)
        if not known:
            raise ConfigError(f"{meter.name}: its meter profile polls nothing: name a profile")
        return known[0]

    async def _clock(self, params: asked.Clock, actor: str) -> dict[str, Any]:
        meter = self._fleet.get(params.meter)

        async def work(job: Job) -> clock.ClockReport:
            if params.sync:
                return await clock.synchronise(self._services, job, actor)
            seen = await clock.measure(self._services, meter, job.priority)
            return clock.ClockReport(epoch_seconds(seen.meter_time), seen.seconds, False)

        priority = Priority.COMMAND if params.sync else Priority.ON_DEMAND
        return asdict(await self._scheduler.run("clock", meter, priority, work, deadline=params.timeout))

    async def _command(self, params: asked.Command, actor: str) -> dict[str, Any]:
        meter = self._fleet.get(params.meter)

        async def work(job: Job) -> command.CommandReport:
            return await command.switch_relay(self._services, job, params.command, actor)

        return asdict(await self._scheduler.run(params.command, meter, Priority.COMMAND, work, deadline=params.timeout))

    async def _opaque(self, params: asked.Opaque, actor: str) -> dict[str, Any]:
        meter = self._fleet.get(params.meter)
        try:
            apdu = bytes.fromhex(params.apdu)
        except ValueError:
            raise ConfigError("opaque: apdu: hexadecimal digits") from None
        opaque.service(apdu)

        async def work(job: Job) -> bytes:
            return await opaque.pass_through(self._services, job, apdu, actor)

        priority = Priority[params.priority.upper()]
        answer: bytes = await self._scheduler.run("opaque", meter, priority, work, deadline=params.timeout)
        return {"apdu": answer.hex()}

    async def _on_demand(self, kind: str, meter: Meter, deadline: float, work: Callable[[Job], Awaitable[Any]]) -> Any:
        return await self._scheduler.run(
            kind, meter, Priority.ON_DEMAND, work, deadline=deadline, retry=ON_DEMAND_RETRY
        )


def _meter(meter: Meter) -> dict[str, Any]:
    return {
        "name": meter.name,
        "address": meter.address,
        "profile": meter.profile.name,
        "state": str(meter.state),
        "reason": meter.reason,
        "since": meter.standing.since,
        "last_contact": meter.last_contact,
        "last_reading": meter.last_reading,
        "readings": meter.readings,
        "associated": meter.associated,
    }


def _value(name: str, result: read.Value | DcuError) -> dict[str, Any]:
    if isinstance(result, DcuError):
        error = fault(result)
        return {"object": name, "error": {"kind": error.kind, "message": error.message}}
    return {
        "object": name,
        "class_id": result.attribute.class_id,
        "attribute": str(result.attribute),
        "raw": result.raw.hex(),
        "scaler": result.scaler,
        "unit": result.unit,
    }


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # 2.6 MB of RSS: not before somebody asks

    try:
        return version("grid-dcu")
    except PackageNotFoundError:
        return "unknown"
