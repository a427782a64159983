"""The boards' device trees against the kernel's bindings and our own: dtc's warnings and dtschema's faults that are
ours.

The kernel's own includes have both; what counts is what our tree has beyond the board that it is derived from.
Sources and bindings are Debian's linux-source (the device bench's).
"""

# ruff: noqa: S603, S607, T201  (a command that runs commands of this host)
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from device import debian, kernel
from device.paths import BSP, MODULE_FILES

from layers.workspace import CheckError, Workspace

SOURCES = BSP / "recipes-bsp" / "dcu-devicetree" / "files"
BASES = {
    "dcu-am335x": ("arm/boot/dts/ti/omap", "am335x-boneblack")
}  # our tree: its folder in the kernel, whose child it is
BINDING = MODULE_FILES / "grid-dcu,last-gasp.yaml"
VENDOR = '  "^grid-dcu,.*":\n    description: Grid DCU\n'
PARTS = (
    "arch/*/boot/dts",
    "arch/*/include",
    "include/dt-bindings",
    "Documentation/devicetree",
    "scripts/dtc",
    "include/uapi",
)


def run(workspace: Workspace) -> None:
    """Raises CheckError: what is ours and wrong."""
    home = workspace.work / "check-trees"
    home.mkdir(exist_ok=True)
    linux, schema = _sources(home), home / "schema.json"
    if not schema.exists():
        _schema(linux, schema)
    faults: list[str] = []
    for source in sorted(SOURCES.glob("*.dts")):
        folder, base = BASES[source.stem]
        path = linux / "arch" / folder
        ours, warnings = _compiled(source, path, linux, home)
        theirs, _ = _compiled(path / f"{base}.dts", path, linux, home)
        faults += [line for line in warnings if source.name in line.partition(": Warning")[0]]
        faults += sorted(set(_faults(ours, schema)) - set(_faults(theirs, schema)))
        print(f"       {source.name}: {ours.stat().st_size} bytes, like {base}.dts and our binding")
    if faults:
        raise CheckError("device trees:\n" + "\n".join(faults))


def includes(workspace: Workspace, name: str) -> list[Path]:
    """Where the tree's includes are, if `run` has unpacked them."""
    found = next((workspace.work / "check-trees").glob("*/whole"), None)
    if not found:
        return []
    linux = found.parent
    return [linux / "arch" / BASES[name][0], linux / "include", linux / "scripts/dtc/include-prefixes"]


def _sources(home: Path) -> Path:
    """What is needed of the kernel's sources, unpacked once."""
    package = debian.binary(kernel.PACKAGE)
    target = home / package.stem
    if not (target / "whole").exists():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        subprocess.run(["dpkg-deb", "-x", package, target / "deb"], check=True)
        tarball = next((target / "deb").glob("usr/src/linux-source-*.tar.xz"))
        wanted = [f"*/{part}/*" for part in PARTS]
        subprocess.run(
            ["tar", "-xf", tarball, "-C", target, "--strip-components=1", "--wildcards", *wanted], check=True
        )
        shutil.rmtree(target / "deb")
        (target / "whole").touch()
    return target


def _schema(linux: Path, schema: Path) -> None:
    """The kernel's bindings and ours, as dtschema processes them: it takes a minute."""
    bindings = linux / "Documentation" / "devicetree" / "bindings"
    shutil.copy(BINDING, bindings / "power" / BINDING.name)
    prefixes = bindings / "vendor-prefixes.yaml"
    text = prefixes.read_text()
    if VENDOR not in text:
        prefixes.write_text(
            re.sub(r"^patternProperties:\n", lambda found: found[0] + VENDOR, text, count=1, flags=re.MULTILINE)
        )
    done = subprocess.run([_tool("dt-mk-schema"), "-j", bindings], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckError(f"dt-mk-schema: {done.stderr[-1000:]}")
    schema.write_text(done.stdout)


def _compiled(source: Path, folder: Path, linux: Path, home: Path) -> tuple[Path, list[str]]:
    """The blob, and dtc's warnings."""
    flat, blob = home / f"{source.stem}.pp", home / f"{source.stem}.dtb"
    paths = [f"-I{path}" for path in (folder, linux / "include", linux / "scripts/dtc/include-prefixes")]
    flags = ("-nostdinc", "-undef", "-D__DTS__", "-x", "assembler-with-cpp")
    subprocess.run(["cpp", *flags, *paths, source, "-o", flat], check=True)
    command = ["dtc", "-@", "-I", "dts", "-O", "dtb", "-i", folder, "-o", blob, flat]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckError(f"dtc: {done.stderr[-2000:]}")
    return blob, [line for line in done.stderr.splitlines() if ": Warning" in line]


def _faults(blob: Path, schema: Path) -> Iterator[str]:
    """dtschema's findings without the blob's name; a property's bytes may be printed, so the line is cut."""
    done = subprocess.run([_tool("dt-validate"), "-s", schema, blob], capture_output=True, text=True, check=False)
    for line in (done.stdout + done.stderr).splitlines():
        if line.startswith(str(blob)):
            text = line.removeprefix(f"{blob}: ")
            yield re.sub(r"usb@1400 .*", "usb@1400", text)[
                :300
            ]  # names its neighbours, which differ by nothing of ours


def _tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))
