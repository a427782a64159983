"""The supply relay: disconnect and reconnect, audited, the output's state read back.

Source: DLMS Blue Book, Disconnect control (class 70): output_state, control_state; remote_disconnect, remote_reconnect.
"""

from dataclasses import dataclass
from typing import Literal

from dcu.collect.decoding import decoding
from dcu.collect.jobs.discovery import given, read
from dcu.collect.jobs.effect import Deed, accomplish
from dcu.collect.meter import Meter
from dcu.collect.scheduler import Job
from dcu.collect.services import Services
from dcu.cosem import axdr, objects
from dcu.cosem.objects import ControlState
from dcu.model import AttributeRef, MethodRef, Priority

DISCONNECT_CONTROL = 70
OUTPUT_STATE, CONTROL_STATE = 2, 3
METHODS = {"disconnect": 1, "reconnect": 2}
Command = Literal["disconnect", "reconnect"]


@dataclass(frozen=True, slots=True)
class RelayState:
    """output: whether the supply is connected; state: which may wait for the customer's button."""

    output: bool
    state: ControlState


@dataclass(frozen=True, slots=True)
class CommandReport:
    output: bool
    state: str
    confirmed: bool


async def switch_relay(services: Services, job: Job, command: Command, actor: str) -> CommandReport:
    """Raises JobError where the relay did not do it, or nobody knows."""
    meter = job.meter
    method = MethodRef(DISCONNECT_CONTROL, meter.profile.relay_object, METHODS[command])

    def shows(found: RelayState) -> bool:
        if command == "disconnect":
            return not found.output
        return found.output or found.state is ControlState.READY_FOR_RECONNECTION

    deed = Deed(
        actor,
        command,
        "",
        send=lambda session: session.action(method, axdr.encode(axdr.i8(0))),
        look=lambda: relay_state(meter, Priority.COMMAND),
        shows=shows,
    )
    effect = await accomplish(services, job, deed)
    return CommandReport(effect.value.output, effect.value.state.name.lower(), effect.confirmed)


async def relay_state(meter: Meter, priority: Priority) -> RelayState:
    refs = [
        AttributeRef(DISCONNECT_CONTROL, meter.profile.relay_object, attribute)
        for attribute in (OUTPUT_STATE, CONTROL_STATE)
    ]
    results = await read(meter, refs, priority)
    output, state = (given(ref, result) for ref, result in zip(refs, results, strict=True))
    with decoding("the relay's state"):
        return RelayState(bool(axdr.decode(output).value), objects.decode_control_state(state))
