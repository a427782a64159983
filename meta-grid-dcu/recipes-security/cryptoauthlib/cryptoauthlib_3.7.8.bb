SUMMARY = "Microchip's CryptoAuthLib: an ATECC608 behind PKCS#11"
HOMEPAGE = "https://github.com/MicrochipTech/cryptoauthlib"
# Use with Microchip's parts only: docs/yocto.md, "Licences"
LICENSE = "Microchip-cryptoauthlib"
NO_GENERIC_LICENSE[Microchip-cryptoauthlib] = "license.txt"
LICENSE_FLAGS = "microchip_cryptoauthlib"
LIC_FILES_CHKSUM = "file://license.txt;md5=a8c976d0e5ede3a6b86315f5fd6015be"

DEPENDS = "openssl"

# Not the Python package's source: it lacks pkcs11.cmake and pkcs11_config.h.in
SRC_URI = "\
    git://github.com/MicrochipTech/cryptoauthlib.git;protocol=https;branch=main;tag=v${PV} \
    file://0.conf \
"
SRCREV = "a7bbe3a2d6851dea2ae624b598a823c0fb70d48c"

inherit cmake

EXTRA_OECMAKE = "\
    -DATCA_ATECC608_SUPPORT=ON \
    -DATCA_HAL_I2C=ON \
    -DATCA_OPENSSL=ON \
    -DATCA_PKCS11=ON \
    -DATCA_TFLEX_SUPPORT=ON \
    -DATCA_TNGTLS_SUPPORT=ON \
    -DDEFAULT_CONF_PATH=${sysconfdir}/cryptoauthlib \
    -DDEFAULT_INC_PATH=${includedir}/cryptoauthlib \
    -DDEFAULT_LIB_PATH=${libdir} \
    -DDEFAULT_STORE_PATH=${sysconfdir}/cryptoauthlib/slots \
"

do_install:append() {
    install -D -m 0644 ${UNPACKDIR}/0.conf -t ${D}${sysconfdir}/cryptoauthlib/slots
    rm -rf ${D}${sysconfdir}/cryptoauthlib/slots/slot.conf.tmpl
}

# The PKCS#11 module is ${libdir}/libcryptoauth.so.3
FILES:${PN} += "${sysconfdir}/cryptoauthlib"
