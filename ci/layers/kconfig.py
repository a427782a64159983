"""The fragments against sources of the release's kernel and U-Boot, where given: each option is known, and takes.

What a build would configure starts from linux-yocto's own options, which are in a repository of their own; here each
machine's fragments are laid over configurations of the kernel's own, the barest and the fullest that the
processor has: what takes over both, takes over what lies between.
"""

# ruff: noqa: S603, T201  (a command that runs commands of this host)
import os
import re
import shutil
import subprocess
from pathlib import Path

from device import kernel
from device.cache import BuildError
from device.paths import KERNEL_FILES, LAYER, UBOOT_FILES

from layers import rules, text
from layers.workspace import CheckError, Workspace

# Architecture, compiler, the kernel's own configurations that the fragments are laid over
KERNELS = {
    "dcu-qemuarm64": ("arm64", "aarch64-linux-gnu-", ("allnoconfig", "defconfig")),
    "dcu-am335x": ("arm", "arm-linux-gnueabihf-", ("omap2plus_defconfig", "multi_v7_defconfig")),
}
KERNEL_RECIPE = KERNEL_FILES.parent / "dcu-linux.inc"
UBOOT_RECIPE = UBOOT_FILES.parent / "dcu-u-boot.inc"
_OPTION = re.compile(r"^(?:# )?CONFIG_(\w+)(?:=.*| is not set)$", re.MULTILINE)


def run(workspace: Workspace) -> None:
    """Raises CheckError: symbols that the sources do not know, options that did not take."""
    if not workspace.kernel and not workspace.uboot:
        print("       left out: KERNEL_SOURCE=… and UBOOT_SOURCE=… name the sources of the release's versions")
    if workspace.kernel:
        _kernel(workspace, workspace.kernel)
    if workspace.uboot:
        _uboot(workspace, workspace.uboot)


def _kernel(workspace: Workspace, tree: Path) -> None:
    providers = LAYER / "conf/distro/include/dcu-providers.inc"
    version = _version(tree, text.value(providers, "PREFERRED_VERSION_linux-yocto") or "")
    for machine in rules.machines():
        arch, cross, bases = KERNELS[machine.stem]
        absent = value_for(KERNEL_RECIPE, "DCU_KCONFIG_ABSENT", machine.stem).split()
        wanted = _without(absent, _fragments(KERNEL_RECIPE, KERNEL_FILES, machine.stem))
        _known(wanted, tree, arch)
        for base in bases:
            _take(workspace, tree, wanted, f"linux-{machine.stem}", (f"ARCH={arch}", f"CROSS_COMPILE={cross}", base))
        count = len(_OPTION.findall(wanted))
        print(f"       {machine.stem}: {count} options of Linux {version}, over {' and '.join(bases)}")


def _uboot(workspace: Workspace, tree: Path) -> None:
    recipe = next((workspace.upstream / "openembedded-core/meta/recipes-bsp/u-boot").glob("u-boot_*.bb"))
    version = _version(tree, recipe.stem.partition("_")[2])
    for machine in rules.machines():
        cross, board = KERNELS[machine.stem][1], text.value(machine, "UBOOT_MACHINE")
        wanted = _fragments(UBOOT_RECIPE, UBOOT_FILES, machine.stem)
        _known(wanted, tree, "arm")
        _take(workspace, tree, wanted, f"u-boot-{machine.stem}", (f"CROSS_COMPILE={cross}", str(board)))
        print(f"       {machine.stem}: {len(_OPTION.findall(wanted))} options of U-Boot {version}, over {board}")


def _version(tree: Path, wanted: str) -> str:
    """What the tree's Makefile says. Raises CheckError: it is not what the release is built from."""
    try:
        head = (tree / "Makefile").read_text()[:2000]
    except OSError as error:
        raise CheckError(f"{tree} is no source tree of a kernel or of U-Boot: {error}") from None
    parts = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) = ?(\d*)$", head, re.MULTILINE))
    found = ".".join(filter(None, (parts.get(name) for name in ("VERSION", "PATCHLEVEL", "SUBLEVEL"))))
    if not f"{found}.".startswith(f"{wanted.rstrip('%')}."):
        raise CheckError(f"{tree} is version {found}: the release is built from {wanted}")
    return found


def _fragments(recipe: Path, folder: Path, machine: str) -> str:
    """The .cfg files that the recipe takes for `machine`; of a symbol that stands in several, the last is meant."""
    names = re.findall(r"file://(\S+\.cfg)", value_for(recipe, "SRC_URI", machine))
    lines = "".join((folder / name).read_text() for name in names)
    last = {found[1]: found[0] for found in _OPTION.finditer(lines)}
    return "".join(f"{line}\n" for line in last.values())


def value_for(recipe: Path, name: str, machine: str) -> str:
    """What a .inc of ours assigns to `name` for a machine: an override of the machine's own takes the others' place."""
    plain, added, own = "", "", None
    for line in text.logical_lines(recipe.read_text()):
        found = re.match(rf'{name}((?::[\w-]+)*) (\?=|\+=|=) "(.*)"\s*$', line)
        if not found or not (machine in found[1].split(":") or found[1] in ("", ":append")):
            continue
        if ":append" in found[1] or found[2] == "+=":
            added += f" {found[3]}"
        elif found[1]:
            own = found[3]
        else:
            plain = found[3]
    return (plain if own is None else own) + added


def _without(names: list[str], options: str) -> str:
    return "".join(f"{found[0]}\n" for found in _OPTION.finditer(options) if found[1] not in names)


def _known(options: str, tree: Path, arch: str) -> None:
    """What is to be set, this processor's Kconfig knows; what is not to be set, some processor's. Raises CheckError."""
    own: set[str] = set()
    others: set[str] = set()
    for path in tree.rglob("Kconfig*"):
        place = path.relative_to(tree).parts
        if path.is_file():
            found = re.findall(r"^\s*(?:menu)?config (\w+)\s*$", path.read_text(errors="replace"), re.MULTILINE)
            (own if place[0] != "arch" or len(place) == 2 or place[1] == arch else others).update(found)
    lost = set(_OPTION.findall(options)) - own
    unset = set(re.findall(r"^# CONFIG_(\w+) is not set$", options, re.MULTILINE))
    lost -= unset & others
    if lost:
        raise CheckError(f"{tree.name} ({arch}) knows no symbol {', '.join(sorted(lost))}")


def _take(workspace: Workspace, tree: Path, wanted: str, name: str, words: tuple[str, ...]) -> None:
    """Configure `tree` from the last of `words`, the options laid over it. Raises CheckError: what did not take."""
    out = workspace.work / "check-kconfig" / f"{name}-{words[-1]}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    fragment = out / "wanted.cfg"
    fragment.write_text(wanted)
    make = ("make", "-s", "-C", tree, f"O={out}", *words[:-1])
    if words[-1] == "allnoconfig":
        _done(*make, words[-1], KCONFIG_ALLCONFIG=str(fragment))
    else:
        _done(*make, words[-1])
        with (out / ".config").open("a") as config:  # Kconfig takes the last of what is said twice
            config.write(wanted)
        _done(*make, "olddefconfig")
    try:
        kernel.check(wanted, (out / ".config").read_text())
    except BuildError as error:
        raise CheckError(f"{name}, over {words[-1]}: {error}") from None


def _done(*command: str | Path, **environment: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})
    if done.returncode:
        raise CheckError(f"{' '.join(map(str, command))}:\n{done.stderr[-2000:]}")
