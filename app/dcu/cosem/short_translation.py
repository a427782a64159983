"""Services by logical names in, read and write by short names on the wire, and back; for a client and for a server.

Source: IEC 62056-5-3 (DLMS Green Book 9.3.12 to 9.3.16).
"""

from dcu.cosem import apdu
from dcu.cosem.apdu import (
    ActionRequestNormal,
    ActionResponseNormal,
    ActionResult,
    Apdu,
    Conformance,
    DataAccessResult,
    GetRequestList,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    Result,
    SetRequestList,
    SetRequestNormal,
    SetResponseList,
    SetResponseNormal,
)
from dcu.cosem.apdu import short as wire
from dcu.cosem.apdu.short import Name, NextBlock, ReadBlock, ReadRequest, ReadResponse, WriteRequest, WriteResponse
from dcu.cosem.selection import Selection
from dcu.cosem.short_names import CURRENT, ShortNames
from dcu.errors import AccessDenied, DecodeError, MalformedAnswer, ServiceRefused
from dcu.model import AttributeRef, MethodRef

_INVOKE = 0xC1  # what stands for the invoke-id that there is none of
_NULL = b"\x00"
_EQUIVALENT = {
    Conformance.READ: Conformance.GET | Conformance.BLOCK_TRANSFER_WITH_GET,
    Conformance.WRITE: Conformance.SET | Conformance.ACTION,
    Conformance.PARAMETERIZED_ACCESS: Conformance.SELECTIVE_ACCESS | Conformance.ACTION,
    Conformance.MULTIPLE_REFERENCES: Conformance.MULTIPLE_REFERENCES,
}


def equivalent(agreed: Conformance) -> Conformance:
    """What an association by short names can do, in the words of logical names, and those themselves."""
    found = Conformance(agreed)
    for short, logical in _EQUIVALENT.items():
        if agreed & short:
            found |= logical
    return found


def unlisted(error: KeyError) -> AccessDenied:
    """What to raise for what the meter does not list, or what has no short name."""
    reason = DataAccessResult.OBJECT_UNDEFINED
    return AccessDenied(f"{error.args[0]}: not in the meter's object list of short names", reason)


class Translator:
    """One side's requests and answers, one at a time. What came in last decides the form of what goes out."""

    def __init__(self, names: ShortNames) -> None:
        self.names = names
        self._asked: ReadRequest | WriteRequest | None = None
        self._invoke = _INVOKE

    # --- the client's direction

    def outgoing(self, raw: bytes) -> bytes:
        """A request by logical names as one by short names. Raises AccessDenied, ServiceRefused."""
        request = apdu.decode(raw)
        self._invoke = getattr(request, "invoke", _INVOKE)
        try:
            self._asked = self._asking(request)
        except KeyError as error:
            raise unlisted(error) from None
        return wire.encode(self._asked)

    def incoming(self, plain: bytes) -> bytes:
        """The answer to it as one by logical names. Raises DecodeError, MalformedAnswer."""
        answer = wire.decode(plain)
        if isinstance(answer, ReadResponse) and isinstance(self._asked, ReadRequest):
            return apdu.encode(self._read(answer, self._asked))
        if isinstance(answer, WriteResponse) and isinstance(self._asked, WriteRequest):
            return apdu.encode(self._written(answer, self._asked))
        raise MalformedAnswer(f"{type(answer).__name__} does not answer what was asked")

    def _asking(self, request: Apdu) -> ReadRequest | WriteRequest:
        if isinstance(request, GetRequestNormal):
            return ReadRequest((self._variable(request.attribute, request.selection),))
        if isinstance(request, GetRequestList):
            return ReadRequest(tuple(self._variable(*item) for item in request.attributes))
        if isinstance(request, GetRequestNext):
            return ReadRequest((NextBlock(request.block),))
        if isinstance(request, SetRequestNormal):
            return WriteRequest((self._variable(request.attribute, request.selection),), (request.value,))
        if isinstance(request, SetRequestList):
            return WriteRequest(tuple(self._variable(*item) for item in request.attributes), request.values)
        if isinstance(request, ActionRequestNormal):
            return ReadRequest((Name(self.names.method(request.method), 0, request.parameter or _NULL),))
        raise ServiceRefused(f"{type(request).__name__} is not possible with short names: write less at a time")

    def _variable(self, attribute: AttributeRef, selection: Selection | None) -> Name:
        name = self.names.attribute(attribute)
        return Name(name) if selection is None else Name(name, selection.selector, selection.parameter)

    def _read(self, answer: ReadResponse, asked: ReadRequest) -> Apdu:
        if len(answer.results) == 1 and isinstance(block := answer.results[0], ReadBlock):
            return GetResponseBlock(self._invoke, block.last, block.number, block.raw)
        results = tuple(result for result in answer.results if not isinstance(result, ReadBlock))
        if len(results) != len(asked.variables):
            raise MalformedAnswer(f"{len(answer.results)} results for {len(asked.variables)} variables")
        variable, only = asked.variables[0], results[0]
        if isinstance(variable, NextBlock):
            assert isinstance(only, bytes | DataAccessResult)
            return GetResponseNormal(self._invoke, only)
        if variable.selector == 0:
            if isinstance(only, DataAccessResult):
                return ActionResponseNormal(self._invoke, ActionResult(only))
            return ActionResponseNormal(self._invoke, ActionResult.SUCCESS, None if only == _NULL else only)
        return GetResponseNormal(self._invoke, only) if len(results) == 1 else GetResponseList(self._invoke, results)

    def _written(self, answer: WriteResponse, asked: WriteRequest) -> Apdu:
        if len(answer.results) != len(asked.variables):
            raise MalformedAnswer(f"{len(answer.results)} results for {len(asked.variables)} variables")
        if len(answer.results) == 1:
            return SetResponseNormal(self._invoke, answer.results[0])
        return SetResponseList(self._invoke, answer.results)

    # --- the server's direction

    def request(self, plain: bytes) -> Apdu:
        """A request by short names as one by logical names. Raises DecodeError; a name that is none becomes one that
        nothing has, so that its sender is told that."""
        asked = wire.decode(plain)
        if not isinstance(asked, ReadRequest | WriteRequest) or not asked.variables:
            raise DecodeError(f"{type(asked).__name__} where a request is due, or one that asks for nothing")
        self._asked = asked
        invoke = _INVOKE if not isinstance(asked, WriteRequest) or asked.confirmed else _INVOKE & ~0x40
        first = asked.variables[0]
        if isinstance(first, NextBlock):
            return GetRequestNext(invoke, first.number)
        items = [(self._named(variable), variable) for variable in asked.variables if isinstance(variable, Name)]
        if len(items) != len(asked.variables):
            raise DecodeError("a block together with other variables")
        method = items[0][0]
        if isinstance(method, MethodRef):
            if len(items) > 1:
                raise DecodeError("a method together with other variables")
            parameter = asked.values[0] if isinstance(asked, WriteRequest) else items[0][1].parameter
            return ActionRequestNormal(invoke, method, parameter or None)
        attributes = tuple(
            (ref, None if variable.selector is None else Selection(variable.selector, variable.parameter))
            for ref, variable in items
            if isinstance(ref, AttributeRef)
        )
        if len(attributes) != len(items):
            raise DecodeError("methods and attributes in one request")
        if isinstance(asked, WriteRequest):
            if len(items) == 1:
                return SetRequestNormal(invoke, *attributes[0], asked.values[0])
            return SetRequestList(invoke, attributes, asked.values)
        return GetRequestNormal(invoke, *attributes[0]) if len(items) == 1 else GetRequestList(invoke, attributes)

    def _named(self, variable: Name) -> AttributeRef | MethodRef:
        try:
            return self.names.resolve(variable.name)
        except KeyError:
            return AttributeRef(0, CURRENT, 0)

    def response(self, answer: Apdu) -> bytes:
        """What the application's side answered, as its asker expects it."""
        results: tuple[Result | ReadBlock, ...]
        if isinstance(answer, GetResponseBlock):
            block = answer.result
            if isinstance(block, DataAccessResult):
                return wire.encode(ReadResponse((block,)))
            return wire.encode(ReadResponse((ReadBlock(answer.last, answer.block & 0xFFFF, block),)))
        if isinstance(answer, GetResponseNormal):
            results = (answer.result,)
        elif isinstance(answer, GetResponseList):
            results = answer.results
        elif isinstance(answer, SetResponseNormal):
            return wire.encode(WriteResponse((answer.result,)))
        elif isinstance(answer, SetResponseList):
            return wire.encode(WriteResponse(answer.results))
        elif isinstance(answer, ActionResponseNormal):
            if isinstance(self._asked, WriteRequest):
                return wire.encode(WriteResponse((DataAccessResult(answer.result),)))
            failed = answer.result != ActionResult.SUCCESS
            results = (DataAccessResult(answer.result) if failed else answer.value or _NULL,)
        else:
            return apdu.encode(answer)
        return wire.encode(ReadResponse(results))
