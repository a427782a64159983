"""What a terminal would obey is taken out of what others wrote: meters, files, the gurux worker."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # C0 but tab and newline, DEL, C1


def printable(text: str) -> str:
    """`text` with every control character but tab and newline replaced by U+FFFD."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def line(text: str) -> str:
    """`text` as one printable line."""
    return printable(" ".join(text.split()))


def escaped(json: str) -> str:
    """JSON whose strings hold no control character: what the encoder leaves (DEL, C1) is escaped."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", json)
