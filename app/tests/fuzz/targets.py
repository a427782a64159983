"""The registry: every parser of dcu that takes bytes from the world, each with its seeds and what it may raise."""

from contextlib import suppress
from zoneinfo import ZoneInfo

from dcu.cosem import acse, apdu, axdr, gbt, objects, pushed, security
from dcu.cosem.apdu import initiate
from dcu.cosem.apdu.wire import Reader
from dcu.cosem.datetimes import CosemDate, CosemDateTime, CosemTime, TimeZoneRule
from dcu.cosem.exchange import decode_results, decode_returned
from dcu.cosem.profile import CLOCK, by_entry, by_range, decode_capture_objects, encode_capture_objects, parse_selection
from dcu.cosem.rows import decode_rows
from dcu.cosem.security import Protection
from dcu.cosem.selection import Selection
from dcu.errors import ConfigError, DcuError, DecodeError, SecurityError
from dcu.link import hdlc, segments, wrapper
from dcu.model import AttributeRef, Obis

from . import deeds, links, networks, protection, seeds, sessions, short_names, street, targets_written
from .engine import Target
from .streams import cut

RIYADH = TimeZoneRule(ZoneInfo("Asia/Riyadh"))
VIENNA = TimeZoneRule(ZoneInfo("Europe/Vienna"), deviation_sign=-1)


def cuttable(*wires):
    return tuple(bytes((size,)) + wire for wire in wires for size in (6, 63))


# --- link


def wrapper_stream(data):
    decoder = wrapper.Decoder()
    frames = [frame for part in cut(data) for frame in decoder.feed(part)]
    return bool(frames), bool(decoder.pending)


def wrapper_datagram(data):
    frame = wrapper.decode(data)
    assert wrapper.encode(frame.source, frame.destination, frame.apdu) == data


def hdlc_frames(data):
    strict, lenient = hdlc.Decoder(), hdlc.Decoder(inspect=True)
    good = [frame for part in cut(data) for frame in strict.feed(part)]
    seen = [frame for frame in lenient.feed(data[1:]) if not frame.fault]
    assert strict.pending <= hdlc.MAX_LENGTH + 2
    assert all(next(hdlc.Decoder().feed(hdlc.encode(frame))) == frame for frame in good)
    return bool(good), bool(seen), *(bool(getattr(strict.skipped, cause)) for cause in ("hcs", "fcs", "flag"))


def hdlc_messages(data):
    listener = segments.Listener(max_apdu=4096)
    messages = [message for part in cut(data) for message in listener.feed(part)]
    assert all(len(message.apdu) <= 4096 for message in messages)
    broken = listener.joiner.broken
    return bool(messages), bool(broken.sequence), bool(broken.interleaved), bool(broken.llc), bool(broken.lost)


# --- cosem


def axdr_value(data):
    value = axdr.decode(data)
    assert axdr.skip(data, 0) == len(data)
    assert axdr.decode(axdr.encode(value)) == value or b"\x17" in data or b"\x18" in data  # NaN is not itself
    return value.tag.name


def axdr_parts(data):
    end, at = axdr.skip(data, 0), axdr.decode_at(data, 0)[1]
    assert end == at <= len(data)


def axdr_description(data):
    return axdr.decode_length(data, 0)[0] > 127, type(axdr.decode_description(data, 0)), axdr.decode_tag(data[0])


def general_block(data):
    block = gbt.decode(data)
    assert gbt.decode(gbt.encode(block)) == block
    gbt.Transfer(20, limit=4096).take(block)


def one_apdu(data):
    decoded = apdu.decode(data)
    assert apdu.decode(apdu.encode(decoded)) == decoded
    return type(decoded).__name__


def initiate_parts(data):
    for decode in (initiate.decode_request, initiate.decode_response):
        with suppress(DecodeError):
            decode(Reader(data))
    return initiate.decode_error(Reader(data))


def one_acse(data):
    decoded = acse.decode(data)
    assert acse.decode(acse.encode(decoded)) == decoded
    return type(decoded).__name__


def unprotected(data):
    ciphered = security.parse(data)
    with suppress(SecurityError, DecodeError):
        security.unprotect(sessions.CIPHER, data, title=sessions.CLIENT_TITLE)
    return security.unprotect(sessions.CIPHER, ciphered, title=sessions.METER_TITLE).framing.name


def moment(data):
    for rule in (RIYADH, VIENNA):
        decoded = CosemDateTime.parse(data)
        assert CosemDateTime.parse(decoded.encode()) == decoded
        decoded.utc(rule)
        str(decoded)


def date(data):
    assert CosemDate.parse(data).encode() == data
    return "*" in str(CosemDate.parse(data))


def time(data):
    assert CosemTime.parse(data).encode() == data
    return "*" in str(CosemTime.parse(data))


def profile(data):
    rows = decode_rows(data, RIYADH, period=3600)
    decode_rows(memoryview(data), VIENNA, clock_column=None, period=0)
    return len(rows) > 1, tuple(map(type, rows[0] if rows else ()))


def selection(data):
    return type(parse_selection(Selection(data[0] if data else 0, data[1:])))


def pushed_body(data):
    value, habits = pushed.decode_body(data)
    axdr.encode(value)
    return habits


def object_list(data):
    elements = objects.decode_object_list(data)
    with suppress(ValueError):  # what a meter wrote into a wider type than the standard's
        assert objects.decode_object_list(objects.encode_object_list(elements)) == elements
    return bool(elements)


def typed(data):
    """The typed readings of an attribute's value: at least one of them must fit for a good outcome."""
    fits = []
    for decode in _TYPED:
        with suppress(DecodeError):
            decode(data)
            fits.append(decode.__name__)
    if not fits:
        raise DecodeError("none fits")
    return ", ".join(fits)


def interpreted(data):
    """What the command line shows of an attribute: two bytes of class, one of attribute, then the value."""
    ref = AttributeRef(
        int.from_bytes(data[:2], "big"), Obis(b"\x01\x00\x01\x08\x00\xff"), data[2] if len(data) > 2 else 0
    )
    return type(objects.interpret(ref, axdr.decode(data[3:])))


_TYPED = (
    objects.decode_scaler_unit,
    objects.decode_clock,
    objects.decode_int,
    objects.decode_control_state,
    objects.decode_control_mode,
    lambda data: objects.decode_demand_register(dict.fromkeys(range(1, 10), data)),
)
_STREAMS = cuttable(seeds.WRAPPED * 2)
_HDLC = cuttable(seeds.SNRM * 2 + seeds.AARQ_FRAME, seeds.SEGMENTS, *seeds.CAPTURED)
_SECURITY = (DecodeError, SecurityError)
_GLOBAL = security.protect(
    sessions.CIPHER, sessions.GET, protection=Protection.BOTH, title=sessions.CLIENT_TITLE, counter=7
)
_CIPHERED = (
    _GLOBAL,
    sessions.PUSH,
    *(frame for frame in (*sessions.REQUESTS, *sessions.ANSWERS) if security.is_ciphered(frame)),
)
_ANY = (DcuError,)
_AARES = tuple(answer for answer in sessions.ANSWERS if answer[0] == 0x61)
_PLAIN = (sessions.GET, sessions.NOTIFICATION, *sessions.REQUESTS[-6:], *sessions.ANSWERS[-6:])
_SELECTIONS = (
    by_range(CLOCK, seeds.CLOCK_OF, seeds.CLOCK_OF, (CLOCK,)),
    by_entry(1, 24),
)
_BODIES = tuple(
    bytes.fromhex(raw)
    for raw in (
        "0101 0202 0609 0100010800ff 0600000001",
        "0201 0202 0003 0100010800ff 02 0600000001",
    )
)
_HEADS = tuple(map(bytes.fromhex, ("000303", "000802", "000f02", "004602", "270f02")))
_OBJECT_LISTS = (
    objects.encode_object_list(
        objects.ObjectListElement(
            class_id,
            0,
            Obis.parse("1-0:1.8.0*255"),
            (objects.AttributeAccess(1, 1), objects.AttributeAccess(2, 3)),
            (objects.MethodAccess(1, 1),),
        )
        for class_id in (3, 7, 9999)
    ),
)

LINK = (
    Target("wrapper-stream", wrapper_stream, _STREAMS, ("dcu.link.wrapper.Decoder.feed",)),
    Target("wrapper-datagram", wrapper_datagram, (seeds.WRAPPED,), ("dcu.link.wrapper.decode",)),
    Target("hdlc", hdlc_frames, _HDLC, ("dcu.link.hdlc.Decoder.feed",), (), (seeds.SNRM, seeds.AARQ_FRAME), 4096),
    Target("hdlc-messages", hdlc_messages, _HDLC, ("dcu.link.segments.Listener.feed",), (), (seeds.SEGMENTS,)),
    Target("hdlc-parameters", links.terms, links.PARAMETERS, ("dcu.link.hdlc_parameters.decode_parameters",)),
    Target("hdlc-frmr", links.rejection, links.REJECTIONS, ("dcu.link.hdlc_parameters.decode_rejection",)),
    Target(
        "hdlc-station", links.station, links.STATION_SEEDS, ("dcu.link.hdlc_server.Station.feed",), (), links.UP, 4096
    ),
    Target(
        "hdlc-multidrop",
        links.multidrop,
        links.STATION_SEEDS,
        ("dcu.link.hdlc_multidrop.Multidrop.feed",),
        (),
        links.UP,
        4096,
    ),
    Target(
        "mode-e",
        links.signed_on,
        links.SIGN_ONS,
        tuple(f"dcu.link.mode_e.decode_{what}" for what in ("identification", "acknowledgement", "readout")),
    ),
    Target("mode-e-stream", links.lines, cuttable(*links.SIGN_ONS), ("dcu.link.mode_e.Lines.feed",), (), (b"\x02",)),
    Target("sniffed", links.sniffed, _HDLC, ("dcu.cli.sniff.Tap.feed",), (), (seeds.SNRM, seeds.AARQ_FRAME), 4096),
    Target("reach", links.reach, links.REACHES, ("dcu.collect.reach.Reach.parse",), (ConfigError, UnicodeDecodeError)),
    Target(
        "hdlc-client",
        links.Client(),
        links.CLIENT_SEEDS,
        ("dcu.link.hdlc_client.ClientLink.feed",),
        (),
        links.DOWN,
        4096,
    ),
)
COSEM = (
    Target("axdr", axdr_value, seeds.VALUES, ("dcu.cosem.axdr.decode",)),
    Target("axdr-parts", axdr_parts, seeds.VALUES, ("dcu.cosem.axdr.skip", "dcu.cosem.axdr.decode_at")),
    Target(
        "axdr-description",
        axdr_description,
        (b"\x02\x02\x11\x12", b"\x01\x00\x05\x06", b"\x11", b"\x12"),
        ("dcu.cosem.axdr.decode_description", "dcu.cosem.axdr.decode_length", "dcu.cosem.axdr.decode_tag"),
    ),
    Target(
        "apdu",
        one_apdu,
        (*_PLAIN, *seeds.WRITTEN),
        ("dcu.cosem.apdu.codec.decode", *(f"dcu.cosem.apdu.access.decode_{what}" for what in ("request", "response"))),
    ),
    Target(
        "general-block",
        general_block,
        (bytes.fromhex("E04300010000 02C401"), bytes.fromhex("E08101020005 00")),
        ("dcu.cosem.gbt.decode",),
    ),
    Target(
        "initiate",
        initiate_parts,
        (bytes.fromhex("000000065f1f0400401e5dffff"), bytes.fromhex("00065f1f040000301d04b00007"), b"\x01\x06\x01"),
        tuple(f"dcu.cosem.apdu.initiate.decode_{what}" for what in ("request", "response", "error")),
    ),
    Target(
        "acse",
        one_acse,
        tuple(f for f in (*sessions.REQUESTS, *sessions.ANSWERS) if f[0] in range(0x60, 0x64)),
        ("dcu.cosem.acse.decode",),
    ),
    Target("security", unprotected, _CIPHERED, ("dcu.cosem.security.parse", "dcu.cosem.security.unprotect"), _SECURITY),
    Target("date-time", moment, seeds.MOMENTS, ("dcu.cosem.datetimes.CosemDateTime.parse",)),
    Target("date", date, seeds.DATES, ("dcu.cosem.datetimes.CosemDate.parse",)),
    Target("time", time, seeds.TIMES, ("dcu.cosem.datetimes.CosemTime.parse",)),
    Target("profile-rows", profile, seeds.PROFILES, ("dcu.cosem.rows.decode_rows",)),
    Target(
        "capture-objects",
        decode_capture_objects,
        (encode_capture_objects([CLOCK] * 3),),
        ("dcu.cosem.profile.decode_capture_objects",),
    ),
    Target(
        "selection",
        selection,
        tuple(bytes((chosen.selector,)) + chosen.parameter for chosen in _SELECTIONS),
        ("dcu.cosem.profile.parse_selection",),
    ),
    Target("pushed-body", pushed_body, (*_BODIES, *seeds.VALUES), ("dcu.cosem.pushed.decode_body",)),
    Target("object-list", object_list, _OBJECT_LISTS, ("dcu.cosem.objects.decode_object_list",)),
    Target(
        "typed-values",
        typed,
        (*seeds.VALUES, b"\x02\x02\x0f\xfd\x16\x1e", b"\x09\x0c" + seeds.CLOCK, b"\x16\x01"),
        tuple(
            f"dcu.cosem.objects.decode_{what}"
            for what in ("scaler_unit", "clock", "int", "control_state", "control_mode", "demand_register")
        ),
    ),
    Target(
        "interpreted",
        interpreted,
        tuple(head + value for head in _HEADS for value in seeds.VALUES[:8]),
        ("dcu.cosem.objects.interpret",),
    ),
    Target(
        "returned", decode_returned, (b"\x02\x00\x00\x03\x01\x01\x03", b"\x00"), ("dcu.cosem.exchange.decode_returned",)
    ),
    Target(
        "get-results", decode_results, (b"\x02\x00\x11\x01\x01\x03", b"\x00"), ("dcu.cosem.exchange.decode_results",)
    ),
)
SESSIONS = (
    Target("server-session", sessions.Servers(), (*sessions.REQUESTS, sessions.GET), allowed=(), seconds=0.1),
    Target("associate-plain", sessions.Associating(sessions.PLAIN, 16), _AARES, allowed=_ANY),
    Target("associate-secured", sessions.Associating(sessions.SECURED, 1), _AARES, allowed=_ANY),
    Target("get-plain", sessions.Asking(sessions.PLAIN, 16, bytes), _PLAIN, allowed=_ANY),
    Target("get-secured", sessions.Asking(sessions.SECURED, 1, bytes), sessions.ANSWERS, allowed=_ANY, seconds=0.1),
    Target("get-sealed", sessions.Asking(sessions.SECURED, 1, sessions.sealed), _PLAIN, allowed=_ANY, seconds=0.1),
    Target("push", sessions.pushed, (sessions.PUSH, sessions.NOTIFICATION), allowed=_ANY),
)
TARGETS = (
    *deeds.TARGETS,
    *protection.TARGETS,
    *LINK,
    *networks.TARGETS,
    *COSEM,
    *SESSIONS,
    *short_names.TARGETS,
    *targets_written.TARGETS,
    *street.TARGETS,
)
