"""Recipes and configuration files as text: what can be told of them without BitBake.

Only what OpenEmbedded's style guide allows is understood: one assignment a line, continued by a backslash. Whether
BitBake agrees is `make layer-check`'s to say.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from device.paths import BSP, LAYER

LAYERS = (LAYER, BSP)
_ASSIGNMENT = re.compile(
    r'^([A-Za-z0-9_${}.:/+-]+?)(?:\[([\w.-]+)\])?\s*(\?\?=|\?=|:=|\+=|=\+|\.=|=\.|=)\s*(["\'])(.*)\4\s*$'
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """values: name (without overrides) to all that is assigned to it; flags: the same of NAME[flag]."""

    path: Path
    values: dict[str, list[str]] = field(default_factory=dict)
    flags: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.path.stem.partition("_")[0]

    @property
    def version(self) -> str:
        return self.path.stem.partition("_")[2]

    @property
    def inherited(self) -> set[str]:
        return set(
            re.findall(
                r"[\w-]+",
                " ".join(re.findall(r"^inherit (.+)$", self.path.read_text(), re.MULTILINE)),
            )
        )

    def words(self, name: str) -> list[str]:
        return [word for value in self.values.get(name, []) for word in value.split()]


def recipes(pattern: str = "*.bb") -> Iterator[Recipe]:
    """Every recipe of ours, by its path."""
    for layer in LAYERS:
        for path in sorted(layer.glob(f"recipes-*/*/{pattern}")):
            yield read(path)


def read(path: Path) -> Recipe:
    """A recipe with the .inc files that stand beside it."""
    found = Recipe(path)
    for each in _with_included(path):
        for line in logical_lines(each.read_text()):
            match = _ASSIGNMENT.match(line)
            if not match:
                continue
            name, flag, _, _, value = match.groups()
            plain = name.partition(":")[0]
            if flag:
                found.flags.setdefault((plain, flag), []).append(value)
            else:
                found.values.setdefault(plain, []).append(value)
    return found


def logical_lines(text: str) -> Iterator[str]:
    """Lines with their continuations; comments are left out."""
    pending = ""
    for line in text.splitlines():
        if not pending and line.lstrip().startswith("#"):
            continue
        if line.endswith("\\"):
            pending += line[:-1] + " "
        else:
            yield pending + line
            pending = ""


def value(path: Path, name: str) -> str | None:
    """What a configuration file assigns to `name` last."""
    found = read(path).values.get(name)
    return found[-1] if found else None


def _with_included(path: Path) -> Iterator[Path]:
    yield path
    for line in re.findall(r"^(?:require|include) (.+)$", path.read_text(), re.MULTILINE):
        name = (re.findall(r"[\w.-]+\.inc", line) or [""])[0]
        if name and (path.parent / name).exists():
            yield path.parent / name
