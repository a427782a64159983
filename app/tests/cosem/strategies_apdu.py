"""Hypothesis strategies of APDUs and ACSE, with small values that need no more of A-XDR than its bytes."""

from hypothesis import strategies as st

from dcu.cosem import acse, apdu
from dcu.cosem.selection import Selection
from dcu.credentials import Secret
from dcu.model import AttributeRef, MethodRef, Obis

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
i8 = st.integers(-128, 127)
obis = st.binary(min_size=6, max_size=6).map(Obis)
attributes = st.builds(AttributeRef, u16, obis, i8)
methods = st.builds(MethodRef, u16, obis, i8)
values = st.one_of(
    st.just(b"\x00"),
    u32.map(lambda n: b"\x06" + n.to_bytes(4, "big")),
    st.binary(max_size=100).map(lambda raw: bytes((9, len(raw))) + raw),
    st.lists(u16, max_size=40).map(
        lambda row: bytes((1, len(row))) + b"".join(b"\x12" + n.to_bytes(2, "big") for n in row)
    ),
)
selections = st.none() | st.builds(Selection, u8, values)
data_results = u8.map(apdu.DataAccessResult)
action_results = u8.map(apdu.ActionResult)
results = values | data_results
conformances = st.integers(0, 0xFFFFFF).map(apdu.Conformance)
keys = st.none() | st.binary(min_size=16, max_size=16).map(Secret)
services = u8.map(apdu.ExceptionService)


def _exception(state: int, service: apdu.ExceptionService, counter: int | None) -> apdu.ExceptionResponse:
    told = counter if service == apdu.ExceptionService.INVOCATION_COUNTER_ERROR else None
    return apdu.ExceptionResponse(apdu.ExceptionState(state), service, told)


moments = st.just(b"") | st.binary(min_size=12, max_size=12)
blocks = st.builds(apdu.Block, st.booleans(), u32, st.binary(max_size=300))
items = st.lists(st.tuples(attributes, selections), max_size=5).map(tuple)
written = st.lists(st.tuples(attributes, selections, values), max_size=5)
returned = st.builds(apdu.Returned, action_results, st.none() | results)
accesses = (
    st.builds(apdu.AccessGet, attributes, selections)
    | st.builds(apdu.AccessSet, attributes, values, selections)
    | st.builds(apdu.AccessAction, methods, values)
)


def _set_list(invoke, each) -> apdu.SetRequestList:
    return apdu.SetRequestList(invoke, tuple(one[:2] for one in each), tuple(one[2] for one in each))


def _action_list(invoke, each) -> apdu.ActionRequestList:
    return apdu.ActionRequestList(invoke, tuple(one[0] for one in each), tuple(one[1] for one in each))


def _access_response(invoke, moment, each) -> apdu.AccessResponse:
    kinds = tuple(kind for kind, _, _ in each)
    results = [apdu.ActionResult(result) if kind == 3 else apdu.DataAccessResult(result) for kind, result, _ in each]
    outcomes = tuple(apdu.Accessed(result, one[2]) for result, one in zip(results, each, strict=True))
    return apdu.AccessResponse(invoke, moment, outcomes, kinds)


apdus: st.SearchStrategy[apdu.Apdu] = st.one_of(
    st.builds(apdu.InitiateRequest, conformances, u16, keys, st.booleans(), st.none() | i8, u8),
    st.builds(apdu.InitiateResponse, conformances, u16, st.none() | i8, u8, u16),
    st.builds(apdu.ConfirmedServiceError, u8.map(apdu.ConfirmedService), u8.map(apdu.ErrorClass), u8),
    st.builds(_exception, u8, services | st.just(apdu.ExceptionService.INVOCATION_COUNTER_ERROR), st.none() | u32),
    st.builds(apdu.GetRequestNormal, u8, attributes, selections),
    st.builds(apdu.GetRequestNext, u8, u32),
    st.builds(apdu.GetRequestList, u8, st.lists(st.tuples(attributes, selections), max_size=5).map(tuple)),
    st.builds(apdu.GetResponseNormal, u8, results),
    st.builds(apdu.GetResponseBlock, u8, st.booleans(), u32, st.binary(max_size=300) | data_results),
    st.builds(apdu.GetResponseList, u8, st.lists(results, max_size=5).map(tuple)),
    st.builds(apdu.SetRequestNormal, u8, attributes, selections, values),
    st.builds(apdu.SetResponseNormal, u8, data_results),
    st.builds(apdu.ActionRequestNormal, u8, methods, st.none() | values),
    st.builds(apdu.ActionResponseNormal, u8, action_results, st.none() | results),
    st.builds(apdu.SetRequestFirstBlock, u8, attributes, selections, blocks),
    st.builds(apdu.SetRequestBlock, u8, blocks),
    st.builds(_set_list, u8, written),
    st.builds(apdu.SetRequestListFirstBlock, u8, items, blocks),
    st.builds(apdu.SetResponseBlock, u8, u32),
    st.builds(apdu.SetResponseLastBlock, u8, data_results, u32),
    st.builds(apdu.SetResponseLastBlockList, u8, st.lists(data_results, max_size=200).map(tuple), u32),
    st.builds(apdu.SetResponseList, u8, st.lists(data_results, max_size=200).map(tuple)),
    st.builds(apdu.ActionRequestNext, u8, u32),
    st.builds(_action_list, u8, st.lists(st.tuples(methods, values), max_size=5)),
    st.builds(apdu.ActionRequestFirstBlock, u8, methods, blocks),
    st.builds(apdu.ActionRequestListFirstBlock, u8, st.lists(methods, max_size=5).map(tuple), blocks),
    st.builds(apdu.ActionRequestBlock, u8, blocks),
    st.builds(apdu.ActionResponseBlock, u8, blocks),
    st.builds(apdu.ActionResponseList, u8, st.lists(returned, max_size=5).map(tuple)),
    st.builds(apdu.ActionResponseNext, u8, u32),
    st.builds(apdu.AccessRequest, u32, moments, st.lists(accesses, max_size=5).map(tuple)),
    st.builds(_access_response, u32, moments, st.lists(st.tuples(st.integers(1, 3), u8, values), max_size=5)),
    st.builds(apdu.EventNotification, moments, attributes, values),
    st.builds(apdu.DataNotification, u32, st.just(b"") | st.binary(min_size=12, max_size=12), values),
)

titles = st.binary(min_size=8, max_size=8)
contexts = st.sampled_from(acse.ApplicationContext)
mechanisms = st.none() | st.sampled_from(acse.Mechanism)
fields = st.none() | st.binary(max_size=300)
acses: st.SearchStrategy[acse.Acse] = st.one_of(
    st.builds(acse.Aarq, contexts, st.none() | titles, mechanisms, fields, fields, st.none() | st.integers(0, 255)),
    st.builds(
        acse.Aare,
        contexts,
        u8.map(acse.AssociationResult),
        u8.map(acse.UserDiagnostic) | u8.map(acse.ProviderDiagnostic),
        st.none() | titles,
        mechanisms,
        fields,
        fields,
    ),
    st.builds(acse.Rlrq, st.none() | u8, fields),
    st.builds(acse.Rlre, st.none() | u8, fields),
)


@st.composite
def mutated(draw: st.DrawFn, wires: st.SearchStrategy[bytes]) -> bytes:
    """What a wire strategy makes, with some bytes changed, cut out or put in."""
    raw = bytearray(draw(wires))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        end = draw(st.integers(at, min(len(raw), at + 4)))
        raw[at:end] = draw(st.binary(max_size=4))
    return bytes(raw)
