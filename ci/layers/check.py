"""`make layer-check`: what BitBake itself says of the layers, given the upstream layers (docs/yocto.md, "Checks").

parse  every recipe of every layer, for each machine: no error, no warning that names one of ours
graph  the tasks of all images, of the disk and of the update resolve, for each machine
trees  the boards' device trees compile, and keep to the kernel's bindings and ours
kconfig  each option of the fragments takes in the sources of the release's kernel and U-Boot, where they are given
lite   our recipes' own tasks run with OpenEmbedded's classes, everything foreign is taken from this host: do_install of
       the application and of each Python recipe, licence and source checksums, device trees, signed FIT, .swu; out of
       it come payload.manifest and the comparison of the application with app/
swu    that .swu: openssl and SWUpdate accept it, and refuse it with one byte changed

Only when it is named, for it takes an hour (make layer-upstream-check):
upstream  yocto-check-layer over both layers
"""

# ruff: noqa: T201  (a command that runs commands of this host)
import re
import time
from collections.abc import Callable
from pathlib import Path

from device.paths import BSP, LAYER

from layers import kconfig, lite, rules, trees, upstream
from layers.workspace import CheckError, Workspace

TARGETS = ("dcu-image", "dcu-image-dev", "dcu-image-factory", "dcu-disk", "dcu-update")  # and dcu-image-bench, in QEMU


def main(workspace: Workspace, parts: list[str]) -> int:
    """Run `parts`; return the exit code."""
    try:
        workspace.require()
        for name in parts:
            began = time.monotonic()
            print(f"{name}:", flush=True)
            (PARTS | NAMED)[name](workspace)
            print(f"ok     {name} ({time.monotonic() - began:.0f} s)", flush=True)
    except KeyError as error:
        print(f"layer-check: there is no part {error}: {' '.join(PARTS | NAMED)}")
        return 2
    except CheckError as error:
        print(f"layer-check: {error}")
        return 1
    return 0


def parse(workspace: Workspace) -> None:
    for machine in rules.machines():
        _without_warnings(workspace.bitbake(_whole(workspace), "-p", machine=machine.stem))


def graph(workspace: Workspace) -> None:
    for machine in rules.machines():
        build = _whole(workspace)
        bench = ["dcu-image-bench"] if machine.stem == lite.MACHINE else []
        log = workspace.bitbake(build, "-g", *TARGETS, *bench, machine=machine.stem)
        _without_warnings(log)
        recipes = len((build / "pn-buildlist").read_text().split())
        print(f"       {machine.stem}: {recipes} recipes")


def _whole(workspace: Workspace) -> Path:
    """A build directory with every layer and nothing masked, as kas would make it, and no question to the network."""
    build = workspace.build("whole")
    workspace.bblayers(build)
    (build / "conf" / "local.conf").write_text(
        'CONF_VERSION = "2"\nDISTRO = "grid-dcu"\nCONNECTIVITY_CHECK_URIS = ""\nBB_NUMBER_PARSE_THREADS = "2"\n'
        'BB_SIGNATURE_HANDLER = "OEBasicHash"\nBB_HASHSERVE = ""\n'
    )
    workspace.give(build / "conf")
    return build


def _without_warnings(log: str) -> None:
    ours = [line for line in log.splitlines() if "WARNING" in line and re.search(f"{LAYER.name}|{BSP.name}|dcu", line)]
    if ours:
        raise CheckError("warnings of ours:\n" + "\n".join(ours))


PARTS: dict[str, Callable[[Workspace], None]] = {
    "parse": parse,
    "graph": graph,
    "trees": trees.run,
    "kconfig": kconfig.run,
    "lite": lite.run,
    "swu": lite.swu,
}
NAMED = {"upstream": upstream.run}
