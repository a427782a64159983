"""The lite gate: our recipes' own tasks, with OpenEmbedded's classes and without its toolchain; then what came out of
them.

All foreign recipes are masked (ci/layers/lite/local.conf.in says how the rest is taken from this host). The banks are
the device bench's where it is built (`make device`): the FIT is then assembled and signed by dcu-bank.bb around the
bench's kernel and root, with the bench's keys, and the update that comes out installs on the bench.
"""

# ruff: noqa: S603, T201  (a command that runs commands of this host)
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

from device import keys as bench_keys
from device.paths import APP, OUT, ROOT

from layers import payload, stdlib, text, trees, versions
from layers.payload import Entry
from layers.workspace import CheckError, Workspace

HERE = Path(__file__).resolve().parent / "lite"
MACHINE, BOARD = "dcu-qemuarm64", "dcu-am335x"
INSTALLED = (
    "dcu-base",
    "dcu-bootenv",
    "dcu-swupdate",
    "dcu",
    "dcu-gurux",
)  # whose ${D} is the payload
VERITY = (
    "--no-superblock",
    "--data-block-size=4096",
    "--hash-block-size=4096",
    f"--salt={'dc' * 32}",
)


def run(workspace: Workspace) -> None:
    build = prepare(workspace)
    python = [recipe.name for recipe in text.recipes() if recipe.name.startswith("python3-")]
    workspace.bitbake(build, "-c", "install", *INSTALLED, *python, machine=MACHINE, path=build / "bin")
    workspace.bitbake(
        build,
        "-c",
        "populate_lic",
        *INSTALLED,
        *python,
        machine=MACHINE,
        path=build / "bin",
    )
    workspace.bitbake(build, "-c", "deploy", "dcu-devicetree", machine=MACHINE, path=build / "bin")
    _board(workspace, build)
    _module(workspace, build)
    _compare(build)
    if _banks(workspace, build):
        workspace.bitbake(build, "-c", "swuimage", "dcu-update", machine=MACHINE, path=build / "bin")
    else:
        print("       dcu-bank and dcu-update were left out: the device bench is not built (make device)")


def prepare(workspace: Workspace) -> Path:
    """The build directory, its configuration written."""
    build = workspace.build("lite")
    workspace.bblayers(build)
    (build / "bin").mkdir(exist_ok=True)
    for script in (HERE / "bin").iterdir():
        (build / "bin" / script.name).write_text(script.read_text().replace("@PYTHON@", sys.executable))
        (build / "bin" / script.name).chmod(0o755)
    shutil.copytree(HERE / "classes", build / "classes", dirs_exist_ok=True)
    _sources(build / "downloads")
    library = next(Path("/usr/lib").glob("*/pseudo/libpseudo.so"), None)
    if not library:
        raise CheckError("libpseudo is missing on this host: apt-get install libpseudo")
    values = {
        "KEYS": str(_keys(build)),
        "FIT_KEYS": str(_keys(build) / "fit"),
        "PYTHON_VERSION": sysconfig.get_python_version(),
        "PSEUDO_LIBDIR": str(library.parent),
        "KERNEL_INCLUDE": " ".join(str(path) for path in trees.includes(workspace, BOARD)),
        "KERNEL": str(_newest(OUT / "kernel") or ""),
    }
    lines = (HERE / "local.conf.in").read_text()
    (build / "conf" / "local.conf").write_text(re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], lines))
    workspace.give(*(build / each for each in ("bin", "classes", "conf", "downloads", "keys")))
    return build


def _sources(downloads: Path) -> None:
    """The Python packages' sources, from the index that pip knows; BitBake compares them with our checksums."""
    downloads.mkdir(exist_ok=True)
    for recipe in text.recipes():
        if "pypi" in recipe.inherited:
            package = (recipe.values.get("PYPI_PACKAGE") or [recipe.name.removeprefix("python3-")])[-1]
            if not (downloads / f"{package}-{recipe.version}.tar.gz").exists():
                options = (
                    "-q",
                    "--no-deps",
                    "--no-binary=:all:",
                    "--no-build-isolation",
                    "-d",
                    str(downloads),
                )
                command = (
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    *options,
                    f"{package}=={recipe.version}",
                )
                if subprocess.run(command, check=False).returncode:
                    raise CheckError(f"pip cannot fetch the source of {package} {recipe.version}")


def _keys(build: Path) -> Path:
    """Development keys: the bench's own where it has some, so that the bench boots and takes what is made here."""
    home = build / "keys"
    bench_keys.fit(), bench_keys.update(), bench_keys.module()
    for source, name in (
        *((OUT / "keys" / f"{bench_keys.FIT}.{kind}", f"fit/{bench_keys.FIT}.{kind}") for kind in ("key", "crt")),
        (OUT / "keys" / "module.pem", "module/module.pem"),
        *((path, f"update/{path.name}") for path in (OUT / "keys" / "update").iterdir()),
    ):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, home / name)
    return home


def _compare(build: Path) -> None:
    """payload.manifest anew, the application against app/, Python's modules against RDEPENDS."""
    entries = {entry.path: entry for name in INSTALLED for entry in _made(build, name)}
    shipped = {name: entry for name, entry in entries.items() if "/site-packages/" not in name}
    plain = {
        name: Entry(
            entry.mode,
            entry.owner,
            "-" if name in payload.NO_DIGEST else entry.digest,
            name,
        )
        for name, entry in shipped.items()
    }
    udev = payload.on_the_bench()[
        "/usr/lib/udev/rules.d/60-lastgasp.rules"
    ]  # its recipe needs a kernel to compile against
    plain["/usr/lib/udev/rules.d/60-lastgasp.rules"] = Entry(
        "644",
        "root:root",
        payload.sha256(udev),
        "/usr/lib/udev/rules.d/60-lastgasp.rules",
    )
    payload.write(plain)
    faults = [*payload.faults(plain), *_application(entries), *stdlib.faults(build), *versions.faults(build.parent)]
    if faults:
        raise CheckError("the payload:\n" + "\n".join(faults))
    print(f"       {len(plain)} files in {payload.MANIFEST.relative_to(ROOT)}, the application is that of app/")


def _made(build: Path, recipe: str) -> Iterator[Entry]:
    made = build.glob(f"tmp/work/*/{recipe}/*/temp/payload.manifest")
    found = [path for path in made if BOARD.replace("-", "_") not in str(path.relative_to(build))]
    if len(found) != 1:
        raise CheckError(f"{recipe}: {len(found)} installations in {build}: remove that directory")
    yield from (Entry(*line.split(maxsplit=3)) for line in found[0].read_text().splitlines())


def _application(entries: dict[str, Entry]) -> Iterator[str]:
    """What is in site-packages is what is in app/, byte for byte."""
    inside = {
        name.partition("/site-packages/")[2]: entry for name, entry in entries.items() if "/site-packages/" in name
    }
    for package in ("dcu", "dcu_gurux"):
        sources = [path for path in (APP / package).rglob("*") if path.suffix in (".html", ".py", ".toml", ".typed")]
        if package == "dcu_gurux":
            sources = [path for path in sources if path.suffix == ".py"]
        for path in sources:
            entry = inside.get(str(path.relative_to(APP)))
            if not entry:
                yield f"{path.relative_to(ROOT)} is not in the image"
            elif entry.digest != payload.sha256(path):
                yield f"{path.relative_to(ROOT)} is another file in the image"


def _board(workspace: Workspace, build: Path) -> None:
    """What differs on the board: its tree, where U-Boot's environment is, what it says it is."""
    workspace.bitbake(build, "-c", "install", "dcu-bootenv", "dcu-swupdate", machine=BOARD, path=build / "bin")
    if trees.includes(workspace, BOARD):
        workspace.bitbake(build, "-c", "deploy", "dcu-devicetree", machine=BOARD, path=build / "bin")
    else:
        print("       the board's tree was left out: it needs the part trees first")


def _module(workspace: Workspace, build: Path) -> None:
    """lastgasp as far as it goes: compiled against the bench's kernel; signing needs the kernel's recipe."""
    if kernel := _newest(OUT / "kernel"):
        workspace.reads(kernel / "source")
        workspace.bitbake(build, "-c", "compile", "lastgasp", machine=MACHINE, path=build / "bin")
    else:
        print("       lastgasp was left out: the device bench is not built (make device)")


def _banks(workspace: Workspace, build: Path) -> bool:
    """Put the bench's root, kernel and U-Boot where the image and those recipes would deploy theirs."""
    newest = {step: _newest(OUT / step) for step in ("system", "kernel", "firmware")}
    if not all(newest.values()):
        return False
    deploy = build / "tmp" / "deploy" / "images" / MACHINE
    deploy.mkdir(parents=True, exist_ok=True)
    root = deploy / f"dcu-image-{MACHINE}.rootfs.squashfs-zst"
    image = (newest["system"] / "rootfs.squashfs").read_bytes()  # type: ignore[operator]
    image += bytes(-len(image) % 4096)
    sealed = Path(f"{root}.verity")
    sealed.write_bytes(image)
    blocks = len(image) // 4096
    command = (
        "veritysetup",
        "format",
        *VERITY,
        f"--data-blocks={blocks}",
        f"--hash-offset={len(image)}",
        sealed,
        sealed,
    )
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # As image_types_verity.bbclass writes them
    lines = [line.split(":", 1) for line in shown.splitlines() if ":" in line]
    values = {name.strip().upper().replace(" ", "_"): value.strip().removesuffix(" [bytes]") for name, value in lines}
    values["DATA_SECTORS"] = str(len(image) // 512)
    Path(f"{root}.verity-params").write_text("\n".join(f"VERITY_{name}={value}" for name, value in values.items()))
    kernel = (newest["kernel"] / "Image").read_bytes()  # type: ignore[operator]
    (deploy / "linux.bin").write_bytes(gzip.compress(kernel, 9, mtime=0))
    (deploy / "linux_comp").write_text("gzip")
    shutil.copy(newest["firmware"] / "u-boot.bin", deploy / f"u-boot-{MACHINE}.bin")  # type: ignore[operator]
    workspace.give(build / "tmp" / "deploy")
    return True


def _newest(step: Path) -> Path | None:
    whole = [path.parent for path in step.glob("*/.seconds")]
    return max(whole, key=lambda path: path.stat().st_mtime, default=None)


def swu(workspace: Workspace) -> None:
    """The update: CMS holds, SWUpdate accepts it; with one byte changed anywhere that matters, it is refused."""
    build = workspace.work / "check-lite"
    made = next(
        build.glob(f"tmp/work/*/dcu-update/*/deploy-dcu-update-swuimage/dcu-update-{MACHINE}*.swu"),
        None,
    )
    if not made:
        raise CheckError("there is no .swu: run the part lite with the device bench built (make device)")
    from ota import checking

    authority = build / "keys" / "update" / "update-ca.crt"
    seen = checking.check(made, authority)
    print(f"       {made.name}: version {seen.version}, {', '.join(name for name, _ in seen.files)}")
    if not _accepted(made, authority):
        raise CheckError(f"SWUpdate refuses {made}")
    raw = bytearray(made.read_bytes())
    for what, at in (
        ("sw-description", raw.index(b"hardware-compatibility")),
        ("an image", len(raw) // 2),
    ):
        raw[at] ^= 1
        broken = build / "changed.swu"
        broken.write_bytes(raw)
        raw[at] ^= 1
        if _accepted(broken, authority):
            raise CheckError(f"SWUpdate accepts an update with a byte of {what} changed")
        print(f"       one byte of {what} changed: refused")
        broken.unlink()
    print(f"       sha256 {hashlib.sha256(raw).hexdigest()}")


def _accepted(update: Path, authority: Path) -> bool:
    command = (
        "swupdate",
        "-c",
        "-i",
        update,
        "-k",
        authority,
        "--cert-purpose",
        "codeSigning",
    )
    command += ("-H", "grid-dcu:1.0", "-e", "stable,b")
    with tempfile.TemporaryDirectory(prefix="swu-") as scratch:  # its sockets are there, too: a short path
        environment = {**os.environ, "TMPDIR": scratch}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.returncode == 0
