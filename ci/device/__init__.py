"""The device bench: the whole device assembled from Debian packages, and QEMU to run it (docs/bench.md)."""
