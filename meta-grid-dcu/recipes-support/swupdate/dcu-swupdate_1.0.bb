SUMMARY = "SWUpdate's configuration on a data concentrator unit"
DESCRIPTION = "Whom updates must be signed by, which board this is, when an update is taken."
SECTION = "swupdate"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

FILESEXTRAPATHS:prepend := "${THISDIR}/files:"
SRC_URI = "\
    file://hwrevision \
    file://swupdate.cfg \
    file://update-allowed \
"
S = "${UNPACKDIR}"

PACKAGE_ARCH = "${MACHINE_ARCH}"

do_install[file-checksums] += "${DCU_UPDATE_CA}:False"
do_install() {
    install -D -m 0644 ${UNPACKDIR}/hwrevision ${UNPACKDIR}/swupdate.cfg -t ${D}${sysconfdir}
    install -D -m 0755 ${UNPACKDIR}/update-allowed -t ${D}${nonarch_libdir}/dcu
    test -r "${DCU_UPDATE_CA}" || bbfatal "DCU_UPDATE_CA, the authority of updates, is not there: ${DCU_UPDATE_CA}; docs/yocto.md tells about keys"
    install -D -m 0644 "${DCU_UPDATE_CA}" ${D}${datadir}/dcu/update-ca.crt
}

FILES:${PN} += "${nonarch_libdir}/dcu ${datadir}/dcu"
