"""What is loaded: one base at most, with the adapters on it. Importing this imports no torch."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sekft_engine.bases import base_digest
from sekft_engine.model.device import compute_threads
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.results import LoadResult

if TYPE_CHECKING:
    from sekft_engine.model.resident import ResidentBase


class Residence:
    """Holds the resident base from one job to the next.

    Jobs use it on the engine's thread. Other threads may read :attr:`facts` only.
    """

    def __init__(self) -> None:
        self._base: ResidentBase | None = None
        self._lock = threading.Lock()
        self._facts: LoadResult | None = None

    @property
    def base(self) -> ResidentBase | None:
        """The resident base; None before the first load."""
        return self._base

    @property
    def facts(self) -> LoadResult | None:
        """The base and its adapters as they were at the last :meth:`refresh`. Thread-safe."""
        with self._lock:
            return self._facts

    def obtain(
        self, folder: Path, load_4bit: bool, sharded: bool, emit: Callable[[Event], None]
    ) -> ResidentBase:
        """The base in ``folder``: the resident one where it is that one, else loaded in its place.

        The old base is dropped before the new one is loaded: there need not be memory for both.

        Args:
            folder: an ordinary folder of weights, as :func:`~sekft_engine.bases.resolve_base` finds
                it; what can be refused by its name has been refused by then.
            load_4bit: hold the base in 4 bits.
            sharded: the base is to be spread over several processes.
            emit: takes the events of loading.
        """
        if self._base is None or not _is_same(self._base, folder, load_4bit, sharded):
            self.drop()
            self._base = _load(folder, load_4bit, sharded, emit)
            self.refresh()
        return self._base

    def drop(self) -> None:
        """Let go of the base and of its memory."""
        self._base = None
        self.refresh()
        gc.collect()

    def prove(self) -> None:
        """Raise :class:`~sekft_engine.core.errors.BaseChanged` where the base is not what was
        loaded."""
        if self._base is not None:
            self._base.prove()

    def refresh(self) -> None:
        """Let :attr:`facts` say what is loaded now."""
        facts = self._base.describe() if self._base is not None else None
        with self._lock:
            self._facts = facts


def _is_same(base: ResidentBase, folder: Path, load_4bit: bool, sharded: bool) -> bool:
    """Whether ``base`` is what lies in ``folder`` now."""
    if (base.path, base.quantised, base.sharded) != (folder, load_4bit, sharded):
        return False
    return base.digest == base_digest(folder)


def _load(
    folder: Path, load_4bit: bool, sharded: bool, emit: Callable[[Event], None]
) -> ResidentBase:
    from sekft_engine.model.resident import ResidentBase

    emit(events.Progress(job="", label="loading the base", done=0, detail=folder.name))
    loaded = ResidentBase.load(folder, load_4bit=load_4bit, sharded=sharded)
    emit(
        events.BaseLoaded(
            job="",
            base=str(folder),
            digest=loaded.digest,
            parameters=loaded.parameters,
            dtype="nf4" if load_4bit else str(loaded.model.dtype).removeprefix("torch."),
            device=str(loaded.device),
            seconds=round(loaded.seconds, 3),
            memory=loaded.memory(),
            quantised=load_4bit,
            threads=compute_threads(loaded.device),
        )
    )
    return loaded
