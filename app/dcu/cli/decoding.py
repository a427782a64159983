"""From captured frames to plain APDUs: deciphered and checked, blocks put together, values decoded.

A capture of a session is followed as it goes: the AARQ and AARE tell the system titles, the AARQ the dedicated key.
What a tag does not prove is said in a note. Nothing secret leaves here: neither a password nor a dedicated key is in
what is shown, nor in what the gurux worker gets.
"""

import contextlib
from dataclasses import dataclass, field, fields, replace
from typing import Any

from dcu.cli import decoding_short, unsealing
from dcu.cli.capture import Captured
from dcu.cli.repair import salvage
from dcu.cosem import acse, apdu, axdr, gbt, general, pushed, security
from dcu.cosem.acse import Aare, Aarq, Acse, Mechanism
from dcu.cosem.apdu import (
    Apdu,
    DataNotification,
    GetRequestList,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseNormal,
    InitiateRequest,
    service_name,
)
from dcu.cosem.apdu.short import Short, Taken
from dcu.cosem.apdu.short import encode as encode_short
from dcu.cosem.ciphering import is_protected
from dcu.cosem.gbt import Received
from dcu.cosem.security import Cipher, Ciphered, Framing, Opened, Protection
from dcu.credentials import Secret
from dcu.errors import DecodeError, KeysError
from dcu.keys.keysfile import KeysFile

Plain = Apdu | Acse | Short

MAX_VALUE = 16 << 20  # bytes of a value in blocks; a year of quarter-hours in ten columns takes half of it
VALUES = frozenset(("body", "value", "values", "result", "results", "parameter"))  # fields that hold encoded values
_CLIENT_TAGS = (0x01, 0x05, 0x06, 0x16, 0xC0, 0xC1, 0xC3)


@dataclass(frozen=True, slots=True)
class Decoded:
    """One APDU as it can be shown. apdu: None where the frame has none, or its service is not known here.

    initiate: what an AARQ or AARE carries inside, plain; raw: the APDU for the gurux worker, in the standard's form;
    opened: what it was protected with; notes: what a reader has to know.
    """

    captured: Captured
    apdu: Plain | None = None
    initiate: Apdu | None = None
    raw: bytes = field(default=b"", repr=False)
    opened: Opened | None = None
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Exchange:
    """What is known of two parties from what they said so far."""

    client_title: bytes | None
    server_title: bytes | None
    dedicated: Cipher | None = None
    listed: bool = False  # the last GET was with-list
    blocks: int = 0
    joined: bytearray = field(default_factory=bytearray)
    received: Received | None = None  # general blocks, of whoever sends them: never both at a time
    short: decoding_short.Blocks = field(default_factory=lambda: decoding_short.Blocks(MAX_VALUE))


def is_whole(raw: bytes) -> bool:
    """Whether `raw` is one complete APDU, ciphered or plain."""
    try:
        if security.is_ciphered(raw):
            security.parse(raw)
        elif raw[0] == gbt.TAG:
            gbt.decode(raw)
        elif raw[0] == general.SIGNING:
            general.parse_signed(raw)
        elif raw[0] == general.CIPHERING:
            general.parse(raw)
        elif 0x60 <= raw[0] <= 0x63:
            acse.decode(raw)
        elif raw[0] in decoding_short.TAGS:
            decoding_short.decode(raw)
        else:
            _with_values(apdu.decode(raw), damaged=False)
    except DecodeError:
        return False
    return True


class Decoder:
    """Takes what was captured, in order. `keys`: None where nothing is ciphered."""

    def __init__(self, keys: KeysFile | None = None) -> None:
        self._keys = keys
        self._exchanges: dict[frozenset[str], _Exchange] = {}

    def take(self, captured: Captured) -> Decoded | None:
        """Return what it holds; None for a block that is not the last. Raises DcuError."""
        if not captured.apdu:
            return Decoded(captured)
        exchange = self._exchange(captured)
        whole, opened = _whole(captured.apdu, exchange), None
        if whole is None:
            return None
        plain = whole
        notes: tuple[str, ...] = ()
        if plain[0] == general.SIGNING:
            plain, signer = unsealing.unsigned(plain, self._keys)
            notes = (signer,)
        if is_protected(plain):
            opened = unsealing.opened(plain, self._keys) if general.is_general(plain) else self._open(plain, exchange)
            plain = opened.apdu
            if Protection.AUTHENTICATED not in opened.protection:
                notes = (*notes, "encrypted without a tag: nothing proves that it is what was sent")
        found: Decoded | None
        if 0x60 <= plain[0] <= 0x63:
            found = self._acse(captured, plain, exchange)
        elif plain[0] in decoding_short.TAGS:
            found = _by_short_names(captured, plain, exchange)
        else:
            found = self._xdlms(captured, plain, exchange)
        return found and replace(found, opened=opened, notes=notes + found.notes)

    def finish(self) -> None:
        """Raises DecodeError where a transfer in blocks has not come to its end."""
        for exchange in self._exchanges.values():
            if exchange.received and exchange.received.begun:
                raise DecodeError(
                    f"the general-block-transfer breaks off: {exchange.received.arrived} blocks are there without a gap"
                )
            exchange.short.finish()
            if exchange.blocks:
                raise DecodeError(f"the get-response ends after {exchange.blocks} blocks, the last one is missing")

    def _exchange(self, captured: Captured) -> _Exchange:
        if captured.ends not in self._exchanges:
            keys = self._keys
            titles = (keys.client_title, keys.system_title) if keys else (None, None)
            self._exchanges[captured.ends] = _Exchange(*titles)
        return self._exchanges[captured.ends]

    # --- ciphering

    def _open(self, frame: bytes, exchange: _Exchange) -> Opened:
        ciphered = security.parse(frame)
        title = ciphered.title or self._sender(ciphered, exchange)
        if self._keys is None:
            raise KeysError(
                f"{service_name(frame[0])}, {ciphered.control.protection}, from system title "
                f"{title.hex().upper() if title else 'not said'}, invocation counter {ciphered.counter}: "
                "give the keys with --keys FILE"
            )
        if title is None:
            who = "client_title" if ciphered.service in _CLIENT_TAGS else "system_title"
            raise KeysError(
                f"{self._keys.path}: key {who} is missing: {service_name(frame[0])} does not name its sender"
            )
        return security.unprotect(self._cipher(ciphered, exchange), ciphered, title=title)

    def _sender(self, ciphered: Ciphered, exchange: _Exchange) -> bytes | None:
        return exchange.client_title if ciphered.service in _CLIENT_TAGS else exchange.server_title

    def _cipher(self, ciphered: Ciphered, exchange: _Exchange) -> Cipher:
        if ciphered.framing in (Framing.DEDICATED, Framing.GENERAL_DEDICATED):
            if exchange.dedicated is None:
                raise KeysError("it uses a dedicated key, and no AARQ that told it came before in this capture")
            return exchange.dedicated
        assert self._keys is not None
        if self._keys.guek is None:
            self._keys.meter_keys()  # says which key is missing
        assert self._keys.guek is not None
        return self._make(self._keys.guek, ciphered.control.protection)

    def _make(self, encryption: Secret, protection: Protection) -> Cipher:
        assert self._keys is not None
        if self._keys.gak is None and Protection.AUTHENTICATED in protection:
            raise KeysError(f"{self._keys.path}: key gak is missing: the frame is {protection}")
        try:
            return Cipher(encryption, self._keys.gak or Secret(bytes(len(encryption))), suite=self._keys.suite)
        except ValueError as error:
            raise KeysError(f"{self._keys.path}: {error}") from None

    # --- what is inside

    def _acse(self, captured: Captured, plain: bytes, exchange: _Exchange) -> Decoded:
        found = acse.decode(plain)
        if isinstance(found, Aarq):
            exchange.client_title = found.calling_title or exchange.client_title
        elif isinstance(found, Aare):
            exchange.server_title = found.responding_title or exchange.server_title
        notes: list[str] = []
        initiate, shown = self._user_information(found, exchange, notes)
        if isinstance(shown, Aarq) and shown.mechanism is Mechanism.LOW and shown.authentication_value:
            notes.append("the password is not shown")
            shown = replace(shown, authentication_value=bytes(len(shown.authentication_value)))
        raw = plain if shown == found else acse.encode(shown)
        return Decoded(captured, shown, initiate, raw, notes=tuple(notes))

    def _user_information(self, found: Acse, exchange: _Exchange, notes: list[str]) -> tuple[Apdu | None, Acse]:
        information = found.user_information
        if information is None:
            return None, found
        if security.is_ciphered(information):
            if self._keys is None:
                notes.append("its user-information is ciphered: give the keys with --keys FILE")
                return None, found
            information = self._open(information, exchange).apdu
        initiate = apdu.decode(information)
        if isinstance(initiate, InitiateRequest) and initiate.dedicated_key is not None:
            if self._keys is not None:
                exchange.dedicated = self._make(initiate.dedicated_key, Protection.BOTH)
            initiate = replace(initiate, dedicated_key=None)
            notes.append("its dedicated key is not shown")
            information = apdu.encode(initiate)
        return initiate, replace(found, user_information=information)

    def _xdlms(self, captured: Captured, plain: bytes, exchange: _Exchange) -> Decoded | None:
        try:
            found = apdu.decode(plain)
        except DecodeError as error:
            if not str(error).partition(" (at byte")[0].endswith("is not supported"):
                raise
            return Decoded(captured, raw=plain, notes=(f"{error}: shown as the gurux worker reads it, unchecked",))
        if isinstance(found, GetRequestNormal | GetRequestList):
            exchange.listed = isinstance(found, GetRequestList)
        if isinstance(found, GetResponseBlock):
            joined = _joined(found, exchange)
            if joined is None:
                return None
            found = joined
        secret = isinstance(found, InitiateRequest) and found.dedicated_key is not None
        if isinstance(found, InitiateRequest):
            found = replace(found, dedicated_key=None)
        found, notes = _with_values(found, damaged=bool(captured.fault))
        if secret:
            notes = (*notes, "its dedicated key is not shown")
        return Decoded(captured, found, None, apdu.encode(found), notes=notes)


def _by_short_names(captured: Captured, plain: bytes, exchange: _Exchange) -> Decoded | None:
    found = exchange.short.take(decoding_short.decode(plain))
    if found is None:
        return None
    if any(isinstance(result, Taken) for result in getattr(found, "results", ())):
        return Decoded(captured, found, notes=("a block of the request has arrived",))  # no word of the worker's
    return Decoded(captured, found, raw=encode_short(found))


def _whole(raw: bytes, exchange: _Exchange) -> bytes | None:
    """`raw`, or what it and the general blocks before it add up to; None while some are missing. Raises DecodeError.

    A block without data only confirms what the other side sent, unless it ends the blocks.
    """
    if raw[0] != gbt.TAG:
        return raw
    block, received = gbt.decode(raw), exchange.received
    if received is None or received.another(block):
        received = exchange.received = Received(MAX_VALUE)
    if block.data or (block.last and block.number == received.arrived + 1 > 1):
        received.keep(block)
    if (whole := received.whole) is not None:
        exchange.received = None
        if not whole:
            raise DecodeError("general blocks without an APDU")
    return whole


def _joined(block: GetResponseBlock, exchange: _Exchange) -> Apdu | None:
    """The whole response once its last block is there. Raises DecodeError for a block that is not the next."""
    expected = exchange.blocks + 1
    if block.block == exchange.blocks and exchange.blocks:
        return None  # sent again
    if block.block != expected:
        exchange.blocks = 0
        raise DecodeError(f"get-response: block {block.block} came where block {expected} is due")
    if not isinstance(block.result, bytes):
        exchange.blocks = 0
        return GetResponseNormal(block.invoke, block.result)
    exchange.joined += block.result
    exchange.blocks = block.block
    if len(exchange.joined) > MAX_VALUE:
        raise DecodeError(f"get-response: more than {MAX_VALUE} bytes in blocks")
    if not block.last:
        return None
    value = bytes(exchange.joined)
    exchange.joined.clear()
    exchange.blocks = 0
    if exchange.listed:
        return apdu.decode(bytes((0xC4, 3, block.invoke)) + value)
    return GetResponseNormal(block.invoke, value)


def _with_values(found: Apdu, *, damaged: bool) -> tuple[Apdu, tuple[str, ...]]:
    """`found` with every value decodable, and what had to be done for that. Raises DecodeError."""
    if isinstance(found, GetResponseBlock):
        return found, ()  # a piece of a value
    notes: list[str] = []
    changed: dict[str, Any] = {}
    for each in fields(found):
        value = getattr(found, each.name)
        if each.name not in VALUES or value is None:
            continue
        if isinstance(value, tuple):
            changed[each.name] = tuple(_value(item, found, damaged, notes) for item in value)
        else:
            changed[each.name] = _value(value, found, damaged, notes)
    return replace(found, **changed), tuple(notes)


def _value(value: object, of: Apdu, damaged: bool, notes: list[str]) -> object:
    if not isinstance(value, bytes):
        return value
    try:
        axdr.decode(value)
    except DecodeError as error:
        data, note = _repaired(value, of, damaged, error)
        notes.append(note)
        return axdr.encode(data)
    return value


def _repaired(value: bytes, of: Apdu, damaged: bool, error: DecodeError) -> tuple[axdr.Data, str]:
    if isinstance(of, DataNotification):
        with contextlib.suppress(DecodeError):
            data, habits = pushed.decode_body(value)
            return data, f"not by the standard: {'; '.join(habits)}"
    if not damaged:
        raise DecodeError(f"the value of a {service_name(apdu.encode(of)[0])}: {error}")
    data, reason = salvage(value)
    return data, f"damaged: {reason}; what follows is shown as one octet-string at the end"
