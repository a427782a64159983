"""The checks catch what they are for: each breaks one thing on purpose."""

import re
import shutil
from pathlib import Path

import pytest
from device.paths import ROOT

from layers import fragments, kconfig, payload, rules, stdlib, text, upstream
from layers.workspace import CheckError

RECIPE = """SUMMARY = "x"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://LICENSE;md5=00000000000000000000000000000000"
SRC_URI = "https://example.invalid/x-${PV}.tar.gz"
SRC_URI[sha256sum] = "00"
"""


@pytest.fixture
def recipe(tmp_path):
    def make(text_of_it=RECIPE, name="x_1.0.bb"):
        path = tmp_path / name
        path.write_text(text_of_it)
        return text.read(path)

    return make


def test_a_whole_recipe_has_no_fault(recipe):
    assert not list(rules._of_recipe(recipe()))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('SRC_URI[sha256sum] = "00"\n', "", "no sha256sum"),
        (";md5=00000000000000000000000000000000", "", "without a checksum"),
        ('LICENSE = "MIT"\n', "", "no LICENSE"),
        ("https://example.invalid/x-${PV}.tar.gz", "git://example.invalid/x;branch=main", "SRCREV is no full commit"),
        ("https://example.invalid/x-${PV}.tar.gz", "file://nowhere", "no such file"),
    ],
)
def test_a_recipe_that_lacks_something_is_told_what(recipe, old, new, fault):
    assert old in RECIPE
    assert any(fault in each for each in rules._of_recipe(recipe(RECIPE.replace(old, new))))


def test_a_short_commit_is_no_commit(recipe):
    short = RECIPE.replace("https://example.invalid/x-${PV}.tar.gz", "git://x.invalid/x") + 'SRCREV = "abc123"\n'
    full = short.replace("abc123", "a" * 40)
    assert list(rules._of_recipe(recipe(short)))
    assert not list(rules._of_recipe(recipe(full)))


def test_continued_lines_are_one_and_comments_are_none():
    lines = list(text.logical_lines('# A = "x" \\\nB = "\\\n    one \\\n    two \\\n"\n'))
    assert [" ".join(line.split()) for line in lines] == ['B = " one two "']


def test_the_manifest_notices_a_mode_an_owner_a_digest_and_a_file_that_is_gone():
    entries = payload.read()
    assert not list(payload.faults(entries))
    name = "/usr/lib/systemd/system/dcu-collector.service"
    entry = entries[name]
    for changed in (
        payload.Entry("755", entry.owner, entry.digest, name),
        payload.Entry(entry.mode, "1000:1000", entry.digest, name),
        payload.Entry(entry.mode, entry.owner, "0" * 64, name),
    ):
        assert any(name in fault for fault in payload.faults({**entries, name: changed})), changed
    assert any(name in fault for fault in payload.faults({k: v for k, v in entries.items() if k != name}))
    extra = payload.Entry("644", "root:root", "0" * 64, "/etc/extra")
    assert any("/etc/extra" in fault for fault in payload.faults({**entries, "/etc/extra": extra}))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("machine: dcu-qemuarm64", "machine: nothing", "has no configuration"),
        ("machine: dcu-qemuarm64", "machin: dcu-qemuarm64", "validating"),
        ("machine: dcu-qemuarm64", "machine: dcu-qemuarm64\ntarget: [nothing]", "no recipe of ours"),
        ("machine: dcu-qemuarm64", "machine: dcu-qemuarm64\nrepos: {x: {url: https://x.invalid/x}}", "no full commit"),
    ],
)
def test_a_fragment_that_leads_nowhere_is_found(tmp_path, monkeypatch, old, new, fault):
    copy = tmp_path / "kas"
    copy.mkdir()
    source = (fragments.FRAGMENTS / "board-qemuarm64.yml").read_text()
    (copy / "board-qemuarm64.yml").write_text(source.replace(old, new))
    monkeypatch.setattr(fragments, "FRAGMENTS", copy)
    assert any(fault in each for each in fragments.faults())


def test_two_fragments_with_one_header_are_found(tmp_path, monkeypatch):
    copy = Path(shutil.copytree(fragments.FRAGMENTS, tmp_path / "kas"))
    (copy / "again.yml").write_text("header: {version: 19}\nlocal_conf_header: {dev: ''}\n")
    monkeypatch.setattr(fragments, "FRAGMENTS", copy)
    assert any("dev" in each for each in fragments._shared_headers())


def test_a_module_of_pythons_that_no_package_brings_is_found():
    packages = {
        "core": {"files": ["${libdir}/python${PYTHON_MAJMIN}/os.py"]},
        "io": {"files": [], "rdepends": ["core"]},
    }
    packages["sqlite3"] = {"files": ["${libdir}/python${PYTHON_MAJMIN}/sqlite3/*.py"], "rdepends": ["io"]}
    assert stdlib._package("sqlite3", packages) == "sqlite3"
    assert stdlib._package("os", packages) == "core"
    assert stdlib._with_dependencies({"sqlite3"}, packages) == {"sqlite3", "io", "core"}


def test_a_machine_has_its_own_fragments_and_not_the_others():
    taken = {
        machine: kconfig.value_for(kconfig.KERNEL_RECIPE, "SRC_URI", machine)
        for machine in ("dcu-am335x", "dcu-qemuarm64")
    }
    assert all("file://dcu.cfg" in each for each in taken.values())
    assert "dcu-qemu.cfg" not in taken["dcu-am335x"]
    assert "dcu-am335x.cfg" in taken["dcu-am335x"]
    assert kconfig.value_for(kconfig.KERNEL_RECIPE, "DCU_KCONFIG_ABSENT", "dcu-am335x").startswith("64BIT ")


@pytest.mark.parametrize(
    ("option", "known"),
    [
        ("CONFIG_COMMON=y", True),
        ("CONFIG_GONE=y", False),
        ("CONFIG_OTHERS=y", False),
        ("# CONFIG_OTHERS is not set", True),
        ("# CONFIG_GONE is not set", False),
    ],
)
def test_an_option_that_the_kernel_does_not_know_is_found(tmp_path, option, known):
    (tmp_path / "arch" / "arm").mkdir(parents=True)
    (tmp_path / "arch" / "other").mkdir()
    (tmp_path / "Kconfig").write_text("config COMMON\n\tbool\n")
    (tmp_path / "arch" / "arm" / "Kconfig").write_text("menuconfig OWN\n")
    (tmp_path / "arch" / "other" / "Kconfig").write_text("config OTHERS\n")
    options = f"CONFIG_OWN=y\n{option}\n"
    if known:
        kconfig._known(options, tmp_path, "arm")
    else:
        with pytest.raises(CheckError, match=r"GONE|OTHERS"):
            kconfig._known(options, tmp_path, "arm")


def test_sources_of_another_version_are_refused(tmp_path):
    (tmp_path / "Makefile").write_text("VERSION = 6\nPATCHLEVEL = 18\nSUBLEVEL = 9\n")
    assert kconfig._version(tmp_path, "6.18%") == "6.18.9"
    for wanted in ("6.1%", "6.12%"):
        with pytest.raises(CheckError, match=r"6\.18\.9"):
            kconfig._version(tmp_path, wanted)


def test_a_variable_that_the_glossary_does_not_tell_of_is_found():
    page = (ROOT / "docs" / "yocto.md").read_text()
    assert not list(rules._glossary(page))
    assert any("DCU_VERSION_BARRIER " in each for each in rules._glossary(page.replace("`DCU_VERSION_BARRIER`", "")))


def test_the_narrow_world_is_what_the_target_needs():
    foreign = ["python3-native", "gcc-cross-aarch64", "binutils-crosssdk-x86_64-sdk", "nativesdk-gcc"]
    assert upstream.for_the_target(["u-boot", "python3", *foreign, "glibc"]) == ["glibc", "python3", "u-boot"]
    written = upstream.narrowed(["glibc", "u-boot"])
    assert 'DCU_WORLD = "glibc u-boot"' in written
    found = re.search(r'layer-core = "\$\{@(.*)\}"', written)
    values = {"DCU_WORLD": "glibc u-boot"}
    for name, kept in (("u-boot", ""), ("u-boot-tools", "1")):
        getter = type("Data", (), {"getVar": lambda self, key, name=name: {**values, "PN": name}[key]})()
        assert eval(found[1], {"d": getter}) == kept  # noqa: S307  (as BitBake does)


def test_every_recipe_of_the_repository_is_seen():
    found = {recipe.path for recipe in text.recipes()}
    assert found == {path for layer in text.LAYERS for path in layer.rglob("*.bb")}
    assert all(path.is_relative_to(ROOT) for path in found)
