"""6LoWPAN on a G3 MAC: mesh header, broadcast header, fragments, and the escape that LOADng and bootstrapping use.

An MSDU is one of ``40 01 | LOADng``, ``40 02 | LBP`` (one hop), or
``B0+hops | origin 2 | final 2 | [50 sequence] | what travels``, where what travels is ``40 02 | LBP``, a compressed
packet (IPHC), or a fragment of one: ``C0+size 2 | tag 2 | IPHC…`` and ``E0+size 2 | tag 2 | offset/8 | …``.

Source: RFC 4944, 5.2 (mesh), 5.3 (fragments), 11.1 (BC0); ITU-T G.9903, 9.4 (ESC and its commands).
"""

from dataclasses import dataclass

from dcu.errors import DecodeError
from neighbourhood.g3 import iphc
from neighbourhood.g3.frames import LONGEST_MSDU

LOADNG = b"\x40\x01"
LBP = b"\x40\x02"
LONGEST_PACKET = 1280
_MESH, _BC0, _FIRST, _NEXT = 0xB0, 0x50, 0xC0, 0xE0
_DEEP = 15  # hops left that do not fit the nibble have a byte of their own


@dataclass(slots=True)
class Mesh:
    """hops: how many are left. sequence: of a broadcast, else None. body: what travels."""

    hops: int
    origin: int
    final: int
    sequence: int | None
    body: bytes


def encode_mesh(mesh: Mesh) -> bytes:
    head = bytes((_MESH | mesh.hops,)) if mesh.hops < _DEEP else bytes((_MESH | _DEEP, mesh.hops))
    head += mesh.origin.to_bytes(2, "big") + mesh.final.to_bytes(2, "big")
    return head + (b"" if mesh.sequence is None else bytes((_BC0, mesh.sequence))) + mesh.body


def decode_mesh(msdu: bytes) -> Mesh:
    """Raises DecodeError."""
    if len(msdu) < 6 or msdu[0] & 0xF0 != _MESH:
        raise DecodeError("no mesh header with short addresses", 0)
    hops, at = msdu[0] & 15, 1
    if hops == _DEEP:
        hops, at = msdu[1], 2
    origin, final = int.from_bytes(msdu[at : at + 2], "big"), int.from_bytes(msdu[at + 2 : at + 4], "big")
    at += 4
    sequence = None
    if msdu[at : at + 1] == bytes((_BC0,)):
        if len(msdu) < at + 2:
            raise DecodeError("cut off", len(msdu))
        sequence, at = msdu[at + 1], at + 2
    if at >= len(msdu):
        raise DecodeError("nothing behind the mesh header", at)
    return Mesh(hops, origin, final, sequence, msdu[at:])


def pieces(packet: bytes, pan: int, origin: int, final: int, tag: int, room: int = LONGEST_MSDU - 7) -> list[bytes]:
    """A packet compressed, or its fragments. Raises ValueError for no IPv6 packet, or over 1280 bytes."""
    if len(packet) > LONGEST_PACKET:
        raise ValueError(f"IPv6 packet of {len(packet)} bytes, at most {LONGEST_PACKET}")
    head, stands_for = iphc.compress(packet, pan, origin, final)
    whole = head + packet[stands_for:]
    if len(whole) <= room:
        return [whole]
    size = len(packet)
    at = stands_for + (room - 4 - len(head))
    at -= at % 8
    label = tag.to_bytes(2, "big")
    found = [(_FIRST << 8 | size).to_bytes(2, "big") + label + head + packet[stands_for:at]]
    step = (room - 5) // 8 * 8
    while at < size:
        found.append((_NEXT << 8 | size).to_bytes(2, "big") + label + bytes((at // 8,)) + packet[at : at + step])
        at += step
    return found


class Reassembly:
    """Puts packets together. At most `MOST` are under way, the oldest goes first; none is older than `TTL` seconds."""

    MOST = 16
    TTL = 60.0

    def __init__(self) -> None:
        self._under_way: dict[tuple[int, int, int], _Datagram] = {}

    def feed(self, mesh: Mesh, pan: int, now: float) -> bytes | None:
        """The packet, where this piece makes it whole. Raises DecodeError."""
        body = mesh.body
        kind = body[0] & 0xF8
        if kind not in (_FIRST, _NEXT):
            return iphc.decompress(body, pan, mesh.origin, mesh.final)
        if len(body) < 6:
            raise DecodeError("cut off", len(body))
        size, tag = int.from_bytes(body[:2], "big") & 0x7FF, int.from_bytes(body[2:4], "big")
        if kind == _FIRST:
            at, piece = 0, iphc.decompress(body[4:], pan, mesh.origin, mesh.final, size)
        else:
            at, piece = body[4] * 8, body[5:]
        if size > LONGEST_PACKET or at + len(piece) > size or (len(piece) % 8 and at + len(piece) != size):
            raise DecodeError("fragment outside of its packet")
        return self._put((mesh.origin, tag, size), at, piece, now)

    def clear(self) -> None:
        self._under_way.clear()

    def _put(self, key: tuple[int, int, int], at: int, piece: bytes, now: float) -> bytes | None:
        datagram = self._under_way.get(key)
        if datagram is None or now - datagram.begun > self.TTL:
            self._under_way.pop(key, None)
            if len(self._under_way) >= self.MOST:
                del self._under_way[next(iter(self._under_way))]
            datagram = self._under_way[key] = _Datagram(bytearray(key[2]), set(), now)
        datagram.data[at : at + len(piece)] = piece
        datagram.there.update(range(at // 8, (at + len(piece) + 7) // 8))
        if len(datagram.there) < (key[2] + 7) // 8:
            return None
        del self._under_way[key]
        return bytes(datagram.data)


@dataclass(slots=True)
class _Datagram:
    data: bytearray
    there: set[int]  # units of eight bytes
    begun: float
