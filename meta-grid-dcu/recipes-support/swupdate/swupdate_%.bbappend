FILESEXTRAPATHS:prepend:grid-dcu := "${THISDIR}/files:"

SRC_URI:append:grid-dcu = " file://dcu-swupdate.cfg"

# The application starts it; nothing listens by itself
SYSTEMD_AUTO_ENABLE:${PN}:grid-dcu = "disable"
SYSTEMD_AUTO_ENABLE:${PN}-progress:grid-dcu = "disable"
SYSTEMD_AUTO_ENABLE:${PN}-usb:grid-dcu = "disable"
