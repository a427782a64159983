"""An APDU that somebody else made (the head-end, through the gateway): protected and carried, not understood.

A SET or ACTION is sent once and audited, whatever comes back: only who made it knows how to read its effect back.
"""

import asyncio

from dcu.collect.scheduler import Job
from dcu.collect.services import Services
from dcu.cosem.client import ClientSession
from dcu.cosem.exchange import Exchange
from dcu.errors import ConfigError, DcuError

REQUESTS = {0xC0: "get", 0xC1: "set", 0xC3: "action"}
LARGEST = 0xFFFF


def service(apdu: bytes) -> str:
    """Which service a plain request APDU asks for. Raises ConfigError for anything else."""
    if not 3 <= len(apdu) <= LARGEST or apdu[0] not in REQUESTS:
        raise ConfigError("only plain GET, SET and ACTION requests (C0, C1, C3) are carried")
    return REQUESTS[apdu[0]]


async def pass_through(services: Services, job: Job, apdu: bytes, actor: str) -> bytes:
    """Return the plain response."""
    kind = service(apdu)
    changes = kind != "get"

    def exchange(session: ClientSession) -> Exchange[bytes]:
        job.committed = changes
        return (yield from session.opaque(apdu))

    async def audit(outcome: str) -> None:
        if changes:
            await services.store.audit(actor, f"opaque {kind}", job.meter.name, outcome)

    await audit(f"asked: {len(apdu)} bytes")
    try:
        answer = await job.meter.run(exchange, job.priority, repeatable=not changes)
    except DcuError as error:
        await audit(f"failed: {error}")
        raise
    except asyncio.CancelledError:
        services.aside(audit("given up; whether it took effect is unknown" if job.committed else "withdrawn: not sent"))
        raise
    await audit("answered")
    return answer
