"""What people and makers write, and what programs exchange: files, captures, control lines, as fuzz targets."""

import json
import os
import tempfile
from functools import cache
from pathlib import Path

from dcu import config
from dcu.cli import capture, decoding
from dcu.collect import meter_profile
from dcu.collect import settings as collector_settings
from dcu.control.messages import Incoming, Request, revive
from dcu.credentials import Secret
from dcu.errors import DcuError, DecodeError
from dcu.keys import keysfile, shipment
from dcu.keys.wrapped import WrappedKeys
from dcu.model import AttributeRef, Obis
from dcu.platform import bootenv, doubly
from dcu.platform.version import Version
from dcu.total import from_json

from .sessions import KEYS, METER_TITLE

TRANSPORT, KEK = Secret(bytes(16)), Secret(bytes(32))  # made up for this test


@cache
def folder():
    """Where a target's file is put; it goes with the process."""
    memory = Path("/dev/shm")
    kept = tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None)
    folder.kept = kept
    return Path(kept.name)


@cache
def _open(name):
    """The file of that name, open for good: to open, close and protect it for each input takes longer than to parse."""
    path = folder() / name
    return path, os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def filed(data, name="input"):
    path, file = _open(name)
    os.ftruncate(file, 0)
    os.pwrite(file, data, 0)
    return path


def obis(data):
    text = data.decode("latin-1")
    assert Obis.parse(str(Obis.parse(text))) == Obis.parse(text)


def attribute(data):
    text = data.decode("latin-1")
    assert AttributeRef.parse(str(AttributeRef.parse(text))) == AttributeRef.parse(text)


def settings(data):
    """Any TOML file into any type."""
    return type(config.load(filed(data), dict))


def family(data):
    return meter_profile.load(filed(data)).time_rule.deviation_sign == 1


def collector(data):
    path = filed(data)
    loaded = collector_settings.load(path)
    assert collector_settings.parse(data.decode(), path) == loaded  # as `dcu device configure` reads it
    return loaded.retry.attempts > 1


def keys_file(data):
    return keysfile.load(filed(data)).meter_keys().suite


def shipped(data):
    meters = shipment.parse(data, "fuzz").meters
    return tuple(shipment.unwrap(meter, TRANSPORT).suite for meter in meters)


def head_end(data):
    shipped = shipment.parse_head_end(data, "fuzz")
    return shipment.unwrap(shipped.keys, TRANSPORT).suite, shipped.counter is None


def wrapped(data):
    keys = WrappedKeys.open(filed(data), KEK)
    return tuple(keys.meter(name).suite for name in keys.names())


def pasted(data):
    """`dcu decode`: text to APDUs, deciphered where the keys fit."""
    decoder = decoding.Decoder(_keys())
    shown = []
    for captured in capture.read(data.decode("latin-1"), decoding.is_whole, ignore_fcs=True):
        decoded = decoder.take(captured)
        shown.append(type(decoded.apdu).__name__ if decoded else None)
    decoder.finish()
    return tuple(shown)


def control_line(data):
    """A line on the control socket, either way. Server and client read it with these."""
    try:
        incoming = from_json(data, Incoming)
    except DecodeError:
        incoming = None
    if incoming is not None and incoming.error is not None:
        assert isinstance(revive(incoming.error), DcuError)
    return type(from_json(data, Request).params)


@cache
def _keys():
    return keysfile.load(filed(KEYS_FILE, "keys.toml"))


def shipment_seed():
    path = folder() / "shipment.toml"
    meters = [(shipment.NewMeter("EXM1", "tcp://192.0.2.42:4059", "generic"), KEYS)]
    shipment.write(path, "Example Meters Ltd", "TK-1", TRANSPORT, meters)
    return path.read_bytes()


def head_end_seed():
    path = folder() / "headend.toml"
    shipment.write_head_end(path, "TK-1", TRANSPORT, KEYS, 7)
    return path.read_bytes()


def wrapped_seed():
    path = folder() / "wrapped"
    path.unlink(missing_ok=True)
    WrappedKeys.create(path, KEK).put("EXM1", KEYS)
    return path.read_bytes()


def family_seed():
    return (Path(meter_profile.__file__).parent / "families" / "generic.toml").read_bytes()


KEYS_FILE = (
    f'password = "12345678"\nsystem_title = "{METER_TITLE.hex()}"\nsuite = 0\n'
    f'guek = "{KEYS.guek.reveal().hex()}"\ngak = "{KEYS.gak.reveal().hex()}"\n'
).encode()
COLLECTOR = b"""
system_title = "4443550000000001"
trust_clock = "kernel"
[keys]
file = "keys"
[store]
directory = "store"
retention_days = 30
[[medium]]
name = "lan"
addresses = ["tcp://*"]
bitrate = 15000.0
duty = 0.5
[retry]
attempts = 3
[limits]
batch = 2
"""
LINES = (
    b'{"id": 1, "method": "meters", "params": {"name": "EXM1"}}',
    b'{"id": 1, "error": {"kind": "LinkTimeout", "message": "no answer"}}',
    b'{"id": 2, "error": {"kind": "DecodeError", "message": "x"}}',
    json.dumps({"topic": "reading", "data": {"meter": "EXM1"}}).encode(),
)


# --- the device: what U-Boot's tools answer, what lies on persist


def version(data):
    text = data.decode("latin-1")
    assert Version.parse(str(Version.parse(text))) == Version.parse(text)


def u_boot(data):
    return bootenv.decode(bootenv.parse(data)).slot


def written_doubly(data):
    generation, content = doubly.decode(data)
    assert doubly.encode(generation, content) == data


U_BOOT = b"slot=b\nupgrade_available=1\nbootcount=2\nustate=1\nrollback_reason=health:store\nboot_failures=0\n"
