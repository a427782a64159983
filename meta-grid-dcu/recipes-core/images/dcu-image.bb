SUMMARY = "Release image of a data concentrator unit"

require dcu-image.inc

DCU_RELEASE = "1"

# The GPL-3.0 asks that its user can replace the code, on a device that boots only what the utility signed
INCOMPATIBLE_LICENSE = "AGPL-3.0* GPL-3.0* LGPL-3.0*"

# Nobody logs in at the board's console
ROOTFS_POSTPROCESS_COMMAND += "dcu_no_login;"
dcu_no_login() {
    systemctl --root="${IMAGE_ROOTFS}" mask \
        console-getty.service debug-shell.service emergency.service getty@.service rescue.service serial-getty@.service
}
