"""What meters say of themselves: alarms as ciphered data-notifications to a push listener, over TCP or UDP.

Each meter says that it has power when the street begins, and then, as often as it is told, what its log's last event
was. A push names its sender (general-glo-ciphering), and the concentrator's key authenticates and encrypts it.

Source: DLMS Green Book (IEC 62056-5-3) 9.3.10 (data-notification), 9.5 (general-glo-ciphering).
"""

import asyncio
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from dcu.cosem import apdu, security
from dcu.cosem.apdu import DataNotification
from dcu.cosem.security import Cipher, Framing, Protection
from dcu.errors import LinkError
from dcu.link import tcp, udp, wrapper
from neighbourhood import values
from neighbourhood.fleet import Fleet
from neighbourhood.meter import CONCENTRATOR, MANAGEMENT_DEVICE, Event, Meter
from neighbourhood.times import stamp

AT_ONCE = 32  # meters that push at the same moment
SPREAD = 5.0  # seconds over which the street's first pushes are spread


@dataclass(frozen=True, slots=True)
class Listener:
    """Who is told. Written `HOST:PORT` or `tcp://HOST:PORT`, or `udp://HOST:PORT`."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, saying what is allowed."""
        scheme, slashes, rest = text.rpartition("://")
        host, _, port = rest.rpartition(":")
        allowed = not slashes or scheme in ("tcp", "udp")
        if not (allowed and host and port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError(f"{text!r} is no listener: write HOST:PORT, tcp://HOST:PORT or udp://HOST:PORT")
        return cls(scheme or "tcp", host.strip("[]"), int(port))


def alarm(meter: Meter, code: Event | int) -> bytes:
    """A data-notification of who the meter is and what happened, protected."""
    return told(meter, values.structure(values.octets(meter.device_name.encode()), values.u8(code)))


def told(meter: Meter, body: bytes) -> bytes:
    """A data-notification of `body`, protected."""
    counter = meter.next_counter()
    moment = stamp(meter.shown(), meter.zone)
    notification = apdu.encode(DataNotification(counter & 0xFFFFFF, moment, body))
    keys = meter.keys(CONCENTRATOR)
    return security.protect(
        Cipher(keys.guek, keys.gak, suite=keys.suite),
        notification,
        protection=Protection.BOTH,
        title=keys.system_title,
        counter=counter,
        framing=Framing.GENERAL_GLOBAL,
    )


async def send(listener: Listener, notification: bytes) -> None:
    """Deliver one push. Raises LinkError."""
    frame = wrapper.encode(MANAGEMENT_DEVICE, CONCENTRATOR, notification)
    if listener.scheme == "udp":
        datagram = await udp.connect(listener.host, listener.port)
        await datagram.send(frame)
        await datagram.close()
        return
    stream = await tcp.connect(listener.host, listener.port)
    await stream.write(frame)
    await stream.close()


def destination(meter: Meter) -> Listener | None:
    """Where its push setup sends to; None where that is nowhere, or outside of this machine."""
    try:
        found = Listener.parse(f"{'udp' if meter.transport else 'tcp'}://{meter.destination.decode('ascii')}")
        return found if ipaddress.ip_address(found.host).is_loopback else None
    except ValueError:
        return None


def telling(fleet: Fleet) -> Callable[[Meter], None]:
    """What sends the pushes of meters that were told to push; one that cannot be delivered is lost, and counted."""
    tasks: set[asyncio.Task[None]] = set()

    async def deliver(listener: Listener, notification: bytes) -> None:
        try:
            await send(listener, notification)
            fleet.counts.pushes += 1
        except LinkError:
            fleet.counts.pushes_lost += 1

    def tell(meter: Meter) -> None:
        listener = destination(meter)
        while meter.works.push.sent:
            body = meter.works.push.sent.popleft()
            if listener is None:
                fleet.counts.pushes_lost += 1
                continue
            task = asyncio.get_running_loop().create_task(deliver(listener, told(meter, body)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    return tell


async def run(fleet: Fleet, listener: Listener, every: float) -> None:
    """Push until cancelled; `every` seconds again, 0: once. A push that cannot be delivered is lost, and counted."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def tell(meter: Meter, index: int) -> None:
        await asyncio.sleep(SPREAD * index / len(fleet.meters))
        code: int = Event.POWER_UP
        while True:
            async with gate:
                try:
                    await send(listener, alarm(meter, code))
                    fleet.counts.pushes += 1
                except LinkError:
                    fleet.counts.pushes_lost += 1
            if not every:
                return
            await asyncio.sleep(every)
            code = meter.events()[-1][1]

    async with asyncio.TaskGroup() as group:
        for index, meter in enumerate(fleet.meters):
            group.create_task(tell(meter, index))
