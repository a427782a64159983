"""The names of things: interface classes, OBIS codes, units. Our own data, in classes.toml and obis.toml.

Nothing in the protocol depends on it: what is not known here is kept and shown by its number.

Source: IEC 62056-6-2 (interface classes, units), IEC 62056-6-1 (OBIS).
"""

import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from dcu.cosem.data import Tag
from dcu.model import Obis

NO_UNIT = 255


@dataclass(frozen=True, slots=True)
class Attribute:
    """type: None where the class leaves a choice; form: how people read the value (see classes.toml)."""

    number: int
    name: str
    type: Tag | None = None
    form: str = ""


@dataclass(frozen=True, slots=True)
class InterfaceClass:
    class_id: int
    version: int
    name: str
    attributes: tuple[Attribute, ...]
    methods: tuple[str, ...]  # from number 1 on; "" is a reserved number
    parameters: tuple[Attribute | None, ...] = ()  # of the methods; None where it is not told

    def attribute(self, number: int) -> Attribute | None:
        return self.attributes[number - 1] if 0 < number <= len(self.attributes) else None

    def method(self, number: int) -> str | None:
        return self.methods[number - 1] or None if 0 < number <= len(self.methods) else None

    def parameter(self, number: int) -> Attribute | None:
        """What a method takes; None where the catalogue does not tell."""
        return self.parameters[number - 1] if 0 < number <= len(self.parameters) else None


def interface_class(class_id: int, version: int | None = None) -> InterfaceClass | None:
    """The class in this version, else in the newest one before it, else in the oldest; None if unknown.

    version None: the newest that we know.
    """
    versions = _classes().get(class_id, ())
    fitting = [known for known in versions if version is None or known.version <= version]
    return fitting[-1] if fitting else next(iter(versions), None)


def attributes(class_id: int, number: int) -> tuple[Attribute, ...]:
    """An attribute as the versions of its class have it, the newest first: of a meter's we may not know which it is."""
    found = (known.attribute(number) for known in reversed(_classes().get(class_id, ())))
    return tuple(dict.fromkeys(filter(None, found)))


def classes() -> tuple[InterfaceClass, ...]:
    return tuple(known for versions in _classes().values() for known in versions)


def enumeration(form: str) -> dict[int, str]:
    """What the values of an attribute of this form mean; {} where the form is no enumeration."""
    return _enums().get(form, {})


def structure(form: str) -> tuple[Attribute, ...]:
    """The fields of a structure of this form; () where the form is none."""
    return _structures().get(form, ())


def choice(form: str) -> tuple[Attribute, ...]:
    """What a value of this form may be, by type and form; () where the form leaves no choice, or any."""
    return _choices().get(form, ())


def type_named(text: str) -> Tag | None:
    """The type of this name in the Blue Book's spelling."""
    return Tag.__members__.get(text.upper().replace("-", "_")) if text else None


def event(code: int) -> str | None:
    """What an event code means in European meters' logs; None where they do not use it."""
    return _events().get(code)


@lru_cache(maxsize=4096)  # a large meter's object list has some 2,000 entries
def name(obis: Obis) -> str | None:
    """What people call this code; None where the catalogue does not know it."""
    a, _, c, d, e, _ = obis.raw
    for pattern, text in _patterns(a, c):
        if all(value in group for value, group in zip(obis.raw, pattern, strict=True)):
            return text.format_map(dict(zip("abcdef", obis.raw, strict=True)))
    quantity, processing = _quantity(c), _numbers("processing").get(d)
    if a != 1 or not quantity or not processing:
        return None
    rate = "" if e == 0 else f", {'harmonic' if d in (7, 24) else 'tariff'} {e}"
    return f"{quantity}, {processing}{rate}"


def unit(number: int) -> str:
    """The unit's symbol: "" for a plain number, "unit 99" for one that the Blue Book does not know."""
    return _numbers("units").get(number, f"unit {number}")


def unit_number(symbol: str) -> int | None:
    """The number of this symbol, None if it is none."""
    return next((number for number, known in _numbers("units").items() if known == symbol), None)


def _quantity(c: int) -> str | None:
    """Groups 21–80 repeat 1–20 for each phase."""
    known = _numbers("quantity")
    if 21 <= c <= 80:
        phase, base = divmod(c - 1, 20)
        return f"{known[base + 1].removesuffix(', any phase')}, L{phase}"
    return known.get(c)


@cache
def _data(file: str) -> dict[str, Any]:
    return tomllib.loads(files("dcu.cosem").joinpath(file).read_text(encoding="utf-8"))


@cache
def _numbers(table: str) -> dict[int, str]:
    return {int(number): text for number, text in _data("obis.toml")[table].items()}


@lru_cache(maxsize=1024)
def _patterns(a: int, c: int) -> tuple[tuple[tuple[range, ...], str], ...]:
    """The patterns that these two groups fit."""
    return tuple((groups, text) for groups, text in _all_patterns() if a in groups[0] and c in groups[2])


@cache
def _all_patterns() -> tuple[tuple[tuple[range, ...], str], ...]:
    names = _data("obis.toml")["names"].items()
    return tuple((tuple(map(_group, pattern.split("."))), text) for pattern, text in names)


def _group(text: str) -> range:
    if text.isalpha():
        return range(256)
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


@cache
def _enums() -> dict[str, dict[int, str]]:
    tables = _data("classes.toml")["enums"].items()
    return {form: {int(number): text for number, text in meanings.items()} for form, meanings in tables}


@cache
def _events() -> dict[int, str]:
    return {int(code): text for code, text in _data("classes.toml")["events"].items()}


@cache
def _structures() -> dict[str, tuple[Attribute, ...]]:
    return {form: tuple(_attributes(fields, 1)) for form, fields in _data("classes.toml")["structures"].items()}


@cache
def _choices() -> dict[str, tuple[Attribute, ...]]:
    return {
        form: tuple(next(iter(_attributes([f"{form} {line}"]))) for line in lines)
        for form, lines in _data("classes.toml")["choices"].items()
    }


@cache
def _classes() -> dict[int, tuple[InterfaceClass, ...]]:
    known: dict[int, list[InterfaceClass]] = {}
    for entry in _data("classes.toml")["class"]:
        attributes = (Attribute(1, "logical_name", Tag.OCTET_STRING, "obis"), *_attributes(entry.get("attributes", [])))
        methods = [line.partition(" ") for line in entry.get("methods", [])]
        parameters = [next(iter(_attributes([f"{name} {kind}"]))) if kind else None for name, _, kind in methods]
        found = InterfaceClass(
            entry["id"],
            entry.get("version", 0),
            entry["name"],
            attributes,
            tuple(name for name, *_ in methods),
            tuple(parameters),
        )
        known.setdefault(found.class_id, []).append(found)
    return {class_id: tuple(sorted(found, key=lambda one: one.version)) for class_id, found in known.items()}


def _attributes(lines: list[str], first: int = 2) -> list[Attribute]:
    attributes = []
    for number, line in enumerate(lines, first):
        name, kind, form = (*line.split(), "")[:3]
        tag = None if kind == "choice" else Tag[kind.upper().replace("-", "_")]
        attributes.append(Attribute(number, name, tag, form))
    return attributes
