SUMMARY = "The update: both images of a bank, described for this board, signed"
DESCRIPTION = "A .swu; its description is the template that the device bench packs with, too."
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

FILESEXTRAPATHS:prepend := "${THISDIR}/../../recipes-support/swupdate/files:"
SRC_URI = "\
    file://dcu-flush.sh \
    file://sw-description.in \
"

inherit swupdate

SWUPDATE_SRC_URI_EXCLUDE = "sw-description.in"
IMAGE_DEPENDS = "dcu-bank"
SWUPDATE_IMAGES = "${DCU_KERNEL} ${DCU_ROOTFS}"

SWUPDATE_SIGNING = "CMS"
SWUPDATE_CMS_KEY = "${DCU_UPDATE_KEY}"
SWUPDATE_CMS_CERT = "${DCU_UPDATE_CERT}"
SWUPDATE_CMS_MD = "sha256"

# What the template asks for
DCU_KERNEL = "kernel-${MACHINE}.fit"
DCU_ROOTFS = "rootfs-${MACHINE}.img"
DCU_HARDWARE = "${@', '.join('"%s"' % each for each in d.getVar('DCU_REVISIONS').split())}"
# Whole images; a delta of the same files is made by `python -m ota pack --delta-url` (docs/updates.md)
DCU_TYPE = "raw"
DCU_KERNEL_CHUNKS = ""
DCU_ROOTFS_CHUNKS = ""
DCU_KERNEL_ENCRYPTED = ""
DCU_KERNEL_VECTOR = ""
DCU_ROOTFS_ENCRYPTED = ""
DCU_ROOTFS_VECTOR = ""

do_unpack[postfuncs] += "dcu_description"
dcu_description() {
    cp ${UNPACKDIR}/sw-description.in ${UNPACKDIR}/sw-description
}

do_swuimage[vardeps] += "\
    DCU_BOARD DCU_HARDWARE DCU_KERNEL DCU_KERNEL_CHUNKS DCU_KERNEL_ENCRYPTED DCU_KERNEL_VECTOR \
    DCU_ROOTFS DCU_ROOTFS_CHUNKS DCU_ROOTFS_ENCRYPTED DCU_ROOTFS_VECTOR DCU_TYPE DCU_VERSION \
"
do_swuimage[file-checksums] += "${DCU_UPDATE_CERT}:False"

python __anonymous() {
    if not d.getVar("DCU_VERSION"):
        raise bb.parse.SkipRecipe("it needs the distribution grid-dcu, or its include files")

    def numbers(name):
        text = d.getVar(name)
        parts = text.split(".")
        if not 1 <= len(parts) <= 4 or not all(part.isdecimal() and int(part) < 65536 for part in parts):
            bb.fatal(f"{name} is {text!r}: up to four numbers below 65536, with dots between them")
        return [int(part) for part in parts] + [0] * (4 - len(parts))

    if numbers("DCU_VERSION") < numbers("DCU_VERSION_BARRIER"):
        bb.fatal(f"version {d.getVar('DCU_VERSION')} is older than the barrier {d.getVar('DCU_VERSION_BARRIER')}: "
                 "to go back on purpose, release the old software again under a higher version")
}
