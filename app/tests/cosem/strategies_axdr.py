"""Values of every A-XDR type, for properties."""

from hypothesis import strategies as st

from dcu.cosem.axdr import FIXED, BitString, CompactArray, Data, Tag, TypeDescription

_INTEGERS = {
    tag: form.format.lstrip(">")
    for tag, form in FIXED.items()
    if form.format.lstrip(">") in ("b", "B", "h", "H", "i", "I", "q", "Q")
}


def _whole(code: str, size: int) -> st.SearchStrategy[int]:
    bits = 8 * size
    return st.integers(0, 2**bits - 1) if code.isupper() else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@st.composite
def bit_strings(draw: st.DrawFn) -> BitString:
    length = draw(st.integers(0, 40))
    raw = draw(st.binary(min_size=(length + 7) // 8, max_size=(length + 7) // 8))
    return BitString(length, raw)


VALUES: dict[Tag, st.SearchStrategy[object]] = {
    **{Tag(tag): _whole(code, FIXED[tag].size) for tag, code in _INTEGERS.items()},
    Tag.BOOLEAN: st.booleans(),
    Tag.FLOAT32: st.floats(width=32, allow_nan=False),
    Tag.FLOAT64: st.floats(allow_nan=False),
    Tag.DATE_TIME: st.binary(min_size=12, max_size=12),
    Tag.DATE: st.binary(min_size=5, max_size=5),
    Tag.TIME: st.binary(min_size=4, max_size=4),
    Tag.OCTET_STRING: st.binary(max_size=300),
    Tag.VISIBLE_STRING: st.text(st.characters(max_codepoint=255), max_size=20),
    Tag.UTF8_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    Tag.BIT_STRING: bit_strings(),
    Tag.NULL: st.none(),
    Tag.DONT_CARE: st.none(),
}
FILLED = [tag for tag in VALUES if tag not in (Tag.NULL, Tag.DONT_CARE)]


def of_tag(tag: Tag) -> st.SearchStrategy[Data]:
    return VALUES[tag].map(lambda value: Data(tag, value))


scalars = st.sampled_from(list(VALUES)).flatmap(of_tag)

descriptions = st.recursive(
    st.sampled_from(FILLED).map(TypeDescription),
    lambda inner: st.one_of(
        st.tuples(st.integers(1, 3), inner).map(lambda one: TypeDescription(Tag.ARRAY, one[0], (one[1],))),
        st.lists(inner, min_size=1, max_size=4).map(
            lambda parts: TypeDescription(Tag.STRUCTURE, len(parts), tuple(parts))
        ),
    ),
    max_leaves=6,
)


def described(kind: TypeDescription) -> st.SearchStrategy[Data]:
    if kind.tag not in (Tag.ARRAY, Tag.STRUCTURE):
        return of_tag(kind.tag)
    parts = kind.parts * kind.count if kind.tag == Tag.ARRAY else kind.parts
    return st.tuples(*map(described, parts)).map(lambda items: Data(kind.tag, items))


compact_arrays = descriptions.flatmap(
    lambda kind: st.lists(described(kind), max_size=4).map(
        lambda items: Data(Tag.COMPACT_ARRAY, CompactArray(kind, tuple(items)))
    )
)
values = st.recursive(
    scalars | compact_arrays,
    lambda inner: st.tuples(st.sampled_from((Tag.ARRAY, Tag.STRUCTURE)), st.lists(inner, max_size=5).map(tuple)).map(
        lambda one: Data(*one)
    ),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, wires: st.SearchStrategy[bytes]) -> bytes:
    """What is on the wire, with some bytes changed, cut off or put in."""
    raw = bytearray(draw(wires))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(raw)))
        raw[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw)
