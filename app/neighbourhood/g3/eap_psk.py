"""EAP-PSK (RFC 4764): a joining device and the coordinator prove a shared key to each other, and open a channel.

Four messages: ``RandS, IdS`` → ``RandS, RandP, MacP, IdP`` → ``RandS, MacS, channel`` → ``RandS, channel``. The channel
is ``nonce (4) | tag (16) | ciphertext``, EAX over the first 22 bytes of the packet; its plaintext is a byte with result
and extension flag, and the extension, in which G3 carries the device's address and group key. Packets here are those of
EAP itself; that G3 writes their code shifted by two bits is the business of the frame around them (`lbp`).

Sources: RFC 3748 (packet), RFC 4764 (type 47), "The EAX Mode of Operation" (Bellare, Rogaway, Wagner, 2004).
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from dcu.errors import AuthenticationFailed, DecodeError, TagMismatch

KIND = 47  # EAP's type number of EAP-PSK
BLOCK = 16
HEADER = 22  # what EAX authenticates besides: EAP header, type, flags, RandS
ID_LIMIT = 966  # RFC 4764, 5.1: longer identities do not fit an EAP packet of 1020 bytes
SHORTEST_CHANNEL = 4 + BLOCK + 1


class Code(IntEnum):
    REQUEST = 1
    RESPONSE = 2
    SUCCESS = 3
    FAILURE = 4


class Result(IntEnum):
    CONTINUE = 1
    SUCCESS = 2
    FAILURE = 3


# --- packets


@dataclass(frozen=True, slots=True)
class Packet:
    """An EAP packet. `step`: which of the four messages (0..3) `body` is; None for success and failure (no body)."""

    code: Code
    identifier: int
    step: int | None = None
    body: bytes = b""

    def encode(self) -> bytes:
        rest = b"" if self.step is None else bytes((KIND, self.step << 6)) + self.body
        return bytes((self.code, self.identifier)) + (4 + len(rest)).to_bytes(2, "big") + rest


def decode(data: bytes) -> Packet:
    """Raises DecodeError for what is not EAP-PSK."""
    if len(data) < 4:
        raise DecodeError(f"EAP packet of {len(data)} bytes, at least 4")
    if data[0] not in _CODES:
        raise DecodeError(f"EAP code {data[0]}", 0)
    if int.from_bytes(data[2:4], "big") != len(data):
        raise DecodeError(f"EAP packet of {len(data)} bytes says it has {int.from_bytes(data[2:4], 'big')}", 2)
    code = Code(data[0])
    if code in (Code.SUCCESS, Code.FAILURE):
        if len(data) != 4:
            raise DecodeError("EAP success and failure carry nothing", 4)
        return Packet(code, data[1])
    if len(data) < HEADER or data[4] != KIND or data[5] & 0x3F:
        raise DecodeError("not EAP-PSK (type 47), or cut short", 4)
    return Packet(code, data[1], data[5] >> 6, data[6:])


_CODES = frozenset(Code)


def message(packet: Packet, code: Code, step: int) -> bytes:
    """The body of `packet` when it is that message. Raises DecodeError."""
    if (packet.code, packet.step) != (code, step):
        raise DecodeError(f"EAP-PSK message {packet.step} in a {packet.code.name.lower()}, {step} expected")
    return packet.body


# --- keys


@dataclass(frozen=True, slots=True)
class LongTerm:
    """What a pre-shared key stands for: authentication key and key-derivation key."""

    ak: bytes
    kdk: bytes

    @classmethod
    def of(cls, psk: bytes) -> "LongTerm":
        """RFC 4764, 3.1: the modified counter mode over block zero. `psk`: 16 bytes."""
        if len(psk) != BLOCK:
            raise ValueError(f"a pre-shared key of {len(psk)} bytes, not {BLOCK}")
        return cls(*_counter_mode(psk, bytes(BLOCK), 1, 2))


@dataclass(frozen=True, slots=True)
class Session:
    """Keys of one run: the channel's (16 bytes), and the two (64 bytes each) that EAP exports."""

    tek: bytes
    msk: bytes
    emsk: bytes

    @classmethod
    def of(cls, kdk: bytes, rand_p: bytes) -> "Session":
        """RFC 4764, 3.2."""
        blocks = _counter_mode(kdk, rand_p, *range(1, 10))
        return cls(blocks[0], b"".join(blocks[1:5]), b"".join(blocks[5:9]))


def mac_p(ak: bytes, id_p: bytes, id_s: bytes, rand_s: bytes, rand_p: bytes) -> bytes:
    return cmac(ak, id_p + id_s + rand_s + rand_p)


def mac_s(ak: bytes, id_s: bytes, rand_p: bytes) -> bytes:
    return cmac(ak, id_s + rand_p)


def cmac(key: bytes, data: bytes) -> bytes:
    context = CMAC(algorithms.AES(key))
    context.update(data)
    return context.finalize()


def _counter_mode(key: bytes, block: bytes, *counters: int) -> list[bytes]:
    encrypt = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - single blocks, as the RFC has them
    base = encrypt.update(block)
    return [encrypt.update(base[:-1] + bytes((base[-1] ^ counter,))) for counter in counters]


# --- the protected channel


def seal(tek: bytes, header: bytes, nonce: int, plain: bytes) -> bytes:
    """``nonce | tag | ciphertext``; `header` is the packet's first 22 bytes."""
    ciphered, tag = eax(tek, nonce.to_bytes(BLOCK, "big"), header, plain)
    return nonce.to_bytes(4, "big") + tag + ciphered


def unseal(tek: bytes, header: bytes, channel: bytes) -> tuple[int, bytes]:
    """Return nonce and plaintext (never empty). Raises DecodeError, TagMismatch."""
    if len(channel) < SHORTEST_CHANNEL:
        raise DecodeError(f"EAP-PSK channel of {len(channel)} bytes, at least {SHORTEST_CHANNEL}")
    nonce, tag, ciphered = channel[:4].rjust(BLOCK, b"\0"), channel[4:20], channel[20:]
    spread = _omac(tek, 0, nonce)
    if not hmac.compare_digest(tag, _tag(tek, spread, header, ciphered)):
        raise TagMismatch("the tag of the EAP-PSK channel does not fit: another key, or altered on the way")
    return int.from_bytes(nonce, "big"), _ctr(tek, spread, ciphered)


def eax(key: bytes, nonce: bytes, header: bytes, plain: bytes) -> tuple[bytes, bytes]:
    """Ciphertext and tag (16 bytes)."""
    spread = _omac(key, 0, nonce)
    ciphered = _ctr(key, spread, plain)
    return ciphered, _tag(key, spread, header, ciphered)


def _tag(key: bytes, spread: bytes, header: bytes, ciphered: bytes) -> bytes:
    parts = (spread, _omac(key, 1, header), _omac(key, 2, ciphered))
    a, b, c = (int.from_bytes(part, "big") for part in parts)
    return (a ^ b ^ c).to_bytes(BLOCK, "big")


def _omac(key: bytes, tweak: int, data: bytes) -> bytes:
    return cmac(key, bytes(BLOCK - 1) + bytes((tweak,)) + data)


def _ctr(key: bytes, start: bytes, data: bytes) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(start)).encryptor().update(data)


def encode_plain(result: Result, extension: bytes = b"") -> bytes:
    """RFC 4764, 5.3: two bits of result, one that says whether an extension follows."""
    return bytes((result << 6 | (0x20 if extension else 0),)) + extension


def decode_plain(plain: bytes) -> tuple[Result, bytes]:
    """Raises DecodeError."""
    if not plain or plain[0] >> 6 == 0:
        raise DecodeError("EAP-PSK channel without a result")
    if bool(plain[0] & 0x20) != (len(plain) > 1):
        raise DecodeError("EAP-PSK channel: extension flag and extension do not fit", 1)
    return Result(plain[0] >> 6), plain[1:]


# --- the two sides


class State(Enum):
    WAITING = auto()
    PROVING = auto()  # the other side has to prove that it holds the key
    SUCCESS = auto()
    FAILURE = auto()


class Server:
    """The side that asks. `start()` gives the first message, `receive()` what answers each of the device's.

    extension: what the channel of the third message carries, given the device's identity
    """

    def __init__(
        self,
        psk: bytes,
        id_s: bytes,
        random: Callable[[int], bytes],
        *,
        identifier: int = 0,
        extension: Callable[[bytes], bytes] = lambda id_p: b"",
    ) -> None:
        self.keys = LongTerm.of(psk)
        self.id_s, self.id_p = id_s, b""
        self.rand_s, self.rand_p = random(BLOCK), b""
        self.state = State.WAITING
        self.session: Session | None = None
        self.answered = b""  # the extension of the device's last message
        self.identifier = identifier
        self._extension = extension
        self._said = b""
        self._heard = b""

    def start(self) -> bytes:
        self._said = Packet(Code.REQUEST, self.identifier, 0, self.rand_s + self.id_s).encode()
        return self._said

    def receive(self, data: bytes) -> bytes:
        """Answer the device's packet; a repeated one is answered as before.

        Raises DecodeError for what does not belong here, AuthenticationFailed or TagMismatch (the state is then
        FAILURE) for a device that does not hold the key.
        """
        if data == self._heard:
            return self._said
        packet = decode(data)
        if packet.identifier != self.identifier:
            raise DecodeError(f"EAP response to request {packet.identifier}, {self.identifier} is open")
        if self.state is State.WAITING:
            said = self._third(message(packet, Code.RESPONSE, 1))
        elif self.state is State.PROVING:
            said = self._last(data, message(packet, Code.RESPONSE, 3))
        else:
            raise DecodeError("EAP-PSK has ended")
        self._heard, self._said = data, said
        return said

    def _third(self, body: bytes) -> bytes:
        if not 0 < len(body) - 48 <= ID_LIMIT or body[:16] != self.rand_s:
            raise DecodeError("the second message of EAP-PSK is cut short, or of another run")
        self.rand_p, proof, self.id_p = body[16:32], body[32:48], body[48:]
        expected = mac_p(self.keys.ak, self.id_p, self.id_s, self.rand_s, self.rand_p)
        if not hmac.compare_digest(proof, expected):
            self.state = State.FAILURE
            raise AuthenticationFailed("the device does not hold the pre-shared key (EAP-PSK, MAC_P)")
        self.session = Session.of(self.keys.kdk, self.rand_p)
        self.identifier = self.identifier + 1 & 0xFF
        self.state = State.PROVING
        plain = encode_plain(Result.SUCCESS, self._extension(self.id_p))
        proof = mac_s(self.keys.ak, self.id_s, self.rand_p)
        return _sealed(Code.REQUEST, self.identifier, 2, self.rand_s + proof, self.session.tek, 0, plain)

    def _last(self, data: bytes, body: bytes) -> bytes:
        assert self.session
        if body[:16] != self.rand_s:
            raise DecodeError("the fourth message of EAP-PSK is of another run")
        try:
            nonce, plain = unseal(self.session.tek, data[:HEADER], body[16:])
        except TagMismatch:
            self.state = State.FAILURE
            raise
        if nonce != 1:
            raise DecodeError(f"EAP-PSK nonce {nonce}, 1 expected")
        result, self.answered = decode_plain(plain)
        self.identifier = self.identifier + 1 & 0xFF
        if result is not Result.SUCCESS:
            self.state = State.FAILURE
            return Packet(Code.FAILURE, self.identifier).encode()
        self.state = State.SUCCESS
        return Packet(Code.SUCCESS, self.identifier).encode()


class Peer:
    """The side that joins. `receive()` answers each of the server's packets, None where nothing is to be said.

    extension: is given what the third message's channel carries, returns what to answer in it and whether to accept
    """

    def __init__(
        self,
        psk: bytes,
        id_p: bytes,
        random: Callable[[int], bytes],
        *,
        extension: Callable[[bytes], tuple[bytes, bool]] = lambda carried: (b"", True),
    ) -> None:
        self.keys = LongTerm.of(psk)
        self.id_p, self.id_s = id_p, b""
        self.rand_p, self.rand_s = b"", b""
        self.state = State.WAITING
        self.session: Session | None = None
        self._random = random
        self._extension = extension
        self._said = b""
        self._heard = b""

    def receive(self, data: bytes) -> bytes | None:
        """Raises DecodeError for what does not belong here, AuthenticationFailed or TagMismatch for a server that does
        not hold the key; the state stays as it was, since anybody can send such a packet.
        """
        if data == self._heard:
            return self._said
        packet = decode(data)
        if packet.step is None:
            self._ended(packet)
            return None
        if packet.step == 0:
            said = self._second(packet.identifier, message(packet, Code.REQUEST, 0))
        elif self.state is State.WAITING:
            raise DecodeError("EAP-PSK has not begun")
        else:
            said = self._fourth(data, packet.identifier, message(packet, Code.REQUEST, 2))
        self._heard, self._said = data, said
        return said

    def _second(self, identifier: int, body: bytes) -> bytes:
        if not 0 < len(body) - 16 <= ID_LIMIT:
            raise DecodeError("the first message of EAP-PSK has no identity")
        self.rand_s, self.id_s, self.rand_p = body[:16], body[16:], self._random(BLOCK)
        self.session = Session.of(self.keys.kdk, self.rand_p)
        self.state = State.PROVING
        proof = mac_p(self.keys.ak, self.id_p, self.id_s, self.rand_s, self.rand_p)
        return Packet(Code.RESPONSE, identifier, 1, self.rand_s + self.rand_p + proof + self.id_p).encode()

    def _fourth(self, data: bytes, identifier: int, body: bytes) -> bytes:
        assert self.session
        if len(body) < 32 or body[:16] != self.rand_s:
            raise DecodeError("the third message of EAP-PSK is cut short, or of another run")
        if not hmac.compare_digest(body[16:32], mac_s(self.keys.ak, self.id_s, self.rand_p)):
            raise AuthenticationFailed("the server does not hold the pre-shared key (EAP-PSK, MAC_S)")
        nonce, plain = unseal(self.session.tek, data[:HEADER], body[32:])
        result, carried = decode_plain(plain)
        answer, accepted = self._extension(carried) if result is Result.SUCCESS else (b"", False)
        said = encode_plain(Result.SUCCESS if accepted else Result.FAILURE, answer)
        self.state = State.SUCCESS if accepted else State.FAILURE
        return _sealed(Code.RESPONSE, identifier, 3, self.rand_s, self.session.tek, nonce + 1 & 0xFFFFFFFF, said)

    def _ended(self, packet: Packet) -> None:
        if packet.code is Code.SUCCESS and self.state is not State.SUCCESS:
            raise DecodeError("EAP success before the proof")
        if packet.code is Code.FAILURE:
            self.state = State.FAILURE


def _sealed(code: Code, identifier: int, step: int, before: bytes, tek: bytes, nonce: int, plain: bytes) -> bytes:
    """A packet whose body ends with the channel: its length is in the header that the channel authenticates."""
    blank = Packet(code, identifier, step, before + bytes(4 + BLOCK + len(plain))).encode()
    return Packet(code, identifier, step, before + seal(tek, blank[:HEADER], nonce, plain)).encode()
