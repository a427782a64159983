SUMMARY = "Device tree of a DCU"
DESCRIPTION = "The board's own source; for QEMU, the tree of its machine with the bench's additions."
LICENSE = "GPL-2.0-only | BSD-2-Clause"
LIC_FILES_CHKSUM = "\
    file://${COMMON_LICENSE_DIR}/GPL-2.0-only;md5=801f80980d171dd6425610833a22dbe6 \
    file://${COMMON_LICENSE_DIR}/BSD-2-Clause;md5=cb641bc04cda31daea161b1bc15da69f \
"

DEPENDS:append:dcu-qemuarm64 = " qemu-system-native"

inherit devicetree

COMPATIBLE_MACHINE = "^(dcu-qemuarm64|dcu-am335x)$"

SRC_URI:dcu-am335x = "file://dcu-am335x.dts"

FILESEXTRAPATHS:prepend:dcu-qemuarm64 := "${THISDIR}/../../recipes-kernel/linux/files:"
SRC_URI:dcu-qemuarm64 = "file://dcu-qemu.dtsi"
DT_FILES:dcu-qemuarm64 = "dcu-qemuarm64.dts"
# It includes nothing of the kernel's
KERNEL_INCLUDE:dcu-qemuarm64 = ""

# QEMU describes its machine itself. Its seeds would be the same in every boot: out
python do_compile:prepend:dcu-qemuarm64() {
    import subprocess
    from pathlib import Path

    source, blob = Path(d.getVar("S")), Path(d.getVar("B"), "qemu.dtb")
    machine = d.getVar("DCU_QEMU_MACHINE").replace("acpi=off", f"acpi=off,dumpdtb={blob}").split()
    subprocess.run(["qemu-system-aarch64", *machine, "-bios", "/dev/null", "-display", "none", "-nodefaults"], check=True)
    text = subprocess.run(["dtc", "-q", "-I", "dtb", "-O", "dts", str(blob)], check=True, capture_output=True, text=True).stdout
    lines = [line for line in text.splitlines() if not line.strip().startswith(("rng-seed =", "kaslr-seed ="))]
    (source / "dcu-qemuarm64.dts").write_text("\n".join(lines) + "\n" + (source / "dcu-qemu.dtsi").read_text())
    blob.unlink()
}
DCU_QEMU_MACHINE[doc] = "QEMU's arguments for the machine, as the device bench starts it."
