"""State that is put back: what takes long to prepare, an association with its keys, is prepared once for all inputs."""

from collections import deque
from collections.abc import Callable, Iterable
from copy import copy
from enum import Enum
from functools import partial
from itertools import count
from random import Random
from types import BuiltinFunctionType, CellType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from dcu.cosem.security import Cipher
from dcu.credentials import Secret

FIXED = (int, float, str, bytes, memoryview, type(None), Enum, type, ModuleType, Cipher, Secret)
"""What cannot be changed, or holds a key and nothing else."""
OURS = ("dcu", "neighbourhood", "tests")


class Kept:
    """Whatever can be reached from `roots` and can be changed, as it is now.

    Raises TypeError for what could not be put back, a generator for one: nothing is to leak into the next input.
    """

    def __init__(self, *roots: object) -> None:
        self._found: dict[int, object] = {}  # by identity; holding them, so that none is another's
        self._puts: list[Callable[[], object]] = []
        waiting = list(roots)
        while waiting:
            each = waiting.pop()
            if id(each) not in self._found and not isinstance(each, FIXED):
                self._found[id(each)] = each
                waiting += self._keep(each)

    def restore(self) -> None:
        for put in self._puts:
            put()

    def _keep(self, each: Any) -> Iterable[object]:
        """Remember how `each` is put back; return what can be reached from it."""
        if isinstance(each, tuple | frozenset):
            return each
        if isinstance(each, MethodType | BuiltinFunctionType):
            return (each.__self__,)
        if isinstance(each, partial):
            return (each.func, *each.args, *each.keywords.values())
        if isinstance(each, FunctionType):
            return each.__closure__ or ()
        if isinstance(each, CellType):
            self._puts.append(partial(setattr, each, "cell_contents", each.cell_contents))
            return (each.cell_contents,)
        if isinstance(each, Random):
            self._puts.append(partial(each.setstate, each.getstate()))
            return ()
        if isinstance(each, bytearray):
            self._puts.append(partial(each.__setitem__, slice(None), bytes(each)))
            return ()
        if isinstance(each, list):
            self._puts.append(partial(each.__setitem__, slice(None), list(each)))
            return each
        if isinstance(each, dict):
            self._puts.append(partial(_put_dict, each, dict(each)))
            return (*each, *each.values())
        if isinstance(each, set | deque):
            self._puts += (each.clear, partial(each.update if isinstance(each, set) else each.extend, tuple(each)))
            return each
        return self._keep_object(each)

    def _keep_object(self, each: Any) -> Iterable[object]:
        kind = type(each)
        if kind.__module__.partition(".")[0] not in OURS:
            raise TypeError(f"a {kind.__name__} could not be put back")
        frozen = getattr(kind, "__dataclass_params__", None) is not None and kind.__dataclass_params__.frozen
        found: list[object] = []
        slots = [slot for cls in kind.__mro__ for slot in vars(cls).values() if isinstance(slot, MemberDescriptorType)]
        for slot in slots:
            if hasattr(each, slot.__name__):
                value = slot.__get__(each)
                if isinstance(value, count):
                    self._puts.append(partial(_put_count, slot, each, copy(value)))
                    continue
                found.append(value)
                if not frozen:
                    self._puts.append(partial(slot.__set__, each, value))
        if hasattr(each, "__dict__"):
            found += vars(each).values()
            self._puts.append(partial(_put_dict, vars(each), dict(vars(each))))
        return found


def _put_count(slot: Any, each: object, saved: "count[int]") -> None:
    slot.__set__(each, copy(saved))


def _put_dict(each: dict[Any, Any], saved: dict[Any, Any]) -> None:
    each.clear()
    each.update(saved)


class Prepared:
    """A parser in a state that it was brought into once. Each input meets that state, whatever came before it."""

    def __init__(self, *made_of: Any) -> None:
        self._made_of = made_of
        self._kept = Kept(*self.prepare(*made_of))

    def __call__(self, data: bytes) -> object:
        self._kept.restore()
        return self.take(data)

    def anew(self) -> "Prepared":
        """The same with nothing shared but what cannot be changed."""
        return type(self)(*self._made_of)

    def prepare(self, *made_of: Any) -> Iterable[object]:
        """Return everything whose state is to be kept."""
        raise NotImplementedError

    def take(self, data: bytes) -> object:
        raise NotImplementedError
