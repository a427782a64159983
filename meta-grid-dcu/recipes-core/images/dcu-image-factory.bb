SUMMARY = "Factory image: makes a device of a board"
DESCRIPTION = "Writes the medium, locks it, hands over to key provisioning. Boots from an SD card by the same verified chain as the device itself (layers/kas/factory.yml, docs/flashing.md)."
LICENSE = "MIT"

inherit core-image

IMAGE_FEATURES = "read-only-rootfs"
IMAGE_INSTALL = "\
    dcu-factory \
    packagegroup-core-boot \
"
