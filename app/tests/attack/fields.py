"""Where in a frame a byte stands: `BE/04/21.counter`. A walker of its own, that shares nothing with the codecs.

ACSE fields are named by their tags, from the outside in, and then `tag`, `length` or `value`; what is ciphered, by its
parts: tag, length, control, counter, text, mac.
"""

_CIPHERED = (0x21, 0x28, *range(0xC8, 0xD8))
_CONSTRUCTED = 0x20
_MAC_SIZE = 12


def locate(frame: bytes) -> list[str]:
    """The field of every byte of `frame`, which must be an honest one."""
    if frame[0] in _CIPHERED:
        return _ciphered(frame, "")
    head, _ = _length(frame, 1)
    return ["tag", *["length"] * head, *_elements(frame[1 + head :], "")]


def _elements(raw: bytes, path: str) -> list[str]:
    names: list[str] = []
    at = 0
    while at < len(raw):
        here = f"{path}{raw[at]:02X}"
        head, size = _length(raw, at + 1)
        start = at + 1 + head
        value = raw[start : start + size]
        names += [f"{here}.tag", *[f"{here}.length"] * head]
        if here == "BE/04":
            names += _ciphered(value, "BE/04/")
        elif raw[at] & _CONSTRUCTED:
            names += _elements(value, f"{here}/")
        else:
            names += [f"{here}.value"] * size
        at = start + size
    return names


def _ciphered(frame: bytes, path: str) -> list[str]:
    head, size = _length(frame, 1)
    parts = {"tag": 1, "length": head, "control": 1, "counter": 4, "text": size - 5 - _MAC_SIZE, "mac": _MAC_SIZE}
    return [f"{path}{frame[0]:02X}.{part}" for part, count in parts.items() for _ in range(count)]


def _length(raw: bytes, at: int) -> tuple[int, int]:
    """How many bytes the length takes, and what it says."""
    if raw[at] < 0x80:
        return 1, raw[at]
    more = raw[at] & 0x7F
    return 1 + more, int.from_bytes(raw[at + 1 : at + 1 + more], "big")
