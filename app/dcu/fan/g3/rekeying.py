"""A new group key for a running PAN, in phases, so that nobody is left behind.

The new key is kept durably before anybody is given it. Then every meter gets it by a handshake of its own
(distribution), the coordinator already understanding both; then every meter is told to use it (activation); then the
coordinator uses it itself and the old one is overwritten. A phase ends only when every meter that can be heard has
done it; what was done is noted, so a reboot in between goes on where it was. A meter that was not heard for long is
tried once, for nobody may have asked it anything, and waited for no longer; one that was off all the while joins anew
with the pre-shared key. Where nobody at all is heard the old key stays.
"""

import asyncio
import logging
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from dcu.errors import LinkError
from dcu.fan.base import Change, Standing, written
from dcu.fan.g3 import plan, reports, requests
from dcu.fan.g3.bringup import KEY_SIZE, with_new_key
from dcu.fan.g3.modem import Modem
from dcu.fan.g3.pib import Lbp, Mac

if TYPE_CHECKING:
    from dcu.fan.g3.network import G3Network

STEP_WITHIN = 90.0  # seconds for one meter's handshake over many hops
PASSES = 4  # over those who have not answered
AT_ONCE = 2  # handshakes under way: the bootstrapping server has few slots
AGAIN_AFTER = 600.0  # seconds after which a change that did not reach everybody is gone on with

log = logging.getLogger(__name__)


class Incomplete(LinkError):
    """Meters were not reached: the change of keys waits for those that can be heard, and is given up without any."""


class Rekeyer:
    """Of one network."""

    def __init__(self, network: "G3Network") -> None:
        self._network = network
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._lock = asyncio.Lock()

    @property
    def under_way(self) -> bool:
        """Nobody can join meanwhile: the server would give him the new key and no address."""
        return self._network.plan.rekeying is not None

    def done(self, eui64: bytes) -> bool:
        """A meter's handshake is complete; whether it was one of ours."""
        future = self._waiting.get(eui64)
        if future is None or future.done():
            return False
        future.set_result(None)
        return True

    async def keep(self) -> None:
        """Go on with a change that a restart, or somebody's absence, interrupted."""
        while True:
            if self.under_way and not self._lock.locked():
                try:
                    await self.run()
                except Incomplete as error:
                    log.warning("%s", error)
            await asyncio.sleep(AGAIN_AFTER)

    async def run(self) -> int:
        """Change the group key; return how many meters have the new one. Raises LinkError; the old one then stays."""
        async with self._lock:
            network = self._network
            modem = network.require_modem()
            state = network.plan.rekeying or await self._begin()
            new = await self._offer(modem)
            if not state.activating:
                await self._everybody(modem, state.have, distribute=True)
                if network.plan.joined and not state.have:
                    await self._give_up(modem)
                state.activating = True
                await network.note()
            await self._everybody(modem, state.activated, distribute=False)
            await self._activate(modem, new)
            return len(state.have)

    async def _begin(self) -> plan.Rekeying:
        network = self._network
        keys = await network.vault.keys()
        keys, _ = with_new_key(keys, 1 - keys.active)
        await network.vault.keep_keys(keys)
        network.plan.rekeying = state = plan.Rekeying([])
        await network.note()
        return state

    async def _offer(self, modem: Modem) -> int:
        """Have the modem know the new key, for the handshakes and to understand who uses it; return its index."""
        keys = await self._network.vault.keys()
        index = 1 - keys.active
        new = keys.group[index]
        if new is None:
            raise LinkError(f"network {self._network.name}: the new group key is lost: begin again")
        await modem.ask(requests.MacSet(Mac.KEY_TABLE, index, new.reveal()), reports.MacSetConfirm)
        await modem.ask(requests.LbpSet(Lbp.REKEY_GMK, 0, new.reveal()), reports.LbpSetConfirm)
        await modem.send(requests.RekeyPhase(start=True))
        return index

    async def _give_up(self, modem: Modem) -> None:
        """Nobody took it: whoever is there has the old key, and must be able to join meanwhile. Raises Incomplete."""
        network = self._network
        await modem.send(requests.RekeyPhase(start=False))
        network.plan.rekeying = None
        await network.note()
        raise Incomplete(f"network {network.name}: no meter can be heard: the old group key stays: see `dcu network`")

    async def _everybody(self, modem: Modem, done: list[bytes], *, distribute: bool) -> None:
        """Raises Incomplete."""
        for number in range(PASSES):
            left = self._left(done, distribute=distribute, silent=number == 0)
            if not left:
                return
            gate = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(self._one(gate, modem, eui64, done, distribute=distribute) for eui64 in left))
            await self._network.note()
        if left := self._left(done, distribute=distribute, silent=False):
            names = ", ".join(map(written, left[:5]))
            raise Incomplete(
                f"network {self._network.name}: {len(left)} meters did not take the new group key ({names}…): "
                "the old one stays; it is gone on with by itself"
            )

    def _left(self, done: list[bytes], *, distribute: bool, silent: bool) -> list[bytes]:
        """Those that are to do it yet, the silent last, if at all."""
        network, state = self._network, self._network.plan.rekeying
        members = network.plan.joined if distribute or state is None else set(state.have) & network.plan.joined
        unheard = {eui64 for eui64 in members if network.know(eui64).standing is Standing.SILENT}
        heard = sorted(members - unheard - set(done))
        return heard + sorted(unheard - set(done)) if silent else heard

    async def _one(
        self, gate: asyncio.Semaphore, modem: Modem, eui64: bytes, done: list[bytes], *, distribute: bool
    ) -> None:
        short = self._network.plan.short(eui64)
        if short is None:
            return
        async with gate:
            future = self._waiting[eui64] = asyncio.get_running_loop().create_future()
            try:
                await modem.send(requests.Rekey(short, eui64, distribute))
                async with asyncio.timeout(STEP_WITHIN):
                    await future
                done.append(eui64)
            except TimeoutError:
                self._network.counts["rekey-missed"] += 1
            finally:
                del self._waiting[eui64]

    async def _activate(self, modem: Modem, index: int) -> None:
        """Counters under the new key first; the old key is overwritten with one that nobody has."""
        network, started = self._network, self._network.started
        assert started is not None
        keys = await network.vault.keys()
        new = keys.group[index]
        assert new is not None
        used = await network.survey.frame_counter(modem)
        await network.vault.begin(used, new)
        counters = await network.vault.reserve(network.settings.counter_block, new)
        if counters is None:
            raise LinkError(f"network {network.name}: no frame counters for the new group key: see the store")
        await modem.send(requests.ActivateKey())
        await modem.send(requests.RekeyPhase(start=False))
        keys = replace(keys, active=index, group=(new, None) if index == 0 else (None, new))
        await network.vault.keep_keys(keys)
        nobody = secrets.token_bytes(KEY_SIZE)
        await modem.ask(requests.MacSet(Mac.KEY_TABLE, 1 - index, nobody), reports.MacSetConfirm)
        network.started = replace(started, keys=keys, counter_end=counters.stop)
        state, network.plan.rekeying = network.plan.rekeying, None
        await network.note()
        network.tell(Change.REKEYED, text=f"{len(state.have) if state else 0} meters have the new group key")
