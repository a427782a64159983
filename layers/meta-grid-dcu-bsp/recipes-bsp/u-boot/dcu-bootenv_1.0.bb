SUMMARY = "Where U-Boot's environment is on this board"
SECTION = "bootloaders"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

FILESEXTRAPATHS:prepend := "${THISDIR}/files:"
SRC_URI = "file://fw_env.config"
SRC_URI:append:dcu-am335x = " file://70-dcu-boot0.rules"
S = "${UNPACKDIR}"

PACKAGE_ARCH = "${MACHINE_ARCH}"

do_install() {
    install -D -m 0644 ${UNPACKDIR}/fw_env.config -t ${D}${sysconfdir}
}
do_install:append:dcu-am335x() {
    install -D -m 0644 ${UNPACKDIR}/70-dcu-boot0.rules -t ${D}${nonarch_base_libdir}/udev/rules.d
}

FILES:${PN} += "${nonarch_base_libdir}/udev"
RPROVIDES:${PN} = "u-boot-default-env"
RCONFLICTS:${PN} = "u-boot-env"
