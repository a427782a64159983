#!/bin/sh
# The banks are on the medium before U-Boot's environment names them. SWUpdate's raw handler writes through the page
# cache and closes: without this, a power cut just after the switch finds a bank that is half in RAM. sync(1) with a
# block device is fsync(2): dirty pages, then the drive's own cache.
set -eu
for image in kernel rootfs; do
	sync "/dev/disk/by-partlabel/${image}_$1"
done
