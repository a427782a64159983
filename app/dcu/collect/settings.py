"""The collector's configuration: one TOML file, every key explained in docs/collector.toml."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from dcu import config
from dcu.collect.medium import AirTime, Medium
from dcu.collect.powerfail import Terms
from dcu.collect.reach import G3, SERIAL, endpoint
from dcu.errors import ConfigError
from dcu.fan.base import parse_eui64
from dcu.fan.g3.settings import BANDS, G3Settings
from dcu.fan.tun import names_interface
from dcu.link.serial import BAUDS, FORMATS, Port, Rs485

EXCHANGES = 8  # at a time, on a medium of which nothing else is known


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Keys(_Table, frozen=True):
    file: str
    twin: str = ""
    kek: str = ""


class StoreTable(_Table, frozen=True):
    directory: str
    retention_days: int = 30
    commit_every: int = 6 * 3600
    commit_rows: int = 10_000
    ballast: int = 8 << 20


class ControlTable(_Table, frozen=True):
    socket: str = "/run/dcu/control.sock"
    others: tuple[str, ...] = ("status", "meters", "profile", "jobs", "network", "poll", "subscribe")


class MediumTable(_Table, frozen=True):
    name: str
    addresses: tuple[str, ...] = ()
    concurrency: int = 0
    bitrate: float = 0.0
    duty: float = 1.0
    burst: float = 60.0
    reserve: float = 0.2
    longest_answer: float = 5.0
    device: str = ""
    baud: int = 9600
    format: str = "8N1"
    rs485: Rs485 = ""
    turnaround: float = 0.01
    echo: bool = False
    mode_e: bool = False
    modem: Literal["", "g3"] = ""
    band: Literal["cenelec-a", "cenelec-b", "fcc", "arib"] = "cenelec-a"
    pan: int = 0
    max_hops: int = 8
    window: int = 4
    allowed: tuple[str, ...] = ()
    silent_after: float = 86_400.0
    sweep: float = 300.0
    paths: float = 0.0
    tun: str = ""

    @property
    def port(self) -> Port | None:
        """The serial port of this line of meters; None where it is none."""
        return Port(self.device, self.baud, self.format, self.rs485) if self.device and not self.modem else None

    @property
    def modem_port(self) -> Port:
        return Port(self.device, self.baud, self.format)

    @property
    def g3(self) -> G3Settings | None:
        """The G3-PLC network on this medium; None where it has none."""
        if self.modem != G3:
            return None
        return G3Settings(
            self.name,
            self.pan,
            BANDS[self.band],
            self.max_hops,
            self.window,
            frozenset(map(parse_eui64, self.allowed)),
            self.silent_after,
            sweep=self.sweep,
            paths=self.paths,
            tun=self.tun,
        )

    @property
    def patterns(self) -> tuple[str, ...]:
        """A serial line takes the addresses that name it, a G3 network all of its kind, unless it says which."""
        if self.modem:
            return self.addresses or (f"{G3}://*",)
        own = (f"{SERIAL}://{self.name}", f"{SERIAL}://{self.name}/*") if self.device else ()
        return self.addresses + own

    def medium(self) -> Medium:
        """A serial line carries one exchange at a time, and as many bits as its speed says.

        On a power line answers of two meters at once collide: one at a time is the fastest there, unless somebody says.
        """
        port = self.port
        bitrate = self.bitrate or (8 / port.byte_time if port else 0.0)
        air = AirTime(bitrate, self.duty, self.burst, self.reserve, self.longest_answer) if bitrate else None
        usual = 1 if self.modem else EXCHANGES
        return Medium(self.name, concurrency=1 if port else self.concurrency or usual, air=air)


class RetryTable(_Table, frozen=True):
    attempts: int = 3
    first: float = 5.0
    factor: float = 3.0
    longest: float = 300.0


class PushTable(_Table, frozen=True):
    tcp: str = ""
    udp: str = ""
    plain: bool = False


class HeadEndTable(_Table, frozen=True):
    addresses: tuple[str, ...] = ()
    repeat: int = 3


class PowerTable(_Table, frozen=True):
    device: str = "/dev/lastgasp"
    hold_up: float = 10.0
    commit: float = 0.5
    off_before: float = 2.0
    off: tuple[str, ...] = ()

    @property
    def terms(self) -> Terms:
        return Terms(commit=self.commit, off_before=self.off_before)


class Limits(_Table, frozen=True):
    open_associations: int = 256
    counter_block: int = 1_000
    quarantine_hours: float = 24.0
    batch: int = 2


class CollectorConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `dcu run --config FILE` reads."""

    system_title: str
    keys: Keys
    store: StoreTable
    control: ControlTable = ControlTable()
    medium: tuple[MediumTable, ...] = ()
    meter_profiles: str = ""
    trust_clock: Literal["kernel", "always", "never"] = "kernel"
    log: Literal["debug", "info", "warning", "error"] = "info"
    poll: bool = True
    retry: RetryTable = RetryTable()
    push: PushTable = PushTable()
    headend: HeadEndTable = HeadEndTable()
    power: PowerTable = PowerTable()
    limits: Limits = Limits()

    @property
    def client_title(self) -> bytes:
        return bytes.fromhex(self.system_title)


_PATHS = (
    *(("keys", key) for key in ("file", "twin", "kek")),
    ("store", "directory"),
    ("control", "socket"),
)


def load(path: Path) -> CollectorConfig:
    """Read and check. Paths in the file are relative to it. Raises ConfigError."""
    return _settings(config.read(path), path)


def parse(text: str, path: Path) -> CollectorConfig:
    """Check what is not in its place yet: the content of a file that is to stand at `path`. Raises ConfigError."""
    return _settings(config.parse(text, str(path)), path)


def _settings(raw: dict[str, object], path: Path) -> CollectorConfig:
    for table, key in _PATHS:
        inner = raw.get(table)
        if isinstance(inner, dict) and isinstance(inner.get(key), str) and inner[key]:
            inner[key] = str(path.parent / inner[key])
    if isinstance(raw.get("meter_profiles"), str) and raw["meter_profiles"]:
        raw["meter_profiles"] = str(path.parent / str(raw["meter_profiles"]))
    media = raw.get("medium")
    for medium in media if isinstance(media, list) else ():
        if isinstance(medium, dict) and isinstance(medium.get("device"), str) and medium["device"]:
            medium["device"] = str(path.parent / medium["device"])
    settings = config.convert(raw, CollectorConfig, str(path))
    _check(settings, str(path))
    return settings


def _check(settings: CollectorConfig, where: str) -> None:
    def require(holds: bool, key: str, allowed: str) -> None:
        if not holds:
            raise ConfigError(f"{where}: key {key}: {allowed}")

    try:
        titled = len(settings.client_title) == 8
    except ValueError:
        titled = False
    require(titled, "system_title", "16 hexadecimal digits: three letters of the maker, five bytes of a number")
    require(bool(settings.medium), "medium", "at least one [[medium]] table")
    for index, medium in enumerate(settings.medium):
        key = f"medium[{index}]"
        require(bool(medium.patterns), f"{key}.addresses", 'patterns such as "tcp://*", or a device: a serial line')
        require(
            0 <= medium.concurrency <= 1_000, f"{key}.concurrency", "1..1000 exchanges at a time, 0: as the medium is"
        )
        require(medium.bitrate >= 0, f"{key}.bitrate", "bit/s, or 0: air is not counted")
        require(0 < medium.duty <= 1, f"{key}.duty", "a share of time, above 0, at most 1")
        require(medium.burst > 0, f"{key}.burst", "seconds of air, above 0")
        require(0 <= medium.reserve < 1, f"{key}.reserve", "a share of the burst, 0 or more, below 1")
        require(medium.longest_answer > 0, f"{key}.longest_answer", "seconds, above 0")
        require(medium.baud in BAUDS, f"{key}.baud", f"one of {', '.join(map(str, BAUDS))}")
        require(medium.format in FORMATS, f"{key}.format", f"one of {', '.join(FORMATS)}")
        require(bool(medium.device) or not medium.mode_e, f"{key}.mode_e", "true only where there is a device")
        require(0 <= medium.turnaround <= 1, f"{key}.turnaround", "seconds, 0..1")
        _check_network(medium, key, require)
        name = re.fullmatch("[A-Za-z0-9._-]+", medium.name)
        require(
            bool(name) or not medium.device, f"{key}.name", "letters, digits, '.', '_', '-': it stands in addresses"
        )
    devices = [m.device for m in settings.medium if m.device]
    require(len(set(devices)) == len(devices), "medium", "devices that differ: a line is one medium")
    require(len({m.name for m in settings.medium}) == len(settings.medium), "medium", "names that differ")
    require(1 <= settings.retry.attempts <= 100, "retry.attempts", "1..100")
    require(settings.retry.first > 0 and settings.retry.longest > 0, "retry.first", "seconds, above 0")
    require(settings.retry.factor >= 1, "retry.factor", "1 or more")
    require(settings.store.retention_days >= 1, "store.retention_days", "1 or more")
    require(settings.store.commit_every >= 0, "store.commit_every", "seconds, 0 or more")
    require(settings.store.commit_rows >= 1, "store.commit_rows", "1 or more")
    require(settings.store.ballast >= 0, "store.ballast", "bytes, 0 or more")
    require(16 <= settings.limits.counter_block <= 1 << 20, "limits.counter_block", "16..1048576")
    require(settings.limits.open_associations >= 0, "limits.open_associations", "0 or more")
    require(settings.limits.quarantine_hours >= 0, "limits.quarantine_hours", "hours, or 0: until somebody releases it")
    require(settings.limits.batch >= 1, "limits.batch", "1 or more")
    require(all(endpoint(written) for written in settings.headend.addresses), "headend.addresses", "HOST:PORT, each")
    require(1 <= settings.headend.repeat <= 8, "headend.repeat", "1..8")
    power = settings.power
    require(power.hold_up > 0, "power.hold_up", "seconds, above 0")
    require(0 <= power.commit <= 1, "power.commit", "a share of the time until switching off, 0..1")
    require(power.off_before >= 0, "power.off_before", "seconds, 0 or more")
    for key in ("tcp", "udp"):
        written = getattr(settings.push, key)
        require(not written or endpoint(written) is not None, f"push.{key}", "HOST:PORT such as [::]:4060, or nothing")


def _check_network(medium: MediumTable, key: str, require: Callable[[bool, str, str], None]) -> None:
    if not medium.modem:
        return
    require(bool(medium.device), f"{key}.device", "the serial port of the modem")
    require(0 < medium.pan < 0xFFFF, f"{key}.pan", "the PAN identifier, 0x0001..0xFFFE")
    require(1 <= medium.max_hops <= 14, f"{key}.max_hops", "1..14")
    require(1 <= medium.window <= 64, f"{key}.window", "datagrams at a time, 1..64")
    require(medium.silent_after >= 60, f"{key}.silent_after", "seconds, 60 or more")
    require(medium.sweep >= 10, f"{key}.sweep", "seconds, 10 or more")
    require(medium.paths >= 0, f"{key}.paths", "seconds, or 0: only on demand")
    require(not medium.tun or names_interface(medium.tun), f"{key}.tun", "an interface's name, such as g3, or nothing")
    try:
        for eui64 in medium.allowed:
            parse_eui64(eui64)
    except ConfigError as error:
        require(False, f"{key}.allowed", str(error))
