"""The update files of Grid DCU: packing, signing, encrypting and checking a .swu on the build host.

A .swu is a cpio archive: `sw-description` (what goes where), its CMS signature, then the images. Nothing of it ships on
the device, where SWUpdate does the work. Keys come in as files and never enter the repository.
"""
