"""Which functions of dcu, and of the street's G3 stack, take bytes from the world: found by name, so that the fuzzer
forgets none."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import dcu
import neighbourhood.g3

from .engine import Target

PARSER = re.compile(r"(decode|parse|unprotect|interpret|deserialise|decompress)(_.*)?|.*_(decode|parse)|feed|skip")

EXEMPT = {
    "dcu.collect.vitals.Vitals.feed": "feeds systemd's watchdog, and reads nothing",
    "dcu.platform.watchdog.Feeder.feed": "feeds systemd's watchdog, and reads nothing",
    "dcu.cli.decode.decode": "the command; what it does with its text is the target `pasted`",
}
"""Dotted name → why it need not be a target of its own."""


def found() -> set[str]:
    """The dotted names of all public functions and methods that are parsers by their name."""
    names = set()
    for package in (dcu, neighbourhood.g3):
        assert package.__file__
        root = Path(package.__file__).parent
        for path in root.rglob("*.py"):
            module = ".".join((package.__name__, *path.relative_to(root).with_suffix("").parts))
            module = module.removesuffix(".__init__")
            names |= {f"{module}.{name}" for name in _functions(ast.parse(path.read_text(encoding="utf-8")).body)}
    return {name for name in names if PARSER.fullmatch(name.rpartition(".")[2])}


def unfuzzed(targets: Iterable[Target]) -> list[str]:
    """Parsers that no target covers and no exemption names."""
    return sorted(found() - _covered(targets) - EXEMPT.keys())


def stale(targets: Iterable[Target]) -> list[str]:
    """Names that are covered or exempt and do not exist (any more)."""
    return sorted((_covered(targets) | EXEMPT.keys()) - found())


def _covered(targets: Iterable[Target]) -> set[str]:
    return {name for target in targets for name in target.covers}


def _functions(body: list[ast.stmt], prefix: str = "") -> set[str]:
    names = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            names.add(prefix + node.name)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            names |= _functions(node.body, f"{prefix}{node.name}.")
    return names
