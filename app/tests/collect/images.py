"""Orders of firmware images in tests: offered, sent, waited for."""

import asyncio
import hashlib

from dcu.collect.jobs.image import Phase, ordered

NAME = b"GDM-2.0.0"


async def offered(made, raw, piece=100_000):
    digest = hashlib.sha256(raw).hexdigest()
    at = 0
    while at < len(raw):
        at = await made.offer(digest, len(raw), at, raw[at : at + piece])
    return digest


async def send(made, street, raw, **options):
    await offered(made, raw)
    return await made.send([street.meter().name], ordered(raw, identifier=NAME, **options), "the test")


async def ended(made, within=40_000):
    async with asyncio.timeout(within):
        while True:
            (view,) = made.views()
            if Phase(view.phase).ended:
                return view
            await asyncio.sleep(1)


async def audit(street):
    return [entry.detail for entry in reversed(await street.store.audit_log()) if entry.action == "image"]
