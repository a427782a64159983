SUMMARY = "Power-fail line of a supercapacitor to an event with a deadline"
LICENSE = "GPL-2.0-only"
LIC_FILES_CHKSUM = "file://COPYING;md5=b234ee4d69f5fce4486a80fdaf4a4263"

SRC_URI = "\
    file://COPYING \
    file://Kbuild \
    file://Makefile \
    file://chardev.c \
    file://compat.h \
    file://core.c \
    file://core.h \
    file://lastgasp.h \
    file://sysfs.c \
    file://tree.c \
    file://60-lastgasp.rules \
"
S = "${UNPACKDIR}"

inherit module

do_install:append() {
    install -D -m 0644 ${UNPACKDIR}/60-lastgasp.rules ${D}${nonarch_base_libdir}/udev/rules.d/60-lastgasp.rules
}

FILES:${PN} += "${nonarch_base_libdir}/udev/rules.d"
RPROVIDES:${PN} += "kernel-module-lastgasp"
