"""Recordings that need no QEMU: the store and the doubly written files on ext4, U-Boot's environment by fw_setenv."""
