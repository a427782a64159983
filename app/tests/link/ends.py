"""How a test asks whether a connection is over."""

import asyncio

from dcu.errors import LinkClosed


async def ended(stream):
    """Whether the other side ends the stream, in order or not, without sending anything more."""
    try:
        async with asyncio.timeout(5):
            return await stream.read() == b""
    except LinkClosed:
        return True


async def trickle(stream, data):
    """Send byte by byte until the other side has had enough; return how many went."""
    for count, byte in enumerate(data):
        try:
            await stream.write(bytes((byte,)))
        except LinkClosed:
            return count
        await asyncio.sleep(0.01)
    return len(data)


async def flood(stream, data, seconds):
    """Send `data` again and again; return whether the other side held it back for the rest of `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                await stream.write(data)
    except TimeoutError:
        return True
