"""Checks of the Yocto layers: `make layer-lint` without OpenEmbedded, `make layer-check` with the upstream layers."""
