"""BitBake's own parser over our recipes, without OpenEmbedded: syntax, not meaning.

The parser comes from PyPI (bitbake-setup carries it); every class that a recipe inherits is an empty stand-in, and so
is what it requires from other layers. What BitBake says of the whole is `make layer-check`'s.
"""

import re
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path

from device.paths import LAYER, ROOT

from layers import text

CLASS = re.compile(r"^inherit(?:_defer)? (.+)$", re.MULTILINE)


def faults() -> Iterator[str]:
    for absent in (
        "hashserv",
        "hashserv.client",
        "prserv",
    ):  # the servers' modules are not in that package
        sys.modules.setdefault(absent, types.ModuleType(absent))
    import bb.data
    import bb.parse
    import bb.siggen

    paths = [recipe.path for pattern in ("*.bb", "*.bbappend") for recipe in text.recipes(pattern)]
    with tempfile.TemporaryDirectory(prefix="layers-") as scratch:
        folder = Path(scratch) / "classes"
        folder.mkdir()
        inherited = {word for path in paths for line in CLASS.findall(path.read_text()) for word in line.split()}
        for name in inherited | {"native", "nativesdk"}:  # BBCLASSEXTEND's
            (folder / f"{name}.bbclass").write_text("")
        for path in paths:
            data = bb.data.init()
            for name, value in _settings(path, scratch).items():
                data.setVar(name, value)
            bb.parse.siggen = bb.siggen.init(data)
            try:
                bb.parse.handle(_as_recipe(path, Path(scratch)), data)
            except Exception as error:
                yield f"{path.relative_to(ROOT)}: {error}"


def _as_recipe(path: Path, scratch: Path) -> str:
    """An append is parsed as a recipe of its own: BitBake would join it to one that is not here."""
    if path.suffix == ".bb":
        return str(path)
    copy = scratch / path.with_suffix(".bb").name.replace("%", "1.0")
    copy.write_text(path.read_text())
    return str(copy)


def _settings(path: Path, scratch: str) -> dict[str, str]:
    return {
        "BBPATH": f"{scratch}:{path.parent}:{LAYER}",
        "TOPDIR": scratch,
        "MACHINEOVERRIDES": "dcu-board",
        "DCU_VERSION": "1.0.0",
        "DCU_VERSION_BARRIER": "1.0.0",
        "DCU_REPOSITORY": str(ROOT),
        "FILE": str(path),
        "__bbclasstype": "recipe",
    }
