"""The application as it lies in the image: its wheel and its locked dependencies (arm64 wheels, hash-checked).

They go to /usr/lib/dcu/venv, a virtual environment over the guest's own Python; `dcu` is linked into /usr/bin.
"""

import shutil
import sys
from pathlib import Path

from device.cache import Run, built
from device.paths import APP

PYTHON = "3.13"  # Debian trixie's
PREFIX = Path("usr/lib/dcu/venv")
LOCK = APP / "requirements.lock"
PLATFORMS = ("manylinux_2_17_aarch64", "manylinux2014_aarch64", "manylinux_2_28_aarch64", "manylinux_2_34_aarch64")
START = f"""#!/{PREFIX}/bin/python3
import sys
from dcu.cli.main import main
sys.exit(main())
"""


def build() -> Path:
    """Return the directory that is copied over the guest's root."""
    inputs = [APP / "dcu", APP / "pyproject.toml", LOCK, PYTHON, START, *PLATFORMS, "recipe 1"]
    return built("application", inputs, _make) / "root"


def _make(home: Path, run: Run) -> None:
    wheels = home / "wheels"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    target = ("--only-binary=:all:", "--no-deps", "--implementation=cp", f"--python-version={PYTHON}")
    platforms = [f"--platform={each}" for each in PLATFORMS]
    run(*pip, "download", *target, *platforms, "--require-hashes", "-r", LOCK, "-d", wheels)
    source = home / "source"
    shutil.copytree(APP / "dcu", source / "dcu", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(APP / "pyproject.toml", source)
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, source)
    root = home / "root"
    packages = root / PREFIX / f"lib/python{PYTHON}/site-packages"
    run(
        *pip,
        "install",
        "--no-index",
        *target,
        *platforms,
        "--no-compile",
        "-t",
        packages,
        *sorted(wheels.glob("*.whl")),
    )
    shutil.rmtree(packages / "bin", ignore_errors=True)  # scripts with this host's interpreter in them
    commands = root / PREFIX / "bin"
    commands.mkdir()
    (commands / "python3").symlink_to("/usr/bin/python3")
    (root / PREFIX / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (commands / "dcu").write_text(START)
    (commands / "dcu").chmod(0o755)
    (root / "usr/bin").mkdir()
    (root / "usr/bin/dcu").symlink_to(f"/{PREFIX}/bin/dcu")
