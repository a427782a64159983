"""The last-gasp module's own tests: built for every kernel generation, checked, and run in QEMU (docs/lastgasp.md)."""
