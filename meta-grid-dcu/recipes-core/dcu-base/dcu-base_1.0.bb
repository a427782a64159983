SUMMARY = "Mounts, packet filter and system settings of a data concentrator unit"
DESCRIPTION = "persist and data with their checks, /etc laid over from persist, /var in RAM; sysctl, journal, watchdog, nftables."
SECTION = "base"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

SRC_URI = "\
    file://10-dcu-coredump.conf \
    file://10-dcu-journald.conf \
    file://10-dcu-watchdog.conf \
    file://90-dcu-sysctl.conf \
    file://check-disk \
    file://dcu-check@.service \
    file://dcu-persist-tree.service \
    file://dcu-persist.conf \
    file://dev-ssh.nft \
    file://dev-sshd.conf \
    file://etc-machine\x2did.mount \
    file://etc.mount \
    file://nftables.conf \
    file://persist.mount \
    file://var-lib-dcu.mount \
    file://var.mount \
"
S = "${UNPACKDIR}"

inherit systemd

SYSTEMD_SERVICE:${PN} = "\
    etc-machine\x2did.mount \
    etc.mount \
    persist.mount \
    var-lib-dcu.mount \
    var.mount \
"

do_install() {
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${UNPACKDIR}/*.mount ${UNPACKDIR}/*.service ${D}${systemd_system_unitdir}/

    install -D -m 0644 ${UNPACKDIR}/10-dcu-coredump.conf -t ${D}${systemd_unitdir}/coredump.conf.d
    install -D -m 0644 ${UNPACKDIR}/10-dcu-journald.conf -t ${D}${systemd_unitdir}/journald.conf.d
    install -D -m 0644 ${UNPACKDIR}/10-dcu-watchdog.conf -t ${D}${systemd_unitdir}/system.conf.d
    install -D -m 0644 ${UNPACKDIR}/90-dcu-sysctl.conf ${D}${nonarch_libdir}/sysctl.d/90-dcu.conf
    install -D -m 0644 ${UNPACKDIR}/dcu-persist.conf -t ${D}${nonarch_libdir}/dcu
    install -D -m 0755 ${UNPACKDIR}/check-disk -t ${D}${nonarch_libdir}/dcu
    install -D -m 0644 ${UNPACKDIR}/nftables.conf -t ${D}${sysconfdir}
    install -d ${D}${sysconfdir}/nftables.d ${D}${sysconfdir}/dcu ${D}/persist

    install -D -m 0644 ${UNPACKDIR}/dev-ssh.nft -t ${D}${sysconfdir}/nftables.d
    install -D -m 0644 ${UNPACKDIR}/dev-sshd.conf -t ${D}${sysconfdir}/ssh/sshd_config.d
}

PACKAGES =+ "${PN}-dev-access"
FILES:${PN}-dev-access = "\
    ${sysconfdir}/nftables.d/dev-ssh.nft \
    ${sysconfdir}/ssh \
"
FILES:${PN} += "\
    /persist \
    ${nonarch_libdir}/sysctl.d \
    ${systemd_system_unitdir} \
    ${systemd_unitdir} \
"

RDEPENDS:${PN} = "\
    e2fsprogs-e2fsck \
    e2fsprogs-mke2fs \
    nftables \
"
