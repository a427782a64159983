"""`make layer-upstream-check`: yocto-check-layer, the Yocto Project's own judgement of a layer, over both of ours.

It takes a build that does not have the layer yet, writes down what every task would do, adds the layer and compares: a
layer that is merely present changes nothing. So each of ours gets a build directory of OpenEmbedded's own, with no
distribution of ours. The world that is compared is OpenEmbedded-Core's and ours, and what ours needs of the layers
between (EXCLUDE_FROM_WORLD): the other two thousand recipes of those are theirs to check. WORLD=needed narrows it to
what ours needs of OpenEmbedded-Core, too, for hosts with hours and not a night.
"""

# ruff: noqa: T201  (a command)
import re
from collections.abc import Iterable
from pathlib import Path

from device.paths import BSP, LAYER

from layers import rules, text
from layers.lite import MACHINE
from layers.workspace import UPSTREAM, CheckError, Workspace

BETWEEN = ("meta-python", "networking-layer", "openembedded-layer", "swupdate", "tpm-layer")  # by their collections
NEIGHBOUR = "qemuarm64"  # a machine of OpenEmbedded's own: what it shares with ours is built alike for both
APPENDED = {BSP: ("linux-yocto", "u-boot"), LAYER: ("swupdate",)}  # besides a layer's own recipes


def run(workspace: Workspace) -> None:
    """Raises CheckError: what yocto-check-layer found."""
    machines = [NEIGHBOUR, *(path.stem for path in rules.machines())]
    core, *others = (str(workspace.upstream / each) for each in UPSTREAM)
    for layer, options in ((BSP, ["--machines", *machines]), (LAYER, [])):
        build = workspace.build(f"upstream-{layer.name}")
        excluded = "".join(f'EXCLUDE_FROM_WORLD:layer-{name} = "1"\n' for name in BETWEEN)
        settings = (
            f'CONF_VERSION = "2"\nMACHINE ??= "{NEIGHBOUR}"\nCONNECTIVITY_CHECK_URIS = ""\n'
            'BB_NUMBER_PARSE_THREADS = "2"\nBB_SIGNATURE_HANDLER ?= "OEBasicHash"\n'
            f'INHERIT:remove = "uninative"\n{excluded}'
        )
        if workspace.narrow:
            between = others if layer is LAYER else []
            _configure(workspace, build, settings, [core, *between, str(layer)])
            settings += _narrowed(workspace, build, layer)
        _configure(workspace, build, settings, [core])
        _judge(workspace, build, layer, [*options, "--dependency", *others])


def _configure(workspace: Workspace, build: Path, settings: str, layers: list[str]) -> None:
    (build / "conf" / "bblayers.conf").write_text(
        f'BBPATH = "${{TOPDIR}}"\nBBFILES = ""\nBBLAYERS = "{" ".join(layers)}"\n'
    )
    (build / "conf" / "local.conf").write_text(settings)
    workspace.give(build / "conf")


def _narrowed(workspace: Workspace, build: Path, layer: Path) -> str:
    """Keep out of the world what neither the layer's recipes need nor those that it appends to."""
    own = [each for each in text.recipes() if each.path.is_relative_to(layer) and "images" not in each.path.parts]
    targets = [each.name for each in own if layer is BSP or not each.values.get("COMPATIBLE_MACHINE")]
    # they need the distribution's own image, or that it accepts a licence
    absent = {"dcu-bank", "dcu-update", "cryptoauthlib"}
    workspace.run(
        build,
        *("bitbake", "-g", *sorted({*targets, *APPENDED[layer]} - absent)),
        machine=MACHINE if layer is BSP else NEIGHBOUR,
    )
    needed = for_the_target((build / "pn-buildlist").read_text().split())
    print(f"       {layer.name} needs {len(needed)} recipes of other layers for the target")
    return narrowed(needed)


def for_the_target(names: Iterable[str]) -> list[str]:
    """Without what is built for the host or for the compiler: BitBake's world has none of it."""
    foreign = re.compile(r"-native$|^nativesdk-|-cross(sdk)?(-|$)|^gcc-source|-initial$").search
    return sorted(name for name in names if not foreign(name))


def narrowed(needed: Iterable[str]) -> str:
    """For local.conf: a world of these recipes alone of OpenEmbedded-Core. One is left out where this is not empty."""
    return (
        f'DCU_WORLD = "{" ".join(needed)}"\n'
        "EXCLUDE_FROM_WORLD:layer-core = \"${@'' if d.getVar('PN') in d.getVar('DCU_WORLD').split() else '1'}\"\n"
    )


def _judge(workspace: Workspace, build: Path, layer: Path, options: list[str]) -> None:
    report = build / "report.log"
    report.unlink(missing_ok=True)
    command = ("yocto-check-layer", "--no-auto", "--no-auto-dependency", "-o", str(report), *options)
    try:
        workspace.run(build, *command, "--", str(layer), machine=NEIGHBOUR)
    finally:
        said = report.read_text() if report.exists() else ""
        print("".join(f"       {line.partition(': ')[2]}\n" for line in said.splitlines() if " ... " in line), end="")
    if f"{layer.name} ... PASS" not in said:
        raise CheckError(f"yocto-check-layer does not pass {layer.name}: {report}")
