"""The two programs of the image: `dcu`, and `dcu-gurux`, which is GPL and stands alone (docs/adr/0002).

Each lies in a virtual environment of its own over the guest's Python, with its locked dependencies (arm64 wheels,
checked by their hashes), and is linked into /usr/bin. Dependencies are compiled once, by the guest's Python under
emulation, which takes a minute; our own packages, which change more often, when the root is put together.
"""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from device import debian, rootfs
from device.cache import Run, built
from device.paths import APP

PYTHON = "3.13"  # Debian trixie's
PLATFORMS = ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64")
TARGET = (
    *("--only-binary=:all:", "--no-deps", "--implementation=cp", f"--python-version={PYTHON}"),
    *(f"--platform={each}" for each in PLATFORMS),
)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
START = "#!/{prefix}/bin/python3\nimport sys\nfrom {module} import main\nsys.exit(main())\n"


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    package: str
    project: Path  # the folder with its pyproject.toml
    module: str  # that has main()
    lock: Path
    only: str = ""  # the one requirement of the lock that is wanted; empty: all

    @property
    def prefix(self) -> Path:
        return Path("usr/lib") / self.name / "venv"

    @property
    def packages(self) -> Path:
        return self.prefix / f"lib/python{PYTHON}/site-packages"

    def requirements(self) -> str:
        text = self.lock.read_text()
        return "".join(re.findall(rf"^{self.only}==(?:.*\\\n)+.*\n", text, re.MULTILINE)) if self.only else text


PROGRAMS = (
    Program("dcu", "dcu", APP, "dcu.cli.main", APP / "requirements.lock"),
    Program(
        "dcu-gurux",
        "dcu_gurux",
        APP / "dcu_gurux",
        "dcu_gurux.worker",
        APP / "requirements-dev.lock",
        only="gurux-dlms",
    ),
)


def build() -> list[Path]:
    """Return the directories that are copied over the guest's root."""
    return [part / "root" for program in PROGRAMS for part in (_dependencies(program), _program(program))]


def _dependencies(program: Program) -> Path:
    base = rootfs.build()
    inputs = [program.requirements(), str(program.packages), base.name, *TARGET, "recipe 1"]
    return built(f"{program.name}-dependencies", inputs, lambda home, run: _compiled(home, run, program, base))


def _compiled(home: Path, run: Run, program: Program, base: Path) -> None:
    wheels, guest, listed = home / "wheels", home / "guest", home / "requirements.txt"
    listed.write_text(program.requirements())
    run(*PIP, "download", *TARGET, "--require-hashes", "-r", listed, "-d", wheels)
    guest.mkdir()
    run("tar", "-xf", base / "base.tar", "-C", guest)
    _installed(run, guest / program.packages, wheels)
    debian.emulation()
    run("chroot", guest, "python3", "-m", "compileall", "-q", "-j2", f"/{program.packages}")
    (home / "root" / program.packages).parent.mkdir(parents=True)
    (guest / program.packages).rename(home / "root" / program.packages)
    run("rm", "-rf", guest)


def _program(program: Program) -> Path:
    package = APP / program.package
    inputs = [package, program.project / "pyproject.toml", str(program.packages), START, *TARGET, "recipe 2"]
    return built(program.name, inputs, lambda home, run: _make(home, run, program))


def _make(home: Path, run: Run, program: Program) -> None:
    source, wheels, root = home / "source", home / "wheels", home / "root"
    inside = program.project == APP / program.package  # its pyproject.toml lies in the package itself
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    shutil.copytree(APP / program.package, source if inside else source / program.package, ignore=ignored)
    if not inside:
        shutil.copy(program.project / "pyproject.toml", source)
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, source)
    _installed(run, root / program.packages, wheels)
    commands = root / program.prefix / "bin"
    commands.mkdir()
    (commands / "python3").symlink_to("/usr/bin/python3")
    (root / program.prefix / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (commands / program.name).write_text(START.format(prefix=program.prefix, module=program.module))
    (commands / program.name).chmod(0o755)
    (root / "usr/bin").mkdir()
    (root / "usr/bin" / program.name).symlink_to(f"/{program.prefix}/bin/{program.name}")


def _installed(run: Run, packages: Path, wheels: Path) -> None:
    run(*PIP, "install", "--no-index", *TARGET, "--no-compile", "-t", packages, *sorted(wheels.iterdir()))
    shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts with this host's interpreter in them
