SUMMARY = "The release's image with the device bench's root shell"

require dcu-image.inc

IMAGE_INSTALL += "dcu-bench"
