SUMMARY = "The medium of a new device: bootloader, environment, both banks, persist, data"
DESCRIPTION = "No root of its own: its banks are what dcu-bank made of DCU_IMAGE. Written with bmaptool (docs/flashing.md)."
LICENSE = "MIT"

inherit image

IMAGE_FSTYPES = "wic.zst wic.bmap"
# What a new device has on persist: the factory's mark (ADR-0007), without which it would take itself for a lost one
DCU_PERSIST_TREE = "${THISDIR}/../dcu-base/files/persist"
IMAGE_INSTALL = ""
IMAGE_FEATURES = ""
IMAGE_LINGUAS = ""
PACKAGE_INSTALL = ""

do_image_wic[depends] += "dcu-bank:do_deploy virtual/bootloader:do_deploy"
