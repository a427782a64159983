"""`make layer-upstream-check`: yocto-check-layer, the Yocto Project's own judgement of a layer, over both of ours.

It takes a build that does not have the layer yet, writes down what every task would do, adds the layer and compares: a
layer that is merely present changes nothing. So each of ours gets a build directory of OpenEmbedded's own, with no
distribution of ours. The world that is compared is OpenEmbedded-Core's and ours, and what ours needs of the layers
between (EXCLUDE_FROM_WORLD): the other two thousand recipes of those are theirs to check.
"""

# ruff: noqa: T201  (a command)
from device.paths import BSP, LAYER

from layers import rules
from layers.workspace import UPSTREAM, CheckError, Workspace

BETWEEN = ("meta-python", "networking-layer", "openembedded-layer", "swupdate", "tpm-layer")  # by their collections
NEIGHBOUR = "qemuarm64"  # a machine of OpenEmbedded's own: what it shares with ours is built alike for both


def run(workspace: Workspace) -> None:
    """Raises CheckError: what yocto-check-layer found."""
    machines = [NEIGHBOUR, *(path.stem for path in rules.machines())]
    for layer, options in ((BSP, ["--machines", *machines]), (LAYER, [])):
        build = workspace.build(f"upstream-{layer.name}")
        core, *others = (str(workspace.upstream / each) for each in UPSTREAM)
        (build / "conf" / "bblayers.conf").write_text(f'BBPATH = "${{TOPDIR}}"\nBBFILES = ""\nBBLAYERS = "{core}"\n')
        excluded = "".join(f'EXCLUDE_FROM_WORLD:layer-{name} = "1"\n' for name in BETWEEN)
        (build / "conf" / "local.conf").write_text(
            f'CONF_VERSION = "2"\nMACHINE ??= "{NEIGHBOUR}"\nCONNECTIVITY_CHECK_URIS = ""\n'
            f'BB_NUMBER_PARSE_THREADS = "2"\nBB_SIGNATURE_HANDLER ?= "OEBasicHash"\n'
            f'INHERIT:remove = "uninative"\n{excluded}'
        )
        workspace.give(build / "conf")
        report = build / "report.log"
        command = ("yocto-check-layer", "--no-auto", "--no-auto-dependency", "-o", str(report), *options)
        try:
            workspace.run(build, *command, "--dependency", *others, "--", str(layer), machine=NEIGHBOUR)
        finally:
            said = report.read_text() if report.exists() else ""
            print("".join(f"       {line.partition(': ')[2]}\n" for line in said.splitlines() if " ... " in line))
        if f"{layer.name} ... PASS" not in said:
            raise CheckError(f"yocto-check-layer does not pass {layer.name}: {report}")
