"""Selective access: the access selector of a GET or SET and its parameter (IEC 62056-5-3, Selective-Access-Descriptor).

The parameter stays encoded (A-XDR): only the class that defines the selector knows its type (see `profile`).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Selection:
    """selector: the class's access selector, 0..255; parameter: its encoded value."""

    selector: int
    parameter: bytes
