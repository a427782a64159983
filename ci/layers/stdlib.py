"""Python's own modules: OpenEmbedded cuts the standard library into packages; what our sources import must be in
RDEPENDS.

Which module is in which package stands in OE-core's python3-manifest.json.
"""

import ast
import json
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from device.paths import APP

from layers import text

SOURCES = {"dcu": APP / "dcu", "dcu-gurux": APP / "dcu_gurux"}


def faults(build: Path) -> Iterator[str]:
    """`build`: a build directory beside layers/upstream."""
    manifest = (
        build.parent / "layers/upstream/openembedded-core/meta/recipes-devtools/python/python3/python3-manifest.json"
    )
    packages = json.loads("\n".join(line for line in manifest.read_text().splitlines() if not line.startswith("#")))
    recipes = {recipe.name: recipe for recipe in text.recipes()}
    for name, source in SOURCES.items():
        named = {
            word.removeprefix("python3-") for word in recipes[name].words("RDEPENDS") if word.startswith("python3-")
        }
        got = _with_dependencies(named & packages.keys() | {"core"}, packages)
        for module in sorted(_imported(source)):
            home = _package(module, packages)
            if home and home not in got:
                yield f"{recipes[name].path.name}: {module} is imported: RDEPENDS needs python3-{home}"


def _imported(source: Path) -> set[str]:
    found = set()
    for path in source.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module)
    return {name for name in found if name.partition(".")[0] in sys.stdlib_module_names}


def _package(module: str, packages: dict) -> str:
    path = "${libdir}/python${PYTHON_MAJMIN}/" + module.replace(".", "/")
    wanted = (
        f"{path}.py",
        f"{path}/__init__.py",
        path,
        f"{path.rpartition('/')[0]}/lib-dynload/{module}.*.so",
    )
    for name, package in packages.items():
        if name == "modules":
            continue
        for pattern in package.get("files", []):
            if any(each == pattern or fnmatch(each, pattern) for each in wanted):
                return name
    top = module.partition(".")[0]
    return "" if top == module else _package(top, packages)


def _with_dependencies(names: set[str], packages: dict) -> set[str]:
    reached: set[str] = set()
    pending = set(names)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending |= set(packages.get(name, {}).get("rdepends", []))
    return reached
