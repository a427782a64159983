"""The module builds for every kernel without a warning, and the checks that say so would have found one."""

import shutil
from pathlib import Path

import pytest

from device.lastgasp import build
from device.lastgasp.kernels import Kernel, wanted
from device.paths import MODULE_FILES

Modules = dict[str, dict[str, build.Module]]

CAPACITOR = (
    "grid-dcu,capacitance-microfarad = <10000000>; grid-dcu,charged-microvolt = <5000000>;"
    " grid-dcu,minimum-microvolt = <3000000>;"
)


def test_every_generation_is_there(every_kernel: list[Kernel]) -> None:
    missing = [begin for begin in wanted() if not any(each.release.startswith(begin) for each in every_kernel)]
    assert missing == []


def test_it_builds_for_every_kernel_without_a_warning(modules: Modules) -> None:
    found = {(release, flavour): made.findings for release, some in modules.items() for flavour, made in some.items()}
    assert len(found) >= 3 * len(wanted())
    assert not any(found.values()), found


def test_sparse_has_read_it_for_every_kernel(modules: Modules) -> None:
    unread = [release for release, some in modules.items() if not all(each.sparse for each in some.values())]
    if unread:
        pytest.skip(f"no sparse at hand understands the headers of {', '.join(unread)}")


def test_style_and_documentation_are_clean(judges: Path) -> None:
    assert build.style(judges) == []


def test_the_binding_and_its_examples_are_valid(judges: Path) -> None:
    assert build.binding(judges) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        pytest.param(CAPACITOR, "load", id="a capacitor without its load"),
        pytest.param("", "hold-up", id="no hold-up time at all"),
        pytest.param(
            f"grid-dcu,hold-up-ms = <900>; grid-dcu,load-microwatt = <4>; {CAPACITOR}",
            "valid under each",
            id="both ways",
        ),
        pytest.param("grid-dcu,hold-up-ms = <900>; grid-dcu,holdup-ms = <900>;", "holdup", id="a misspelt property"),
        pytest.param("grid-dcu,hold-up-ms = <600001>;", "maximum", id="more than ten minutes"),
    ],
)
def test_the_binding_refuses(judges: Path, text: str, wrong: str) -> None:
    node = f'power-fail {{ compatible = "grid-dcu,last-gasp"; power-fail-gpios = <&gpio1 17 1>; {text} }};'
    assert wrong in "\n".join(build.node(judges, node))


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        pytest.param("bool failing, quiet;", "bool failing, quiet; int idle;", "idle", id="the compiler"),
        pytest.param("copy_to_user(buf,", "copy_to_user((void *)buf,", "address space", id="sparse"),
    ],
)
def test_canary_a_planted_warning_is_found(
    every_kernel: list[Kernel], tmp_path: Path, old: str, new: str, finding: str
) -> None:
    files = planted(tmp_path, old, new)
    for kernel in every_kernel:
        module = build.module(kernel, "arm64", files)
        if module.sparse or finding == "idle":
            assert finding in "\n".join(module.findings), kernel.release


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        pytest.param("	if (expired)\n", "	if( expired )\n", "space", id="checkpatch"),
        pytest.param(" * @margin_ns:", " * @margin:", "margin", id="kernel-doc"),
    ],
)
def test_canary_a_planted_fault_of_style_is_found(
    judges: Path, tmp_path: Path, old: str, new: str, finding: str
) -> None:
    assert finding in "\n".join(build.style(judges, planted(tmp_path, old, new)))


def planted(place: Path, old: str, new: str) -> Path:
    files = place / "files"
    shutil.copytree(MODULE_FILES, files)
    (path,) = (path for path in files.glob("*.[ch]") if old in path.read_text())
    path.write_text(path.read_text().replace(old, new))
    return files
