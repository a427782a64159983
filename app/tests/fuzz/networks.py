"""Field networks as fuzz targets: what arrives at a host from its G3 modem, and from the PAN through it."""

from contextlib import suppress

from dcu.errors import ConfigError, DecodeError
from dcu.fan import base
from dcu.fan.g3 import ipv6, messages, pib, plan, reports, requests, usi
from dcu.keys import network_file

from .engine import Target
from .streams import cut

_EUI = bytes.fromhex("0004a3fffe000017")
_HOPS = (reports.Hop(1, 0, 5, 0, 0, 0), reports.Hop(2, 0, 5, 0, 0, 0))
_PACKET = ipv6.encode(ipv6.Datagram(ipv6.address(0x781D, 1), ipv6.address(0x781D, 0), 4059, 0xF0B1, b"answer"))
_REPORTS = (
    reports.ModemStatus(1, 11),
    reports.DataConfirm(0, 7),
    reports.DataIndication(90, _PACKET),
    reports.NetworkStatus(0x781D, 1, _EUI, 0xDB, 5, 1, 0),
    reports.GetConfirm(0, pib.Adp.SOFT_VERSION, 0, b"\x01\x02\x03\x04\x05\x06"),
    reports.PathConfirm(0, 2, 0, 15, (_HOPS, _HOPS)),
    reports.RouteNotFound(1, 2, 3, 4, 5, 6, 7, True, False, _PACKET),
    reports.JoinRequest(_EUI),
    reports.JoinComplete(_EUI, 1),
)
_REQUESTS = (requests.Data(1, True, 0, _PACKET), requests.AssignShort(_EUI, 1), requests.LbpSet(2, 0, bytes(16)))
_FRAMES = tuple(usi.encode(usi.Frame(usi.Protocol.ADP, messages.encode(report))) for report in _REPORTS)
_ENTRIES = (
    pib.encode_route(pib.Route(3, 1, 9, 2, 0, 0, 360)),
    b"\x00\x01\x3f\x00\x00\x02" + bytes(9) + b"\x03\x5a\x00\x0a",
    b"\x00\x01\x5a\x00\x0a",
    b"\x00\x10\x00\x00",
)


def usi_stream(data):
    decoder = usi.Decoder()
    frames = [frame for part in cut(data) for frame in decoder.feed(part)]
    assert all(list(usi.Decoder().feed(usi.encode(frame))) == [frame] for frame in frames)
    skipped = decoder.skipped
    return bool(frames), bool(skipped.crc), bool(skipped.length), bool(skipped.protocol), bool(skipped.overflow)


def report(data):
    said = messages.decode_report(data)
    assert messages.decode_report(messages.encode(said)) == said
    return type(said).__name__


def request(data):
    asked = messages.decode_request(data)
    assert messages.decode_request(messages.encode(asked)) == asked
    return type(asked).__name__


def packet(data):
    datagram = ipv6.decode(data)
    assert ipv6.decode(ipv6.encode(datagram)) == datagram
    with suppress(DecodeError):
        return ipv6.short_address(datagram.source, 0x781D) > 0
    return None


def entries(data):
    """At least one of the tables' entries must fit for a good outcome."""
    fits = []
    for decode in (
        pib.decode_route,
        pib.decode_neighbour,
        pib.decode_seen,
        pib.decode_blacklisted,
        pib.decode_number,
    ):
        with suppress(DecodeError):
            fits.append(type(decode(data)).__name__)
    if not fits:
        raise DecodeError("none fits")
    return tuple(fits)


def notes(data):
    restored = plan.Plan.restored(data, 0x781D)
    assert plan.Plan.restored(restored.noted(), 0x781D).joined == restored.joined
    return len(restored), len(restored.joined), restored.rekeying is not None


def eui64(data):
    return len(base.parse_eui64(data.decode()))


def network_file_(data):
    return len(network_file.parse_network_file(data.decode(), "f"))


def _notes():
    kept = plan.Plan(0x781D)
    kept.give(frozenset((_EUI, bytes(8))), frozenset())
    kept.joined.add(_EUI)
    kept.rekeying = plan.Rekeying([_EUI])
    return kept.noted()


TARGETS = [
    Target(
        "usi",
        usi_stream,
        tuple(bytes((size,)) + wire for wire in _FRAMES for size in (6, 63)),
        ("dcu.fan.g3.usi.Decoder.feed",),
        (),
        (b"\x7e", b"\x7d", _FRAMES[1]),
    ),
    Target("g3-report", report, tuple(map(messages.encode, _REPORTS)), ("dcu.fan.g3.messages.decode_report",)),
    Target("g3-request", request, tuple(map(messages.encode, _REQUESTS)), ("dcu.fan.g3.messages.decode_request",)),
    Target("g3-ipv6", packet, (_PACKET,), ("dcu.fan.g3.ipv6.decode",)),
    Target(
        "g3-tables",
        entries,
        _ENTRIES,
        tuple(f"dcu.fan.g3.pib.decode_{what}" for what in ("route", "neighbour", "seen", "blacklisted", "number")),
    ),
    Target(
        "network-file",
        network_file_,
        (b'format = 1\ntransport_key = "T"\nwrapping = "aes-kwp"\npsk = "' + b"00" * 24 + b'"\n',),
        ("dcu.keys.network_file.parse_network_file",),
        (ConfigError, UnicodeDecodeError),
    ),
    Target("g3-notes", notes, (_notes(),)),
    Target(
        "eui-64",
        eui64,
        (b"0004A3FFFE000017", b"00:04:a3:ff:fe:00:00:17"),
        ("dcu.fan.base.parse_eui64",),
        (ConfigError, UnicodeDecodeError),
    ),
]
