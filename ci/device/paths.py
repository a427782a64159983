"""Where things stand: the payload in the two layers (one fact in one place), what is built under out/device."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT = Path(os.environ.get("DCU_OUT", ROOT / "out" / "device"))
APP = ROOT / "app"
BSP = ROOT / "layers" / "meta-grid-dcu-bsp"
LAYER = ROOT / "meta-grid-dcu"
UBOOT_FILES = BSP / "recipes-bsp" / "u-boot" / "files"
KERNEL_FILES = BSP / "recipes-kernel" / "linux" / "files"
MODULE_FILES = LAYER / "recipes-kernel" / "lastgasp" / "files"
DCU_FILES = LAYER / "recipes-metering" / "dcu" / "files"
BANK_FILES = LAYER / "recipes-core" / "dcu-bank" / "files"
BASE_FILES = LAYER / "recipes-core" / "dcu-base" / "files"
SWUPDATE_FILES = LAYER / "recipes-support" / "swupdate" / "files"
