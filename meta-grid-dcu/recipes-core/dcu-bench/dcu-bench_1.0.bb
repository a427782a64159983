SUMMARY = "Root shell on a virtio port, for the device bench's scenarios"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

# The bench's own files, from where it has them
FILESEXTRAPATHS:prepend := "${DCU_REPOSITORY}/ci/device/guest:"
SRC_URI = "\
    file://70-bench.rules \
    file://80-bench.network \
    file://bench-shell.service \
    file://bench-street \
    file://serial-autologin.conf \
"
S = "${UNPACKDIR}"

COMPATIBLE_MACHINE = "dcu-qemuarm64"

do_install() {
    install -D -m 0644 ${UNPACKDIR}/70-bench.rules -t ${D}${nonarch_base_libdir}/udev/rules.d
    install -D -m 0644 ${UNPACKDIR}/80-bench.network -t ${D}${systemd_unitdir}/network
    install -D -m 0644 ${UNPACKDIR}/bench-shell.service -t ${D}${systemd_system_unitdir}
    install -D -m 0644 ${UNPACKDIR}/serial-autologin.conf -t ${D}${systemd_system_unitdir}/serial-getty@.service.d
    install -D -m 0755 ${UNPACKDIR}/bench-street -t ${D}${bindir}
}

FILES:${PN} += "\
    ${nonarch_base_libdir}/udev \
    ${systemd_system_unitdir} \
    ${systemd_unitdir} \
"
