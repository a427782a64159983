"""The APDUs of SET and ACTION as values: whole, in blocks, with lists, and lists in blocks.

A long parameter is cut into `Block`s: the first travels with the reference (First), the others bare. What the joined
bytes hold is the value of the one attribute, parameter or result; with lists, a SEQUENCE OF of them (`wire.sequence`).
Source: IEC 62056-5-3 (DLMS Green Book 9.3.7, 9.3.8, 9.5).
"""

from dataclasses import dataclass, field

from dcu.cosem.apdu.results import ActionResult, DataAccessResult, Result
from dcu.cosem.selection import Selection
from dcu.model import AttributeRef, MethodRef

Item = tuple[AttributeRef, Selection | None]


@dataclass(frozen=True, slots=True)
class Block:
    """DataBlock-SA: a piece of something long. number counts from 1."""

    last: bool
    number: int
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SetRequestNormal:
    invoke: int
    attribute: AttributeRef
    selection: Selection | None
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SetRequestFirstBlock:
    invoke: int
    attribute: AttributeRef
    selection: Selection | None
    block: Block


@dataclass(frozen=True, slots=True)
class SetRequestBlock:
    invoke: int
    block: Block


@dataclass(frozen=True, slots=True)
class SetRequestList:
    """values: one for each attribute, in their order."""

    invoke: int
    attributes: tuple[Item, ...]
    values: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SetRequestListFirstBlock:
    invoke: int
    attributes: tuple[Item, ...]
    block: Block


@dataclass(frozen=True, slots=True)
class SetResponseNormal:
    invoke: int
    result: DataAccessResult


@dataclass(frozen=True, slots=True)
class SetResponseBlock:
    """Block `number` has arrived: send the next."""

    invoke: int
    number: int


@dataclass(frozen=True, slots=True)
class SetResponseLastBlock:
    invoke: int
    result: DataAccessResult
    number: int


@dataclass(frozen=True, slots=True)
class SetResponseLastBlockList:
    invoke: int
    results: tuple[DataAccessResult, ...]
    number: int


@dataclass(frozen=True, slots=True)
class SetResponseList:
    invoke: int
    results: tuple[DataAccessResult, ...]


@dataclass(frozen=True, slots=True)
class ActionRequestNormal:
    invoke: int
    method: MethodRef
    parameter: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ActionRequestNext:
    """Asks for the block after `number` of what the method returned."""

    invoke: int
    number: int


@dataclass(frozen=True, slots=True)
class ActionRequestList:
    """parameters: one for each method, null-data (00) for none."""

    invoke: int
    methods: tuple[MethodRef, ...]
    parameters: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ActionRequestFirstBlock:
    invoke: int
    method: MethodRef
    block: Block


@dataclass(frozen=True, slots=True)
class ActionRequestListFirstBlock:
    invoke: int
    methods: tuple[MethodRef, ...]
    block: Block


@dataclass(frozen=True, slots=True)
class ActionRequestBlock:
    invoke: int
    block: Block


@dataclass(frozen=True, slots=True)
class Returned:
    """Action-Response-With-Optional-Data: whether a method ran; what it returned, why it cannot be given, or None."""

    result: ActionResult
    value: Result | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ActionResponseNormal:
    """As `Returned`, of the one method."""

    invoke: int
    result: ActionResult
    value: Result | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ActionResponseBlock:
    """A piece of what the methods returned: of one its bare value (it ran), of a list the `Returned`s."""

    invoke: int
    block: Block


@dataclass(frozen=True, slots=True)
class ActionResponseList:
    invoke: int
    results: tuple[Returned, ...]


@dataclass(frozen=True, slots=True)
class ActionResponseNext:
    """Block `number` has arrived: send the next."""

    invoke: int
    number: int


Written = (
    SetRequestNormal
    | SetRequestFirstBlock
    | SetRequestBlock
    | SetRequestList
    | SetRequestListFirstBlock
    | SetResponseNormal
    | SetResponseBlock
    | SetResponseLastBlock
    | SetResponseLastBlockList
    | SetResponseList
    | ActionRequestNormal
    | ActionRequestNext
    | ActionRequestList
    | ActionRequestFirstBlock
    | ActionRequestListFirstBlock
    | ActionRequestBlock
    | ActionResponseNormal
    | ActionResponseBlock
    | ActionResponseList
    | ActionResponseNext
)
