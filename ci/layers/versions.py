"""The Python packages that the upstream layers bring: within the ranges that app/pyproject.toml asks for.

The locks' versions are what is developed and tested with; an image has the layers' own, with the LTS' security fixes.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from device.paths import APP
from packaging.requirements import Requirement

from layers import text


def faults(work: Path) -> Iterator[str]:
    """`work`: the kas work directory. Prints what the image has."""
    ours = {recipe.name: recipe.version for recipe in text.recipes()}
    for each in tomllib.loads((APP / "pyproject.toml").read_text())["project"]["dependencies"]:
        wanted = Requirement(each)
        recipe = f"python3-{wanted.name.lower()}"
        version = ours.get(recipe) or _upstream(work / "layers" / "upstream", recipe)
        if not version:
            yield f"{recipe}: no layer has it"
        elif not wanted.specifier.contains(version):
            yield f"{recipe}: the layers have {version}, the application asks for {each}"
        else:
            print(f"       {recipe} {version} ({each})")  # noqa: T201 -- a command


def _upstream(layers: Path, recipe: str) -> str:
    """The version of a recipe of another layer: in its name, or in the file that it shares with a sister."""
    for path in sorted(layers.glob(f"*/meta*/recipes-*/*/{recipe}*")):
        if found := re.fullmatch(rf"{recipe}_([\d.]+)\.bb", path.name):
            return found[1]
        if path.suffix == ".inc" and (found := re.search(r'^PV = "([\d.]+)"', path.read_text(), re.MULTILINE)):
            return found[1]
    return ""
