"""What holds for every recipe of ours, and facts that stand in two places because they must.

Sources: checksum or full commit, never a branch's head. Licences: a name, and a text with its
checksum. Versions: a recipe of the application and of its dependencies is of the version that the locks
name.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from device.paths import APP, BSP, LAYER, ROOT, SWUPDATE_FILES, UBOOT_FILES

from layers import text
from layers.text import Recipe

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REMOTE = ("http://", "https://", "ftp://", "git://", "gitsm://", "npm://", "crate://")
_NO_LICENCE_TEXT = {
    "core-image",
    "image",
    "packagegroup",
}  # classes whose recipes have no source of their own
_HARDWARE = re.compile(r"(\S+) (\S+)\n")


def faults() -> Iterator[str]:
    """What is wrong, a line each."""
    for recipe in text.recipes():
        yield from (f"{recipe.path.relative_to(ROOT)}: {fault}" for fault in _of_recipe(recipe))
    for recipe in text.recipes("*.bbappend"):
        yield from (f"{recipe.path.relative_to(ROOT)}: {fault}" for fault in _sources(recipe))
    for layer in text.LAYERS:
        for path in sorted(layer.rglob("*.patch")):
            if not re.search(r"^Upstream-Status: \w+", path.read_text(errors="replace"), re.MULTILINE):
                yield f"{path.relative_to(ROOT)}: no Upstream-Status"
        for path in sorted([*layer.rglob("*.bb*"), *layer.rglob("*.inc"), *layer.rglob("*.conf")]):
            if any("AUTOREV" in line for line in text.logical_lines(path.read_text())):
                yield f"{path.relative_to(ROOT)}: AUTOREV: what is built must not change by itself"
    yield from _versions()
    yield from _boards()
    yield from _environment()
    yield from _description()
    yield from _glossary()


def _of_recipe(recipe: Recipe) -> Iterator[str]:
    if not recipe.values.get("SUMMARY"):
        yield "no SUMMARY"
    if not recipe.values.get("LICENSE") and "packagegroup" not in recipe.inherited:
        yield "no LICENSE"
    yield from _licence_text(recipe)
    yield from _sources(recipe)


def _licence_text(recipe: Recipe) -> Iterator[str]:
    if _NO_LICENCE_TEXT & recipe.inherited or "images" in recipe.path.parts:
        return
    texts = recipe.words("LIC_FILES_CHKSUM")
    if not texts:
        yield "no LIC_FILES_CHKSUM"
    for each in texts:
        if not re.search(r";(md5=[0-9a-f]{32}|sha256=[0-9a-f]{64})\b", each):
            yield f"{each}: a licence text without a checksum"


def _sources(recipe: Recipe) -> Iterator[str]:
    for url in recipe.words("SRC_URI"):
        if url.startswith(("git://", "gitsm://")):
            if not all(map(_COMMIT.fullmatch, recipe.values.get("SRCREV", [""]))):
                yield f"{url}: SRCREV is no full commit"
        elif url.startswith(_REMOTE) and not _has_checksum(recipe):
            yield f"{url}: no sha256sum"
        elif url.startswith("file://"):
            yield from _local(recipe, url.removeprefix("file://").partition(";")[0])
    if "pypi" in recipe.inherited and not _has_checksum(recipe):
        yield "no SRC_URI[sha256sum]"


def _has_checksum(recipe: Recipe) -> bool:
    return any(flag.endswith("sha256sum") for name, flag in recipe.flags if name == "SRC_URI")


def _local(recipe: Recipe, name: str) -> Iterator[str]:
    folders = [recipe.path.parent / "files", recipe.path.parent / recipe.name, ROOT]
    folders += [recipe.path.parent / "files" / machine.stem for machine in machines()]
    folders += [(recipe.path.parent / each).resolve() for each in _extra_paths(recipe)]
    if not any((folder / name).exists() for folder in folders):
        yield f"file://{name}: there is no such file"


def _extra_paths(recipe: Recipe) -> list[str]:
    known = {"${THISDIR}": str(recipe.path.parent), "${DCU_REPOSITORY}": str(ROOT)}
    found = recipe.words("FILESEXTRAPATHS")
    return [re.sub(r"\$\{\w+\}", lambda name: known.get(name[0], name[0]), each).rstrip(":") for each in found]


def _versions() -> Iterator[str]:
    """Recipes of Python packages and of our programs against locks and projects."""
    lock = dict(
        re.findall(
            r"^([a-z0-9-]+)==([^ \\;]+)",
            (APP / "requirements-dev.lock").read_text(),
            re.MULTILINE,
        )
    )
    hashes = (APP / "requirements-dev.lock").read_text()
    projects = {
        "dcu": APP / "pyproject.toml",
        "dcu-gurux": APP / "dcu_gurux" / "pyproject.toml",
    }
    found = {recipe.name: recipe for recipe in text.recipes()}
    for name, recipe in found.items():
        package = name.removeprefix("python3-")
        if "pypi" in recipe.inherited:
            if lock.get(package) != recipe.version:
                yield f"{recipe.path.name}: the lock has {package} {lock.get(package)}"
            for value in recipe.flags.get(("SRC_URI", "sha256sum"), []):
                if value not in hashes:
                    yield f"{recipe.path.name}: the lock does not know its checksum"
    for name, path in projects.items():
        project = tomllib.loads(path.read_text())["project"]
        if name not in found or found[name].version != project["version"]:
            yield f"{name}: {path.relative_to(ROOT)} says version {project['version']}"
        wanted = {"python3-" + re.split(r"[<>=~! ;\[]", each)[0].lower() for each in project["dependencies"]}
        for missing in sorted(wanted - set(found[name].words("RDEPENDS"))):
            yield f"{found[name].path.name}: {path.relative_to(ROOT)} needs {missing}, RDEPENDS does not name it"


def _boards() -> Iterator[str]:
    """The board that an update names is the one that the device says it is."""
    common = BSP / "conf" / "machine" / "include" / "dcu-common.inc"
    for machine in machines():
        board, revisions = (
            text.value(machine, name) or text.value(common, name) or "" for name in ("DCU_BOARD", "DCU_REVISIONS")
        )
        own = SWUPDATE_FILES / machine.stem / "hwrevision"
        says = _HARDWARE.fullmatch((own if own.exists() else SWUPDATE_FILES / "hwrevision").read_text())
        if not says or says[1] != board or says[2] not in revisions.split():
            yield f"{machine.name}: DCU_BOARD {board}, DCU_REVISIONS {revisions}: its hwrevision says otherwise"


def _description() -> Iterator[str]:
    """Every variable of the update's template has a value in BitBake, and enters the task's hash."""
    template = (SWUPDATE_FILES / "sw-description.in").read_text()
    update = text.read(LAYER / "recipes-core" / "dcu-update" / "dcu-update.bb")
    hashed = " ".join(update.flags.get(("do_swuimage", "vardeps"), [])).split()
    known = set(update.values) | {"DCU_BOARD", "DCU_VERSION"}
    for name in sorted(set(re.findall(r"@@(\w+)@@", template))):
        if name not in known or name not in hashed:
            yield f"dcu-update.bb: the template asks for {name}: a value, and do_swuimage[vardeps]"


def _glossary(page: str | None = None) -> Iterator[str]:
    """What a build may set of ours (`?=`, `??=`, or described with [doc]) is in the glossary of docs/yocto.md."""
    page = page or (ROOT / "docs" / "yocto.md").read_text()
    for layer in text.LAYERS:
        for path in sorted([*layer.rglob("*.bb*"), *layer.rglob("*.inc"), *layer.rglob("*.conf")]):
            for line in text.logical_lines(path.read_text()):
                found = re.match(r"(DCU_\w+|VIRTUAL-RUNTIME_wisun[\w-]+)(?:(?::[\w-]+)? \?\??=|\[doc\])", line)
                if found and f"`{found[1]}`" not in page:
                    yield f"{path.relative_to(ROOT)}: {found[1]} is not in the glossary of docs/yocto.md"


def _environment() -> Iterator[str]:
    """Where Linux looks for U-Boot's environment is where U-Boot has it."""
    offsets = {
        name: int(found, 16)
        for name, found in re.findall(
            r"^CONFIG_ENV_(\w+)=(0x\w+)$",
            (UBOOT_FILES / "common.cfg").read_text(),
            re.MULTILINE,
        )
    }
    wanted = [
        (offsets["OFFSET"], offsets["SIZE"]),
        (offsets["OFFSET_REDUND"], offsets["SIZE"]),
    ]
    for path in sorted(UBOOT_FILES.rglob("fw_env.config")):
        lines = re.findall(r"^/dev/\S+\s+(0x\w+)\s+(0x\w+)", path.read_text(), re.MULTILINE)
        if [(int(offset, 16), int(size, 16)) for offset, size in lines] != wanted:
            yield f"{path.relative_to(ROOT)}: common.cfg has the environment elsewhere"


def machines() -> list[Path]:
    return sorted((BSP / "conf" / "machine").glob("*.conf"))
