SUMMARY = "DLMS/COSEM library of Gurux"
DESCRIPTION = "Used by dcu-gurux alone: whatever imports it is under the GPL."
HOMEPAGE = "https://www.gurux.fi"
LICENSE = "GPL-2.0-only"
LIC_FILES_CHKSUM = "file://LICENSE;md5=93fff0e526a2978a9b8383625f471b4c"

SRC_URI[sha256sum] = "cb5326941c6ce2b1871b91514badc133bce559ad6083b7f87b4cd0ce78181b83"

inherit pypi setuptools3

PYPI_PACKAGE = "gurux_dlms"

# Its optional parts (serial port, sockets, ciphers of its own) are what the worker may not do
RDEPENDS:${PN} = "\
    python3-core \
    python3-datetime \
    python3-xml \
"
