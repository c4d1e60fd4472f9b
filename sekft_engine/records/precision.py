"""Whether adapters were trained on a base in 4 bits, as they and their runs recorded it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sekft_engine.core.errors import SekftError
from sekft_engine.records.adapters import read_meta
from sekft_engine.records.runs import ADAPTER, MANIFEST, adapter_folder, read_run


def trained_in_4bit(folder: Path) -> bool | None:
    """Whether the adapter in ``folder`` was trained in 4 bits; None = it is not recorded.

    Adapters of older versions have no record of their own; the run that they lie in has.
    """
    meta = read_meta(folder)
    if meta is not None and meta.load_4bit is not None:
        return meta.load_4bit
    run = folder.parent
    if folder.name != ADAPTER or not (run / MANIFEST).is_file():
        return None
    base = read_run(run).facts.base
    return base.load_4bit if base.digest else None


def recorded_precision(adapters: Iterable[str]) -> bool | None:
    """Whether these adapters, named by their folders or those of their runs, were trained in 4
    bits: True or False where all that is recorded agrees, else None."""
    found = set()
    for spec in adapters:
        try:
            found.add(trained_in_4bit(adapter_folder(spec)))
        except SekftError:  # told where it is attached
            continue
    found.discard(None)
    return found.pop() if len(found) == 1 else None
