SUMMARY = "What a bank holds: the root with its verity tree, the signed FIT"
DESCRIPTION = "Kernel, device tree and command line, the root hash above all, are inside what the signature covers."
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

INHIBIT_DEFAULT_DEPS = "1"
DEPENDS = "dtc-native u-boot-tools-native virtual/dtb"

SRC_URI = "\
    file://cmdline.in \
    file://kernel.its.in \
"
S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

inherit deploy kernel-arch nopackages uboot-config

PACKAGE_ARCH = "${MACHINE_ARCH}"
EXCLUDE_FROM_WORLD = "1"

DCU_ROOT = "${DEPLOY_DIR_IMAGE}/${DCU_IMAGE}-${MACHINE}.rootfs.squashfs-zst"
DCU_TREE ?= "${RECIPE_SYSROOT}/boot/devicetree/${MACHINE}.dtb"
DCU_CONSOLE[doc] = "The kernel's console, a word of its command line."
DCU_FIT_ARCH[doc] = "Architecture as mkimage names it."

do_configure[noexec] = "1"
do_compile[cleandirs] = "${B}"
do_compile[depends] += "${DCU_IMAGE}:do_image_complete virtual/kernel:do_deploy"
do_compile[file-checksums] += "${DCU_FIT_KEYDIR}/${DCU_FIT_KEYNAME}.crt:False"
python do_compile() {
    import shutil
    import subprocess
    from pathlib import Path

    home, deployed = Path(d.getVar("B")), Path(d.getVar("DEPLOY_DIR_IMAGE"))
    key = Path(d.getVar("DCU_FIT_KEYDIR"), d.getVar("DCU_FIT_KEYNAME"))
    for name in (f"{key}.key", f"{key}.crt"):
        if not Path(name).is_file():
            bb.fatal(f"{name} is not there: FIT images are signed with it (docs/yocto.md, Keys)")
    values = dcu_verity(Path(d.getVar("DCU_ROOT") + ".verity-params"))
    values["CONSOLE"] = d.getVar("DCU_CONSOLE")
    line = Path(d.getVar("S"), "cmdline.in").read_text()
    for slot in "ab":
        tree = home / f"{slot}.dtb"
        shutil.copyfile(d.getVar("DCU_TREE"), tree)
        words = " ".join(dcu_fill(line, {**values, "SLOT": slot}).split("\n")).strip()
        subprocess.run(["fdtput", "-p", "-t", "s", str(tree), "/chosen", "bootargs", words], check=True)
    its = dcu_fill(Path(d.getVar("S"), "kernel.its.in").read_text(), {
        "IMAGE": str(deployed / "linux.bin"),
        "COMPRESSION": (deployed / "linux_comp").read_text().strip(),
        "ARCH": d.getVar("DCU_FIT_ARCH"),
        "LOAD": d.getVar("UBOOT_LOADADDRESS"),
        "TREE_A": str(home / "a.dtb"),
        "TREE_B": str(home / "b.dtb"),
        "ALGORITHM": d.getVar("DCU_FIT_ALGORITHM"),
        "KEY": key.name,
    })
    (home / "kernel.its").write_text(its)
    command = [d.getVar("UBOOT_MKIMAGE_SIGN"), "-f", "kernel.its", "-k", str(key.parent), "-r", "kernel.fit"]
    subprocess.run(command, check=True, cwd=home)
    limit = int(d.getVar("DCU_KERNEL_SIZE")) << 20
    if (home / "kernel.fit").stat().st_size > limit:
        bb.fatal(f"kernel.fit does not fit into kernel_a: at most {limit} bytes (DCU_KERNEL_SIZE)")
}

def dcu_verity(path):
    """The verity tree's parameters as image_types_verity.bbclass writes them, by the names of cmdline.in."""
    found = dict(line.split("=", 1) for line in path.read_text().splitlines() if line)
    if found["VERITY_DATA_BLOCK_SIZE"] != "4096" or found["VERITY_HASH_BLOCK_SIZE"] != "4096":
        bb.fatal(f"{path}: cmdline.in is written for blocks of 4096 bytes")
    return {
        "SECTORS": found["VERITY_DATA_SECTORS"],
        "BLOCKS": found["VERITY_DATA_BLOCKS"],
        "ROOT_HASH": found["VERITY_ROOT_HASH"],
        "SALT": found["VERITY_SALT"],
    }

def dcu_fill(text, values):
    import re
    return re.sub(r"@([A-Z_]+)@", lambda found: values[found[1]], text)

do_install[noexec] = "1"

do_deploy() {
    install -m 0644 ${B}/kernel.fit ${DEPLOYDIR}/kernel-${MACHINE}.fit
    install -m 0644 ${DCU_ROOT}.verity ${DEPLOYDIR}/rootfs-${MACHINE}.img
    test $(stat -c %s ${DEPLOYDIR}/rootfs-${MACHINE}.img) -le $(expr ${DCU_ROOTFS_SIZE} \* 1048576) || \
        bbfatal "the root does not fit into rootfs_a: at most ${DCU_ROOTFS_SIZE} MiB (DCU_ROOTFS_SIZE)"
}
addtask deploy after do_compile before do_build
