"""From a modem in any state to a running PAN: reset, initialise, information bases, keys, frame counter, start.

The frame counter is the nonce of the group key: what is set was reserved durably before, and lies above what this modem
says that it has used. Where the counters of a key were lost with the store, the key is given up and a new one begins:
every meter then joins anew, which costs an hour and no secret.
"""

import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace

from dcu.credentials import NetworkKeys, Secret
from dcu.errors import DecodeError, LinkError, LinkTimeout
from dcu.fan.base import Vault
from dcu.fan.g3 import reports, requests
from dcu.fan.g3.message import Status, named
from dcu.fan.g3.modem import Modem, Refused
from dcu.fan.g3.pib import COORDINATOR_SHORT, Adp, Lbp, Mac, decode_number
from dcu.fan.g3.settings import G3Settings

KEY_SIZE = 16
STARTING = 15.0  # seconds that a network start may take
COUNTER_END = 1 << 32

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """counter_end: the frame counter must stay below it; fresh: the group key is a new one."""

    keys: NetworkKeys
    eui64: bytes
    counter_end: int
    fresh: bool


async def bring_up(modem: Modem, settings: G3Settings, vault: Vault) -> Started:
    """Raises LinkError (of the modem), KeysError, StoreError."""
    used = await _used_counter(modem)
    keys, counters, fresh = await _secured(settings, vault, used)
    with suppress(Refused, LinkTimeout):  # one that was never initialised refuses
        await modem.ask(requests.Reset(), reports.ResetConfirm, tries=1)
    await modem.initialise(settings.band)
    await _set_up(modem, settings, keys, counters.start)
    await _start(modem, settings.pan)
    return Started(keys, await _eui64(modem), counters.stop, fresh)


async def _used_counter(modem: Modem) -> int:
    """What the modem itself says that it has used; 0 where it refuses, since it has just got power."""
    try:
        confirm = await modem.ask(requests.MacGet(Mac.FRAME_COUNTER), reports.MacGetConfirm)
        return decode_number(confirm.value)
    except (Refused, DecodeError):
        return 0


async def _secured(settings: G3Settings, vault: Vault, used: int) -> tuple[NetworkKeys, range, bool]:
    """Keys, and frame counters under the active one."""
    keys = await vault.keys()
    group = keys.group[keys.active]
    if group is not None:
        counters = await _counters(settings, vault, group, used)
        if counters is not None:
            return keys, counters, False
        log.error("network %s: the frame counters of its group key are lost: a new key begins", settings.name)
    index = 0 if group is None else 1 - keys.active
    keys, new = with_new_key(keys, index)
    keys = replace(keys, active=index, group=(new, None) if index == 0 else (None, new))
    await vault.keep_keys(keys)  # before anybody uses it
    await vault.begin(0, new)
    counters = await vault.reserve(settings.counter_block, new)
    if counters is None:
        raise LinkError(f"network {settings.name}: no frame counters can be reserved: see the store")
    return keys, counters, True


async def _counters(settings: G3Settings, vault: Vault, group: Secret, used: int) -> range | None:
    counters = await vault.reserve(settings.counter_block, group)
    if counters is None or used < counters.start:
        return counters
    if used + settings.counter_block >= COUNTER_END:
        return None
    await vault.begin(used + 1, group)  # it went on while nobody kept its book
    return await vault.reserve(settings.counter_block, group)


def with_new_key(keys: NetworkKeys, index: int) -> tuple[NetworkKeys, Secret]:
    new = Secret(secrets.token_bytes(KEY_SIZE))
    group = (new, keys.group[1]) if index == 0 else (keys.group[0], new)
    return replace(keys, group=group), new


async def _set_up(modem: Modem, settings: G3Settings, keys: NetworkKeys, counter: int) -> None:
    """Counter first: no frame is secured before."""
    group = keys.group[keys.active]
    assert group is not None
    await set_counter(modem, counter)
    await modem.ask(requests.LbpSet(Lbp.PSK, 0, keys.psk.reveal()), reports.LbpSetConfirm)
    await modem.ask(requests.LbpSet(Lbp.GMK, keys.active, group.reveal()), reports.LbpSetConfirm)
    await modem.ask(requests.Set(Adp.ACTIVE_KEY_INDEX, 0, bytes((keys.active,))), reports.SetConfirm)
    await modem.ask(requests.Set(Adp.MAX_HOPS, 0, bytes((settings.max_hops,))), reports.SetConfirm)
    retries = requests.MacSet(Mac.MAX_FRAME_RETRIES, 0, bytes((settings.retries,)))
    await modem.ask(retries, reports.MacSetConfirm, checked=False)  # a modem that keeps its own will do as well
    short = COORDINATOR_SHORT.to_bytes(2, "big")
    await modem.ask(requests.Set(Adp.COORDINATOR_SHORT_ADDRESS, 0, short), reports.SetConfirm)
    await modem.ask(requests.MacSet(Mac.SHORT_ADDRESS, 0, short), reports.MacSetConfirm)


async def set_counter(modem: Modem, counter: int) -> None:
    """Raises LinkError: a modem that does not take its counter must not send."""
    await modem.ask(requests.MacSet(Mac.FRAME_COUNTER, 0, counter.to_bytes(4, "big")), reports.MacSetConfirm)
    confirm = await modem.ask(requests.MacGet(Mac.FRAME_COUNTER), reports.MacGetConfirm)
    if decode_number(confirm.value) < counter:
        raise LinkError("the modem does not keep the frame counter that it was given: it is not started")


async def _start(modem: Modem, pan: int) -> None:
    """Where the confirm got lost, the second start is refused: what counts is the PAN that it has then."""
    confirm = await modem.ask(requests.StartNetwork(pan), reports.StartConfirm, within=STARTING, checked=False)
    if confirm.status == Status.SUCCESS:
        return
    now = await modem.ask(requests.MacGet(Mac.PAN_ID), reports.MacGetConfirm)
    if decode_number(now.value) != pan:
        raise Refused(f"PAN {pan:04X} does not start: the modem says {named(confirm.status)}", confirm.status)


async def _eui64(modem: Modem) -> bytes:
    try:
        confirm = await modem.ask(requests.MacGet(Mac.EXTENDED_ADDRESS), reports.MacGetConfirm)
    except (Refused, LinkTimeout):
        return b""
    return confirm.value if len(confirm.value) == 8 else b""
