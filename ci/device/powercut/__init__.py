"""The power-cut rig's device: records an update and a collection in QEMU, boots what a cut left (`ota.powercut`)."""
