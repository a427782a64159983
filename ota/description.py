"""sw-description from its template: the two substitutions of BitBake's swupdate.bbclass, and no third.

``@@NAME@@`` is a variable; then ``$swupdate_get_sha256(FILE)`` is the hash of FILE. BitBake and this module read the
same template, so that the bench's updates and a release's differ in nothing but their values.

Source: meta-swupdate, classes-recipe/swupdate-common.bbclass.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ota.errors import OtaError

NAME = "sw-description"
SIGNATURE = "sw-description.sig"
_VARIABLE = re.compile(r"@@(\w+)@@")
_HASH = re.compile(r"\$swupdate_get_sha256\(([^()]+)\)")
_FILE = re.compile(r'filename = "([^"]+)";')
_SHA256 = re.compile(r'sha256 = "([0-9a-f]{64})";')
_VERSION = re.compile(r'^\s*version = "([^"]+)";', re.MULTILINE)
_UNSAFE = re.compile(r'[\s"\\;{}]')


def render(template: str, variables: Mapping[str, str], digest: Callable[[str], str]) -> str:
    """Fill in `template`; `digest` gives the SHA-256 of a file by its name. Raises OtaError: a variable is unknown."""

    def value(found: re.Match[str]) -> str:
        try:
            return variables[found[1]]
        except KeyError:
            raise OtaError(f"the template asks for @@{found[1]}@@; known: {', '.join(sorted(variables))}") from None

    filled = _VARIABLE.sub(value, template)
    return _HASH.sub(lambda found: digest(found[1]), filled)


def plain(text: str, what: str) -> str:
    """`text` where it stands inside quotes. Raises OtaError: it would end them."""
    if not text or _UNSAFE.search(text) or not text.isascii():
        raise OtaError(f"{what}: {text!r}: letters, digits and punctuation other than quotes, braces and semicolons")
    return text


def hashes(description: str) -> dict[str, str]:
    """Which file must have which SHA-256. Raises OtaError: one has none, or two."""
    found: dict[str, str] = {}
    for name, text in _entries(description):
        digest = _SHA256.search(text)
        if not digest:
            raise OtaError(f"{NAME}: {name} has no sha256")
        if found.setdefault(name, digest[1]) != digest[1]:
            raise OtaError(f"{NAME}: {name} has two hashes")
    if not found:
        raise OtaError(f"{NAME}: names no file")
    return found


def version(description: str) -> str:
    """Raises OtaError."""
    if not (found := _VERSION.search(description)):
        raise OtaError(f"{NAME}: has no version")
    return found[1]


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _entries(description: str) -> Iterator[tuple[str, str]]:
    """Each file's name, with the text up to the next one."""
    starts = [*_FILE.finditer(description)]
    for found, following in zip(starts, [*starts[1:], None], strict=True):
        yield found[1], description[found.end() : following.start() if following else len(description)]
