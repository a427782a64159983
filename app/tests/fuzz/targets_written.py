"""The part of the registry that reads what people and programs write: files, lines, the environment, the mains."""

from datetime import UTC, datetime

from dcu.collect import mains
from dcu.errors import ConfigError, DcuError, DecodeError, KeysError
from dcu.platform import doubly
from dcu.uplink import packet

from . import seeds, sessions, written
from .engine import Target

_ANY = (DcuError,)


def power_events(data):
    return tuple(event.failing for event in mains.decode(data)), bool(data)


def power_event(kind):
    return mains.EVENT.pack(mains.VERSION, kind, 7, 100 * 10**9, 1_763_640_123_450_000_000, 20_000, 16_000)


def last_gasp(data):
    said = packet.decode(data)
    assert packet.decode(packet.encode(said, 1)) == said
    return said.status.value == 1, said.doubtful


LAST_GASP = packet.encode(packet.LastGasp(b"DCU0000000001", datetime(2025, 11, 20, 12, 2, 3, tzinfo=UTC), 19.0), 7)
_PASTED = (
    seeds.AARQ_FRAME.hex(" ").encode(),
    seeds.WRAPPED.hex().encode() * 2,
    b"\n".join(frame.hex().encode() for frame in (*sessions.REQUESTS, *sessions.ANSWERS)),
    b"\n\n".join((sessions.PUSH.hex().encode(), sessions.NOTIFICATION.hex().encode())),
    *(capture.hex().encode() for capture in seeds.CAPTURED),
    b"060107000001010903010202\n0d01020001\n0601070100020109060801021105",
)
_TOML_TOKENS = (
    b"[[",
    b"]]",
    b"=",
    b'"',
    b"'''",
    b"\n",
    b"\\u0000",
    b"1e999",
    b"9" * 40,
    b"{",
    b"}",
    b"[" * 60,
    b"\xff",
)
_TOML = (ConfigError, KeysError)
WRITTEN = (
    Target("obis", written.obis, (b"1-0:1.8.0*255", b"1.0.1.8.0.255"), ("dcu.model.Obis.parse",), (ConfigError,)),
    Target(
        "attribute",
        written.attribute,
        (b"3,1-0:1.8.0*255,2", b"1,0-0:1.0.0, -1"),
        ("dcu.model.AttributeRef.parse",),
        (ConfigError,),
    ),
    Target("toml", written.settings, (b'a = 1\n[b]\nc = ["d", 1.5]\n',), ("dcu.config.parse",), _TOML, _TOML_TOKENS),
    Target("meter-family", written.family, (written.family_seed(),), (), _TOML, _TOML_TOKENS),
    Target(
        "collector",
        written.collector,
        (written.COLLECTOR,),
        ("dcu.collect.settings.parse",),
        _TOML,
        _TOML_TOKENS,
    ),
    Target("keys-file", written.keys_file, (written.KEYS_FILE,), (), _TOML, _TOML_TOKENS),
    Target("shipment", written.shipped, (written.shipment_seed(),), ("dcu.keys.shipment.parse",), _TOML, _TOML_TOKENS),
    Target("wrapped-keys", written.wrapped, (written.wrapped_seed(),), (), (KeysError,)),
    Target("pasted", written.pasted, _PASTED, (), _ANY, (b"7e", b"\n\n", b"0001", b"#", b"'")),
    Target(
        "control-line",
        written.control_line,
        written.LINES,
        (),
        (DecodeError,),
        (b'{"', b"[" * 99),
    ),
)

DEVICE = (
    Target("version", written.version, (b"1.2.3", b"0.65535"), ("dcu.platform.version.Version.parse",)),
    Target(
        "u-boot", written.u_boot, (written.U_BOOT,), tuple(f"dcu.platform.bootenv.{f}" for f in ("parse", "decode"))
    ),
    Target("doubly", written.written_doubly, (doubly.encode(3, b"1.2.0"),), ("dcu.platform.doubly.decode",)),
)

MAINS = (
    Target("power-events", power_events, (power_event(1), power_event(2) * 3), ("dcu.collect.mains.decode",)),
    Target("last-gasp", last_gasp, (LAST_GASP, sessions.NOTIFICATION), ("dcu.uplink.packet.decode",)),
    Target(
        "head-end-keys",
        written.head_end,
        (written.head_end_seed(),),
        ("dcu.keys.shipment.parse_head_end",),
        _TOML,
        _TOML_TOKENS,
    ),
)

TARGETS = (*MAINS, *WRITTEN, *DEVICE)
