"""Leaving an association: what the meter pushed into it, and nobody has read yet, is taken along."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from dcu.cosem.client import ClientSession
from dcu.cosem.conversation import Told
from dcu.errors import DcuError
from dcu.streams import Channel

UNREAD = 64  # frames that are looked at: more than a meter pushes in its idle time


async def part(session: ClientSession, channel: Channel, keep: Callable[[Told], Awaitable[None]]) -> None:
    """Read what is there already, close the channel, and have the notifications kept."""
    try:
        with suppress(DcuError, TimeoutError):
            async with asyncio.timeout(0):  # nothing is waited for: the meter may take no other connection until then
                for _ in range(UNREAD):
                    session.receive(await channel.receive())
    finally:
        await channel.close()
    while session.notifications:
        await keep(session.notifications.pop(0))
