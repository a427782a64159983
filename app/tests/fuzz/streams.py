"""Streams out of inputs: what arrives in pieces, as on a line."""

PIECES = 256  # mostly: what is longer than a line ever brings at a time, in few pieces, as it is all alike
FINE = 61  # of so many streams, one in as many pieces as its first byte says; no divisor of the longest input's length


def cut(data):
    """A stream in pieces: the first byte says how long they are, up to 64; those of a swollen stream are longer."""
    size = data[0] % 64 + 1 if data else 1
    if len(data) % FINE:
        size = max(size, len(data) // PIECES)
    return [data[at : at + size] for at in range(1, len(data), size)]
