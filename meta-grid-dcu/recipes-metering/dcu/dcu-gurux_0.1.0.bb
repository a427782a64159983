SUMMARY = "Confined worker around gurux-dlms"
DESCRIPTION = "A program of its own, because gurux-dlms is GPL-2.0-only: translates authenticated COSEM data, decides nothing."
LICENSE = "GPL-2.0-only"
LIC_FILES_CHKSUM = "file://COPYING;md5=b234ee4d69f5fce4486a80fdaf4a4263"

require dcu-source.inc

SRC_URI = "file://app/dcu_gurux"
S = "${UNPACKDIR}/app/dcu_gurux"

inherit python_setuptools_build_meta

RDEPENDS:${PN} = "\
    python3-ctypes \
    python3-gurux-dlms \
    python3-io \
    python3-json \
    python3-mmap \
    python3-resource \
"
