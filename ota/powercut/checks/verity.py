"""A verity tree, checked as the kernel does, but all of it: every data block and every block of hashes.

Source: Linux, Documentation/admin-guide/device-mapper/verity.rst (hash type 1: the salt in front).
"""

import hashlib

from ota.errors import OtaError
from ota.powercut.checks.fit import Verity

_DIGEST = 32


def verify(image: bytes, verity: Verity) -> None:
    """`image` has the data and, from verity.start, its tree. Raises OtaError: the first block that does not fit."""
    block, fan = verity.block, verity.block // _DIGEST
    levels = []
    count = verity.blocks
    while count > 1:
        count = -(-count // fan)
        levels.append(count)
    starts, at = {}, verity.start
    for level in reversed(range(len(levels))):  # on the medium the top of the tree comes first
        starts[level], at = at, at + levels[level]
    if at * block > len(image):
        raise OtaError("the tree does not fit into the partition")
    salted = hashlib.sha256(verity.salt)

    def digest(number: int) -> bytes:
        total = salted.copy()
        total.update(memoryview(image)[number * block : (number + 1) * block])
        return total.digest()

    if digest(starts[len(levels) - 1]) != verity.root:
        raise OtaError("the root hash does not fit")
    below, first = verity.blocks, 0
    for level, size in enumerate(levels):
        for number in range(below):
            place = (starts[level] + number // fan) * block + number % fan * _DIGEST
            if digest(first + number) != image[place : place + _DIGEST]:
                raise OtaError(f"block {first + number} does not fit its hash")
        below, first = size, starts[level]


def length(verity: Verity) -> int:
    """Bytes of the image, tree included."""
    fan = verity.block // _DIGEST
    total, count = verity.start, verity.blocks
    while count > 1:
        count = -(-count // fan)
        total += count
    return total * verity.block
