SUMMARY = "Metering application of a data concentrator unit"
DESCRIPTION = "Reads DLMS/COSEM meters over G3-PLC, Wi-SUN and RS-485, keeps what it read, hands it to the head end."
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://../LICENSE;md5=5c39fecb7987e552d73b340138f61d4f"

require dcu-source.inc

SRC_URI = "\
    file://LICENSE \
    file://app/dcu \
    file://app/pyproject.toml \
    file://docs/collector.toml \
    file://docs/gateway.toml \
    file://10-hardened.conf \
    file://60-dcu-lines.rules \
    file://collector-failed \
    file://collector.toml \
    file://dcu-collector-failed.service \
    file://dcu-collector.service \
    file://dcu-confirm.service \
    file://dcu-gateway.service \
    file://dcu-gurux.socket \
    file://dcu-gurux@.service \
    file://dcu-hawkbit.service \
    file://dcu-health.service \
    file://dcu-health.timer \
    file://dcu-provision.service \
    file://dcu-sysusers.conf \
    file://dcu-tmpfiles.conf \
    file://dcu-trial-deadline.service \
    file://dcu-trial-deadline.timer \
    file://on-trial \
"
S = "${UNPACKDIR}/app"

inherit python_setuptools_build_meta systemd useradd

# The same ids in every image: files on persist outlive it (conf/distro/files/)
USERADD_PACKAGES = "${PN}"
USERADD_PARAM:${PN} = "\
    --system --user-group --no-create-home --home-dir ${localstatedir}/lib/dcu --shell ${base_sbindir}/nologin dcu; \
    --system --user-group --no-create-home --home-dir / --shell ${base_sbindir}/nologin dcu-gurux; \
    --system --user-group --no-create-home --home-dir / --shell ${base_sbindir}/nologin dcu-web \
"

# A unit with an [Install] section, each; the others are started by these
SYSTEMD_SERVICE:${PN} = "\
    dcu-collector.service \
    dcu-confirm.service \
    dcu-gateway.service \
    dcu-gurux.socket \
    dcu-hawkbit.service \
    dcu-health.service \
    dcu-health.timer \
    dcu-provision.service \
    dcu-trial-deadline.timer \
"

do_install:append() {
    install -d ${D}${systemd_system_unitdir}
    install -m 0644 ${UNPACKDIR}/*.service ${UNPACKDIR}/*.socket ${UNPACKDIR}/*.timer ${D}${systemd_system_unitdir}/
    install -D -m 0644 ${UNPACKDIR}/10-hardened.conf -t ${D}${systemd_system_unitdir}/dcu-.service.d

    install -D -m 0644 ${UNPACKDIR}/dcu-sysusers.conf ${D}${nonarch_libdir}/sysusers.d/dcu.conf
    install -D -m 0644 ${UNPACKDIR}/dcu-tmpfiles.conf ${D}${nonarch_libdir}/tmpfiles.d/dcu.conf
    install -D -m 0644 ${UNPACKDIR}/60-dcu-lines.rules -t ${D}${nonarch_base_libdir}/udev/rules.d
    install -D -m 0755 ${UNPACKDIR}/on-trial ${UNPACKDIR}/collector-failed -t ${D}${nonarch_libdir}/dcu
    install -D -m 0644 ${UNPACKDIR}/collector.toml -t ${D}${datadir}/dcu
    install -D -m 0644 ${UNPACKDIR}/docs/collector.toml ${UNPACKDIR}/docs/gateway.toml -t ${D}${docdir}/dcu
}

FILES:${PN} += "\
    ${nonarch_base_libdir}/udev/rules.d \
    ${docdir}/dcu \
    ${nonarch_libdir}/sysusers.d \
    ${nonarch_libdir}/tmpfiles.d \
    ${systemd_system_unitdir} \
"

# Python's own modules: make layer-check compares them with what the sources import
RDEPENDS:${PN} = "\
    dcu-base \
    libubootenv-bin \
    python3-aiohttp \
    python3-anycrc \
    python3-asyncio \
    python3-click \
    python3-crypt \
    python3-cryptography \
    python3-ctypes \
    python3-datetime \
    python3-io \
    python3-json \
    python3-logging \
    python3-math \
    python3-msgspec \
    python3-netclient \
    python3-numbers \
    python3-pyserial \
    python3-resource \
    python3-rich \
    python3-sqlite3 \
    python3-zoneinfo \
    tzdata-core \
"
RRECOMMENDS:${PN} = "dcu-gurux"
