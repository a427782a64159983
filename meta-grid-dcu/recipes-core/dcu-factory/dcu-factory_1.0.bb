SUMMARY = "Writes and locks the medium of a new device, then hands over to key provisioning"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "\
    file://dcu-factory \
    file://dcu-factory.service \
    file://media.mount \
"
S = "${UNPACKDIR}"

inherit systemd

PACKAGE_ARCH = "${MACHINE_ARCH}"

SYSTEMD_SERVICE:${PN} = "dcu-factory.service"

# What is written, and where the images to write are
DCU_FACTORY_DISK ?= "/dev/mmcblk1"
DCU_FACTORY_DISK:dcu-qemuarm64 = "/dev/vdb"
DCU_FACTORY_DISK[doc] = "Block device that the factory's image makes a device's medium of."
DCU_FACTORY_MEDIA ?= "/dev/mmcblk0p6"
DCU_FACTORY_MEDIA:dcu-qemuarm64 = "/dev/vda6"
DCU_FACTORY_MEDIA[doc] = "Partition of the factory's own medium with the device's disk image."

do_install() {
    install -D -m 0755 ${UNPACKDIR}/dcu-factory -t ${D}${bindir}
    install -D -m 0644 ${UNPACKDIR}/dcu-factory.service ${UNPACKDIR}/media.mount -t ${D}${systemd_system_unitdir}
    sed -i 's|@DISK@|${DCU_FACTORY_DISK}|' ${D}${bindir}/dcu-factory
    sed -i 's|@MEDIA@|${DCU_FACTORY_MEDIA}|' ${D}${systemd_system_unitdir}/media.mount
}

FILES:${PN} += "${systemd_system_unitdir}"
RDEPENDS:${PN} = "packagegroup-dcu-factory"
