SUMMARY = "CRCs of any width, by carry-less multiplication or by tables"
HOMEPAGE = "https://github.com/marzooqy/anycrc"
LICENSE = "Zlib & BSD-3-Clause"
LIC_FILES_CHKSUM = "\
    file://LICENSE;md5=3ca4755bcac029d77a0f378b18889c21 \
    file://lib/crc-clmul/LICENSE;md5=df8701ba9e75b1e87e277efe9b23c2a6 \
    file://lib/crc-clmul/ATTRIBUTION;md5=0a18eea4e1913be3c4c002e36d20e5d7 \
"

SRC_URI[sha256sum] = "a907e9cf6767f6116621a85822e9c6b598cd24b01ca99302698d1d55b566427f"

inherit pypi python_setuptools_build_meta cython siteinfo

# Its setup.py asks the machine that builds, not the one that it builds for
CFLAGS += "${@bb.utils.contains('SITEINFO_BITS', '32', '-DDISABLE_SIMD', '', d)}"

RDEPENDS:${PN} = "python3-core"

BBCLASSEXTEND = "native nativesdk"
