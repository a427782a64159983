"""Streams out of inputs: what arrives in pieces, as on a line."""

PIECES = 512  # at most: a decoder that looks at all it has again with each piece shows with less


def cut(data):
    """A stream in pieces: the first byte says how long they are, up to 64; those of a swollen input are longer."""
    size = max(data[0] % 64 + 1, len(data) // PIECES) if data else 1
    return [data[at : at + size] for at in range(1, len(data), size)]
