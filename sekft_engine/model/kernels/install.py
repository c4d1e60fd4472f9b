"""Replace parts of a model by faster ones, reversibly.

A faster way to compute a model is a list of replacements: attributes of its modules or of its
configuration, and their new values. :class:`Kernels` installs all of them when it is entered and
removes all of them when it is left, so at any time either all are in use or none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple


class Replacement(NamedTuple):
    """``value`` takes the place of attribute ``name`` of ``owner``."""

    owner: Any
    name: str
    value: Any


class Kernels:
    """A context in which replacements are in use, backward passes included.

    It may be nested, and entered by several threads; the last exit restores the original values.

    Args:
        find: gives the replacements; called at each first entry, since adapters change.
    """

    def __init__(self, find: Callable[[], Iterable[Replacement]]) -> None:
        self._find = find
        self._users = 0
        self._lock = threading.Lock()
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                with ExitStack() as stack:
                    for owner, name, value in [*self._find()]:
                        stack.callback(_undoing(owner, name))
                        setattr(owner, name, value)
                    self._undo = stack.pop_all()
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                self._undo.close()


def _undoing(owner: Any, name: str) -> Callable[[], None]:
    """A function that restores the current value of the attribute."""
    is_property = isinstance(getattr(type(owner), name, None), property)
    if is_property or name in vars(owner):
        return partial(setattr, owner, name, getattr(owner, name))
    return partial(delattr, owner, name)
