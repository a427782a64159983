"""What the command tells whoever packs or checks an update file."""


class OtaError(Exception):
    """`str(error)` is one line that says what to change."""
