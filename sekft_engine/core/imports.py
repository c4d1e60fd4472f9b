"""Imports by several threads, one at a time.

Python locks each module for itself while it is imported. Where two threads come to one package by
different doors (the package, a module in it), each ends up waiting for the other, and Python gives
one of them a module that is only half there. Who imports at the time of need on a thread does so
here.
"""

from __future__ import annotations

import importlib
import threading
from types import ModuleType

_LOCK = threading.RLock()


def import_module(name: str) -> ModuleType:
    """The module ``name``, whole; its packages are imported before it."""
    with _LOCK:
        parts = name.split(".")
        for count in range(1, len(parts)):
            importlib.import_module(".".join(parts[:count]))
        return importlib.import_module(name)
