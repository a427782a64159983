"""The emulated modem opened as a device: the host says when to join through whom, to leave, and who it is.

Source: Microchip smartenergy_g3 (LBP of a device behind ADP serialization).
"""

from collections.abc import Callable
from random import Random
from typing import Any

from neighbourhood.g3 import adp
from neighbourhood.g3.events import Scheduler
from neighbourhood.g3.lbd import Device, Standing
from neighbourhood.g3.lbs import UNSUPPORTED, WRONG_LENGTH
from neighbourhood.g3.node import Node
from neighbourhood.g3.tables import NOT_JOINED

FACTORY_PSK = bytes(16)
SIZES = {1: (8, 36), 2: (16,)}
NOT_PERMITTED, TIMEOUT = 0xA4, 0xA6


class DeviceMode:
    def __init__(self, node: Node, scheduler: Scheduler, random: Random, report: Callable[[Any], None]) -> None:
        self.device = Device(node, scheduler, random, FACTORY_PSK, announce=self._announced)
        self.device.automatic = False
        self._report = report
        self._joining = self._declined = False

    def close(self) -> None:
        self._joining = False
        self.device.stop()

    def set(self, attribute: int, index: int, value: bytes) -> int:
        """A value of the bootstrapping base (IDP, PSK); its status."""
        if attribute not in SIZES:
            return UNSUPPORTED
        if len(value) not in SIZES[attribute]:
            return WRONG_LENGTH
        if attribute == 1:
            self.device.id_p = value
        else:
            self.device.psk = value
        return 0

    def join(self, request: adp.Join) -> None:
        self._joining, self._declined = True, False
        self.device.join(request.pan, request.agent)

    def leave(self) -> None:
        self.device.leave()

    def register(self, request: adp.ForceRegister) -> None:
        self._joining = True
        self.device.register(request.pan, request.short, 0, request.gmk)

    def _announced(self, standing: Standing, short: int) -> None:
        if standing is Standing.DECLINED:
            self._declined = True
        elif standing is Standing.JOINED and self._joining:
            self._joining = False
            self._report(adp.JoinConfirm(0, short, self.device.node.pan))
        elif standing is Standing.IDLE and self._joining:
            self._joining = False
            self._report(adp.JoinConfirm(NOT_PERMITTED if self._declined else TIMEOUT, NOT_JOINED, NOT_JOINED))
        elif standing is Standing.LEFT:
            self._report(adp.LeaveConfirm(0))
        elif standing is Standing.KICKED:
            self._report(adp.LeaveIndication())
