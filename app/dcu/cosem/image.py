"""Image transfer (class 18): what a client asks of it and what its answers mean, without I/O.

An image goes over in blocks that the meter numbers from 0. The meter says which of them it lacks, so a transfer goes on
where it was; to initiate begins it anew. To verify and to activate takes a meter minutes, in which it answers
temporary-failure: its status tells when that is over.

Source: DLMS Blue Book (IEC 62056-6-2) clause 4.4.6, Image transfer (class 18).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dcu.cosem import axdr, data
from dcu.cosem.apdu import ActionResult
from dcu.cosem.asking import Asking
from dcu.cosem.data import BitString
from dcu.cosem.exchange import Exchange
from dcu.cosem.named import Open
from dcu.errors import AccessDenied, DecodeError
from dcu.model import AttributeRef, MethodRef, Obis

CLASS = 18
CURRENT = Obis.parse("0-0:44.0.0*255")
LARGEST = 16 << 20  # bytes of an image, and blocks of one: more than any meter has room for
_BLOCK_SIZE, _HELD, _FIRST_MISSING, _ENABLED, _STATUS, _TO_ACTIVATE = 2, 3, 4, 5, 6, 7
_INITIATE, _TRANSFER, _VERIFY, _ACTIVATE = 1, 2, 3, 4
MOST_IMAGES = 64  # that one transfer may hold


class ImageStatus(Open):
    NOT_INITIATED = 0
    INITIATED = 1
    VERIFICATION_INITIATED = 2
    VERIFICATION_SUCCESSFUL = 3
    VERIFICATION_FAILED = 4
    ACTIVATION_INITIATED = 5
    ACTIVATION_SUCCESSFUL = 6
    ACTIVATION_FAILED = 7


@dataclass(frozen=True, slots=True)
class ToActivate:
    """An image that the meter would activate: its size, its name and its signature, as the meter read them."""

    size: int
    identification: bytes
    signature: bytes


class ImageObject:
    """The exchanges with a meter's image transfer. All raise what any exchange raises; answers are total."""

    def __init__(self, session: Asking, obis: Obis = CURRENT) -> None:
        self._session = session
        self._obis = obis

    def status(self) -> Exchange[ImageStatus]:
        number = yield from self._number(_STATUS)
        if not 0 <= number <= 0xFF:
            raise DecodeError(f"{number} is no status of an image transfer")
        return ImageStatus(number)

    def block_size(self) -> Exchange[int]:
        size = yield from self._number(_BLOCK_SIZE)
        if not 0 < size <= LARGEST:
            raise DecodeError(f"blocks of {size} bytes")
        return size

    def first_missing(self) -> Exchange[int]:
        """The number of the first block that is not there; the number of blocks where none is missing."""
        return (yield from self._number(_FIRST_MISSING))

    def held(self) -> Exchange[Sequence[bool]]:
        """Of each block whether the meter has it."""
        raw = yield from self._get(_HELD)
        return decode_held(raw)

    def enabled(self) -> Exchange[bool]:
        return bool((yield from self._number(_ENABLED)))

    def enable(self) -> Exchange[None]:
        yield from self._session.set(AttributeRef(CLASS, self._obis, _ENABLED), axdr.encode(data.boolean(True)))

    def to_activate(self) -> Exchange[tuple[ToActivate, ...]]:
        return decode_to_activate((yield from self._get(_TO_ACTIVATE)))

    def initiate(self, identifier: bytes, size: int) -> Exchange[None]:
        yield from self._call(_INITIATE, data.structure(data.octets(identifier), data.u32(size)))

    def transfer(self, number: int, block: bytes) -> Exchange[None]:
        yield from self._call(_TRANSFER, data.structure(data.u32(number), data.octets(block)))

    def verify(self) -> Exchange[bool]:
        """Whether it is verified already; False: it takes time, see `status`."""
        return (yield from self._begun(_VERIFY))

    def activate(self) -> Exchange[bool]:
        """Whether it is active already; False: it takes time, see `status`."""
        return (yield from self._begun(_ACTIVATE))

    def _begun(self, method: int) -> Exchange[bool]:
        try:
            yield from self._call(method, data.i8(0))
        except AccessDenied as denied:
            if denied.result != ActionResult.TEMPORARY_FAILURE:
                raise
            return False
        return True

    def _call(self, method: int, parameter: data.Data) -> Exchange[None]:
        yield from self._session.action(MethodRef(CLASS, self._obis, method), axdr.encode(parameter))

    def _get(self, attribute: int) -> Exchange[bytes]:
        return (yield from self._session.get(AttributeRef(CLASS, self._obis, attribute)))

    def _number(self, attribute: int) -> Exchange[int]:
        value = axdr.decode((yield from self._get(attribute))).value
        if not isinstance(value, int):
            raise DecodeError(f"attribute {attribute} of an image transfer is a number")
        return value


def decode_held(raw: bytes) -> Sequence[bool]:
    """image_transferred_blocks_status. Raises DecodeError."""
    value = axdr.decode(raw).value
    if not isinstance(value, BitString):
        raise DecodeError("the blocks' status is a bit-string")
    return [digit == "1" for digit in str(value)]


def decode_to_activate(raw: bytes) -> tuple[ToActivate, ...]:
    """image_to_activate_info. Raises DecodeError."""
    value = axdr.decode(raw).value
    if not isinstance(value, tuple) or len(value) > MOST_IMAGES:
        raise DecodeError("the images to activate are an array")
    found = []
    for item in value:
        match item.value:
            case (data.Data(_, int() as size), data.Data(_, bytes() as name), data.Data(_, bytes() as signature)):
                found.append(ToActivate(size, name, signature))
            case _:
                raise DecodeError("an image to activate is size, identification and signature")
    return tuple(found)


def spelled(name: bytes) -> str:
    """An image's name as people read it: its text, or hexadecimal digits where it is none."""
    return name.decode() if name.isascii() and name.decode().isprintable() else name.hex()


def pieces(size: int, block_size: int) -> int:
    """How many blocks an image has."""
    return -(-size // block_size)
