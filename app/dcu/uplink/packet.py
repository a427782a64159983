"""The last gasp on the wire: one data-notification in general-glo-ciphering, in one wrapper frame.

    structure {
      octet-string            logical device name of the DCU (0-0:42.0.0*255): its maker's letters and its number
      octet-string            date-time (UTC) at which the mains failed; clock status "doubtful" where ours is
      enum                    1: power fail
      double-long-unsigned    milliseconds that the DCU expects to live on
    }

The sender is the DCU under its own system title, the keys are the head-end's (`dcu.keys.base.HEAD_END`). A packet is
made ready while there is power: key schedule, counter (reserved durably) and addresses. When the mains fail only the
time is put in and the text sealed, once: to seal a second text under the same counter would give both away.

Source: DLMS Green Book 9.3.10 (data-notification), 9.5 (general-glo-ciphering); IEC 62056-47 (wrapper).
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from dcu.cosem import apdu, axdr
from dcu.cosem.apdu import DataNotification
from dcu.cosem.axdr import Data, Tag
from dcu.cosem.datetimes import ClockStatus, CosemDateTime, TimeZoneRule
from dcu.cosem.named import Open
from dcu.cosem.security import Cipher, Framing, Protection, protect
from dcu.errors import DecodeError, KeysError
from dcu.link import wrapper

MANAGEMENT = 1  # the logical device that speaks: every DLMS server has it
_HIGH_PRIORITY = 1 << 31  # in long-invoke-id-and-priority; the low 24 bits number the notification
_UTC = TimeZoneRule(UTC)
_LONGEST_NAME = 16  # bytes of a logical device name
_LONGEST_LEFT = 0xFFFFFFFF


class Status(Open):
    POWER_FAIL = 1


@dataclass(frozen=True, slots=True)
class LastGasp:
    """What the packet says. identity: our logical device name; left: seconds; doubtful: our clock may be wrong."""

    identity: bytes
    at: datetime
    left: float
    doubtful: bool = False
    status: Status = Status.POWER_FAIL


def logical_device_name(title: bytes) -> bytes:
    """Three letters of the maker and ten digits, from a system title: at most 16 bytes."""
    return title[:3] + title[3:].hex().upper().encode()


def encode(message: LastGasp, number: int) -> bytes:
    """The plain data-notification. Raises ValueError for what does not fit."""
    if len(message.identity) > _LONGEST_NAME:
        raise ValueError(f"a logical device name has at most {_LONGEST_NAME} bytes, not {len(message.identity)}")
    moment = CosemDateTime.from_utc(message.at, _UTC)
    clock = ClockStatus.DOUBTFUL if message.doubtful else ClockStatus(0)
    when = CosemDateTime(moment.date, moment.time, moment.deviation, clock).encode()
    milliseconds = min(max(0, round(message.left * 1000)), _LONGEST_LEFT)
    body = axdr.structure(
        axdr.octets(message.identity), axdr.octets(when), axdr.enum(message.status), axdr.u32(milliseconds)
    )
    return apdu.encode(DataNotification(_HIGH_PRIORITY | number & 0xFFFFFF, when, axdr.encode(body)))


def decode(plain: bytes) -> LastGasp:
    """Read the plain APDU, as a head-end does after it verified the packet. Raises DecodeError."""
    notification = apdu.decode(plain)
    if not isinstance(notification, DataNotification):
        raise DecodeError(f"{type(notification).__name__} is no last gasp")
    match axdr.decode(notification.body):
        case Data(
            Tag.STRUCTURE,
            (
                Data(Tag.OCTET_STRING, bytes(identity)),
                Data(Tag.OCTET_STRING, bytes(raw)),
                Data(Tag.ENUM, int(status)),
                Data(Tag.DOUBLE_LONG_UNSIGNED, int(left)),
            ),
        ) if len(identity) <= _LONGEST_NAME:
            moment = CosemDateTime.parse(raw)
            doubtful = bool((moment.status or 0) & ClockStatus.DOUBTFUL)
            return LastGasp(identity, moment.utc(_UTC), left / 1000, doubtful, Status(status))
    raise DecodeError("a data-notification that is no last gasp")


class Packet:
    """One packet, ready to be sealed once."""

    __slots__ = ("_cipher", "_sealed", "_title", "counter")

    def __init__(self, cipher: Cipher, title: bytes, counter: int) -> None:
        self.counter = counter
        self._cipher = cipher
        self._title = title
        self._sealed = False

    def seal(self, at: datetime, left: float, *, doubtful: bool) -> bytes:
        """The datagram. Raises KeysError the second time: its counter is spent."""
        if self._sealed:
            raise KeysError(f"the packet with invocation counter {self.counter} was sealed already")
        self._sealed = True
        plain = encode(LastGasp(logical_device_name(self._title), at, left, doubtful), self.counter)
        sealed = protect(
            self._cipher,
            plain,
            protection=Protection.BOTH,
            title=self._title,
            counter=self.counter,
            framing=Framing.GENERAL_GLOBAL,
        )
        return wrapper.encode(MANAGEMENT, MANAGEMENT, sealed)
