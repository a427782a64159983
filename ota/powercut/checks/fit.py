"""A signed FIT, judged as U-Boot does: the hash of every image, the signature of the configuration; and what it says.

A FIT is a flattened device tree. A configuration's signature covers the nodes that it lists (without the images' data,
for which their hashes stand) and the beginning of the strings block.

Source: Devicetree Specification 0.4, chapter 5; U-Boot, boot/image-fit-sig.c (fit_config_check_sig), boot/fdt_region.c.
"""

import hashlib
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from ota.errors import OtaError

_MAGIC = 0xD00DFEED
_BEGIN, _END_NODE, _PROPERTY, _NOP, _END = 1, 2, 3, 4, 9
_HEADER = struct.Struct(">10I")
_UNSIGNED = {"data", "data-size", "data-position", "data-offset"}
_DEEPEST = 32
_TABLE = re.compile(
    rb'dm-mod\.create="[^"]*? 0 \d+ verity 1 \S+ \S+ (?P<block>\d+) \d+ (?P<blocks>\d+) (?P<start>\d+)'
    rb" sha256 (?P<root>[0-9a-f]{64}) (?P<salt>[0-9a-f]+)"
)


@dataclass(frozen=True, slots=True)
class Verity:
    """What the kernel's command line says of its root: blocks of `block` bytes, the tree from block `start`."""

    block: int
    blocks: int
    start: int
    root: bytes
    salt: bytes


@dataclass(slots=True)
class _Node:
    path: str
    properties: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Token:
    """One tag of the structure block: start and end are offsets in that block."""

    tag: int
    start: int
    end: int
    name: str = ""
    value: bytes = b""


def size(head: bytes) -> int:
    """The length of the FIT that begins so. Raises OtaError: none does."""
    if len(head) < _HEADER.size or int.from_bytes(head[:4], "big") != _MAGIC:
        raise OtaError("no FIT")
    return int.from_bytes(head[4:8], "big")


def verify(raw: bytes, key: RSAPublicKey, configuration: str) -> Verity:
    """Check everything that U-Boot checks before it boots `configuration`. Raises OtaError: what does not hold."""
    structure, strings = _blocks(raw)
    tokens = list(_tokens(structure, strings))
    nodes = {node.path: node for node in _nodes(tokens)}
    for path, node in nodes.items():
        parent = nodes.get(path.rpartition("/")[0])
        if parent is None or not path.startswith("/images/") or node.properties.get("algo") != b"sha256\0":
            continue
        if hashlib.sha256(parent.properties.get("data", b"")).digest() != node.properties.get("value"):
            raise OtaError(f"{parent.path}: its hash does not fit")
    chosen = nodes.get(f"/configurations/{configuration}")
    signature = nodes.get(f"/configurations/{configuration}/signature")
    if chosen is None or signature is None:
        raise OtaError(f"no signed configuration {configuration}")
    _signed(structure, strings, tokens, signature, key)
    tree = nodes.get("/images/" + chosen.properties.get("fdt", b"").rstrip(b"\0").decode(errors="replace"))
    found = _TABLE.search((tree.properties.get("data", b"") if tree else b"").replace(b",", b" "))
    if not found:
        raise OtaError(f"{configuration}: no verity table on its command line")
    block, blocks, start = (int(found[name]) for name in ("block", "blocks", "start"))
    return Verity(block, blocks, start, bytes.fromhex(found["root"].decode()), bytes.fromhex(found["salt"].decode()))


def _signed(structure: bytes, strings: bytes, tokens: list[_Token], signature: _Node, key: RSAPublicKey) -> None:
    covered = {path.decode(errors="replace") for path in signature.properties.get("hashed-nodes", b"").split(b"\0")}
    _, length = struct.unpack(">II", signature.properties.get("hashed-strings", b"").ljust(8, b"\0")[:8])
    content = b"".join(structure[start:end] for start, end in _regions(tokens, covered)) + strings[:length]
    try:
        key.verify(signature.properties.get("value", b""), content, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise OtaError("the signature does not hold") from None


def _regions(tokens: list[_Token], covered: set[str]) -> Iterator[tuple[int, int]]:
    """What of the structure block is signed: the covered nodes, the beginnings of what is in them, the end tag.

    want: 2 inside a covered node, 1 directly in one of its children (its name and end, no property), 0 elsewhere.
    """
    path: list[str] = []
    stack: list[int] = []
    want, start = 0, -1
    for token in tokens:
        stop, include = token.end, bool(want)
        if token.tag == _PROPERTY:
            include, stop = want >= 2 and token.name not in _UNSIGNED, token.start
        elif token.tag == _NOP:
            include, stop = want >= 2, token.start
        elif token.tag == _BEGIN:
            path.append(token.name)
            stack.append(want)
            if want == 1:
                stop = token.start
            if ("/".join(path) or "/") in covered:
                want = 2
            elif want:
                want -= 1
            else:
                stop = token.start
            include = bool(want)
        elif token.tag == _END_NODE:
            want = stack.pop()
            path.pop()
        else:
            include = True
        if include and start < 0:
            start = token.start
        elif not include and start >= 0:
            yield start, stop
            start = -1
    yield start, tokens[-1].end


def _blocks(raw: bytes) -> tuple[bytes, bytes]:
    total = size(raw)
    _, _, structure, strings, _, version, _, _, strings_size, structure_size = _HEADER.unpack_from(raw)
    if total != len(raw) or version < 17 or structure + structure_size > total or strings + strings_size > total:
        raise OtaError("a FIT whose header does not fit")
    return raw[structure : structure + structure_size], raw[strings : strings + strings_size]


def _tokens(structure: bytes, strings: bytes) -> Iterator[_Token]:
    at = depth = 0
    while at + 4 <= len(structure):
        start, tag = at, int.from_bytes(structure[at : at + 4], "big")
        name, value = "", b""
        at += 4
        if tag == _BEGIN:
            end = structure.find(b"\0", at)
            depth += 1
            if end < 0 or depth > _DEEPEST:
                break
            name, at = structure[at:end].decode(errors="replace"), (end + 4) & ~3
        elif tag == _PROPERTY:
            if at + 8 > len(structure):
                break
            length, offset = struct.unpack_from(">II", structure, at)
            name = strings[offset : strings.find(b"\0", offset)].decode(errors="replace")
            value = structure[at + 8 : at + 8 + length]
            at = (at + 8 + length + 3) & ~3
        elif tag == _END_NODE:
            depth -= 1
        elif tag not in (_NOP, _END):
            break
        if depth < 0 or at > len(structure):
            break
        yield _Token(tag, start, at, name, value)
        if tag == _END:
            if depth:
                break
            return
    raise OtaError("a FIT whose structure is damaged")


def _nodes(tokens: list[_Token]) -> Iterator[_Node]:
    stack: list[_Node] = []
    for token in tokens:
        if token.tag == _BEGIN:
            stack.append(_Node(f"{stack[-1].path}/{token.name}" if stack else ""))
        elif token.tag == _PROPERTY and stack:
            stack[-1].properties[token.name] = token.value
        elif token.tag == _END_NODE:
            yield stack.pop()
