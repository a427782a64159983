"""Builds the module for every kernel, and checks its style, its documentation and its binding: no warning is allowed.

What is checked is a copy of the files inside the kernel's root, so that the tree stays clean.
"""

# ruff: noqa: S603  (it runs compilers and checkers: that is its work)

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device.cache import BuildError, Run, built
from device.lastgasp.archive import enter
from device.lastgasp.kernels import FLAVOURS, TRIXIE, Kernel
from device.paths import MODULE_FILES

BINDING = "grid-dcu,last-gasp.yaml"
CODE = ("core.c", "chardev.c", "sysfs.c", "tree.c", "core.h", "compat.h", "lastgasp.h")
SOURCES = (*CODE, "Kbuild", "Makefile")
AGENT = Path(__file__).parent / "guest" / "agent.c"

_STYLE = ("checkpatch.pl", "spelling.txt", "const_structs.checkpatch", "kernel-doc")
# What a good build says; every other line is a finding.
_GOOD = re.compile(
    r"|make(\[\d+\])?: (Entering|Leaving) directory .*|  (AR|BTF|CC|CHECK|LD|MODPOST) .*|Skipping BTF generation for .*"
    # Since 7.0 linux-kbuild lacks the script that asks whether sparse is new enough; we asked ourselves.
    r"|.*checker-valid.sh: No such file or directory|.*C=2 specified, but sparse is not available or not up to date"
    r"|total: 0 errors, 0 warnings, 0 checks, \d+ lines checked"
)
_EXAMPLE = """/dts-v1/;
/ {{
    #address-cells = <1>; #size-cells = <1>; compatible = "test"; model = "test";
    gpio1: gpio {{ compatible = "test"; gpio-controller; #gpio-cells = <2>; }};
    {node}
}};
"""


@dataclass(frozen=True, slots=True)
class Module:
    path: Path
    findings: tuple[str, ...]
    sparse: bool  # whether sparse has read it


def module(kernel: Kernel, flavour: str, files: Path = MODULE_FILES) -> Module:
    """Build the module with W=1, and with sparse where it understands this kernel's headers."""
    name = f"{kernel.release}-{flavour}" + "-planted" * (files != MODULE_FILES)
    place = _copy(kernel.root, name, files, SOURCES)
    arch = FLAVOURS[flavour]
    words = [f"M=/{place.relative_to(kernel.root)}", f"ARCH={arch}", "W=1", "modules"]
    words += ["CROSS_COMPILE=aarch64-linux-gnu-"] * (arch == "arm64")
    words += ["KBUILD_CHECKSRC=2"] * _sparse(kernel)
    code, said = _inside(kernel.root, "make", "-C", kernel.headers(flavour), *words)
    findings = tuple(_findings("make", code, said))
    return Module(place / "lastgasp.ko", findings, sparse="\n  CHECK " in said)


def style(root: Path, files: Path = MODULE_FILES) -> list[str]:
    """Return what checkpatch --strict and kernel-doc find."""
    place = _copy(root, "style", files, (*SOURCES, BINDING))
    scripts = _scripts()
    for name in _STYLE:
        shutil.copy(scripts / name, place)
    where = f"/{place.relative_to(root)}"
    names = [f"{where}/{name}" for name in (*SOURCES, BINDING)]
    code, said = _inside(root, "perl", f"{where}/checkpatch.pl", "--no-tree", "--strict", "--terse", "-q", "-f", *names)
    findings = _findings("checkpatch", code, said)
    documented = [name for name in names if name.endswith((".c", ".h"))]
    code, said = _inside(root, "perl", f"{where}/kernel-doc", "-none", "-Wall", *documented)
    return findings + _findings("kernel-doc", code, said)


def binding(root: Path, files: Path = MODULE_FILES) -> list[str]:
    """Return what dt-schema finds in the binding and in its examples."""
    place = root / "build" / "binding" / "power"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(files / BINDING, place)
    where = f"/{place.relative_to(root)}"
    code, said = _inside(root, "dt-doc-validate", "-u", where.removesuffix("/power"), f"{where}/{BINDING}")
    findings = _findings("dt-doc-validate", code, said)
    examples = re.findall(r"^    (power-fail \{.*?^    \};)", (files / BINDING).read_text(), re.M | re.S)
    return findings + [line for each in examples for line in node(root, each, files)]


def node(root: Path, text: str, files: Path = MODULE_FILES) -> list[str]:
    """Return what dt-schema finds in one power-fail node."""
    place = root / "build" / "node"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(files / BINDING, place)
    text = text.replace("GPIO_ACTIVE_HIGH", "0").replace("GPIO_ACTIVE_LOW", "1")
    (place / "node.dts").write_text(_EXAMPLE.format(node=text))
    script = (
        "cd /build/node; dtc -q -O dtb -o node.dtb node.dts; dt-mk-schema -j . > schema.json;"
        f" dt-validate -l {BINDING.split(',')[1]} -s schema.json node.dtb"
    )
    code, said = _inside(root, "sh", "-ec", script)
    return _findings("dt-validate", code, said)


def agent(root: Path) -> Path:
    """Return the program that is the guest's process 1 in the tests, for arm64."""
    place = _copy(root, "agent", AGENT.parent, [AGENT.name])
    words = ["aarch64-linux-gnu-gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", "/build/agent/init"]
    code, said = _inside(root, *words, f"/build/agent/{AGENT.name}")
    if code:
        raise BuildError(f"{AGENT.name}: {said}")
    return place / "init"


def _copy(root: Path, name: str, files: Path, names: Sequence[str]) -> Path:
    place = root / "build" / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for each in names:
        shutil.copy(files / each, place)
    return place


def _inside(root: Path, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        enter(root, *command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, done.stdout


def _findings(tool: str, code: int, said: str) -> list[str]:
    return [line for line in said.splitlines() if not _GOOD.fullmatch(line)] or [f"{tool}: exit {code}"] * bool(code)


def _sparse(kernel: Kernel) -> bool:
    """Tell whether sparse understands this kernel's headers: since 6.19 they use an operator that is young in C."""
    used = any(
        "__typeof_unqual__" in path.read_text()
        for path in (kernel.root / f"usr/src/linux-headers-{kernel.release}-common/include/linux").glob("compiler*.h")
    )
    probe = kernel.root / "build" / "probe.c"
    probe.parent.mkdir(exist_ok=True)
    probe.write_text("static int u(const int *q)\n{\n\t__typeof_unqual__(*q) v = *q;\n\n\treturn v;\n}\n")
    code, said = _inside(kernel.root, "sparse", "/build/probe.c")
    return not used or not (code or "error" in said)


def _scripts() -> Path:
    """Return the directory with the kernel's own checkers, of the release's kernel source."""
    TRIXIE.prepare()
    name = TRIXIE.names(r"^linux-source-6\.")[-1]
    (deb,) = TRIXIE.debs((), [name])
    return built("lastgasp-style", [deb.name, *_STYLE], lambda home, run: _extract(home, run, deb, name))


def _extract(home: Path, run: Run, deb: Path, name: str) -> None:
    inner = f'dpkg-deb --fsys-tarfile "{deb}" | tar -xO --wildcards "./usr/src/{name}.tar.xz"'
    wanted = " ".join(f"{name}/scripts/{each}" for each in _STYLE)
    run("sh", "-ec", f'{inner} | tar -xJ --strip-components=2 -C "{home}" {wanted}')
