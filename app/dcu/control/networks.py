"""The control socket's methods on field networks (contract: docs/control.md)."""

from collections.abc import Awaitable, Callable
from typing import Any

from dcu.collect.networks import Networks
from dcu.collect.services import Services
from dcu.control.asked import Params
from dcu.credentials import Secret
from dcu.errors import ConfigError
from dcu.fan.base import Node, parse_eui64, written
from dcu.keys import network_file

_Method = tuple[type[Any], Callable[[Any, str], Awaitable[Any]]]


class _Network(Params, frozen=True):
    network: str


class _All(Params, frozen=True):
    network: str | None = None


class _Device(Params, frozen=True):
    """meter: its registered name, or its EUI-64 together with the network."""

    meter: str
    network: str | None = None


class _Import(Params, frozen=True):
    network: str
    file: str
    transport_key: str


class NetworkApi:
    """Part of `Api`: `methods` joins its table."""

    def __init__(self, networks: Networks, services: Services, address_of: Callable[[str], str]) -> None:
        """address_of: of a registered meter by its name; raises ConfigError."""
        self._networks = networks
        self._services = services
        self._address_of = address_of
        self.methods: dict[str, _Method] = {
            "network": (_All, self._topology),
            "network.path": (_Device, self._path),
            "network.kick": (_Device, self._kick),
            "network.rekey": (_Network, self._rekey),
            "network.import": (_Import, self._import),
        }

    async def _topology(self, params: _All, actor: str) -> list[dict[str, Any]]:
        wanted = list(self._networks) if params.network is None else [self._networks.get(params.network)]
        found = []
        for network in wanted:
            topology = network.topology()
            found.append(
                {
                    "name": topology.name,
                    "kind": topology.kind,
                    "up": topology.up,
                    "root": written(topology.root) if topology.root else "",
                    "pan": topology.pan,
                    "nodes": [self._node(node) for node in topology.nodes],
                    "statistics": network.statistics(),
                }
            )
        return found

    async def _path(self, params: _Device, actor: str) -> list[dict[str, Any]]:
        network, eui64 = self._device(params)
        return [self._node(node) for node in await network.path(eui64)]

    async def _kick(self, params: _Device, actor: str) -> dict[str, Any]:
        network, eui64 = self._device(params)
        await self._services.store.audit(actor, "network-kick", params.meter, f"network {network.name}")
        await network.kick(eui64)
        return {}

    async def _rekey(self, params: _Network, actor: str) -> dict[str, Any]:
        network = self._networks.get(params.network)
        await self._services.store.audit(actor, "network-rekey", network.name, "a new group key")
        return {"meters": await self._services.finish(network.rekey())}

    async def _import(self, params: _Import, actor: str) -> dict[str, Any]:
        try:
            transport = Secret(bytes.fromhex(params.transport_key))
        except ValueError:
            raise ConfigError("transport_key: hexadecimal digits") from None
        self._networks.get(params.network)
        psk = network_file.unwrapped(network_file.parse_network_file(params.file, "network key file"), transport)
        await self._networks.import_psk(params.network, psk, actor)
        return {}

    def _device(self, params: _Device) -> tuple[Any, bytes]:
        if params.network is not None:
            return self._networks.get(params.network), parse_eui64(params.meter)
        return self._networks.of(self._address_of(params.meter))

    def _node(self, node: Node) -> dict[str, Any]:
        return {
            "eui64": written(node.eui64),
            "meter": self._networks.name_of(node.eui64),
            "standing": str(node.standing),
            "address": node.address,
            "parent": written(node.parent) if node.parent else None,
            "path": [written(eui64) for eui64 in node.path],
            "hops": node.hops,
            "cost": node.cost,
            "quality": node.link.quality,
            "modulation": node.link.modulation,
            "last_heard": node.last_heard,
            "since": node.since,
        }
