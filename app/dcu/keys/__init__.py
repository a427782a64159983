"""Where the meters' keys are kept, and the files they come in. Only `base` is what the rest of the program knows."""

from dcu.keys.base import KeyStore, KeyType
from dcu.keys.wrapped import WrappedKeys, load_kek, new_kek

__all__ = ["KeyStore", "KeyType", "WrappedKeys", "load_kek", "new_kek"]
