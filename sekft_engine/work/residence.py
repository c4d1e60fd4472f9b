"""What is loaded: one base at most, with the adapters on it. Importing this imports no torch."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.bases import base_digest
from sekft_engine.core.errors import BadInput
from sekft_engine.model.device import device_of
from sekft_engine.model.imports import import_torch
from sekft_engine.model.reading import counted_reads, weight_bytes
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.results import LoadResult
from sekft_engine.work.loading import Loading, told

if TYPE_CHECKING:
    from sekft_engine.model.resident import ResidentBase


class Wanted(NamedTuple):
    """A base as a job wants it.

    Attributes:
        folder: an ordinary folder of weights, as :func:`~sekft_engine.bases.resolve_base` finds it;
            what can be refused by its name has been refused by then.
        load_4bit: hold the base in 4 bits.
        sharded: the base is to be spread over several processes.
        device: where it computes, with its number, as ``cuda:0``.
    """

    folder: Path
    load_4bit: bool = False
    sharded: bool = False
    device: str = "cpu"


class Residence:
    """Holds the resident base from one job to the next.

    Jobs use it on the engine's thread. Other threads may read :attr:`facts` only.

    Args:
        keep: a base stays until a job says that it replaces it; a job that wants another is
            refused. Otherwise each job gets the base that it wants.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
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
        self, wanted: Wanted, emit: Callable[[Event], None], *, replace: bool = False
    ) -> ResidentBase:
        """The base that is wanted: the resident one where it is that one, else loaded in its place.

        The old base is dropped before the new one is loaded: there need not be memory for both.

        Args:
            wanted: the base.
            emit: takes the events of loading.
            replace: the job says that it replaces the resident base.

        Raises:
            BadInput: another base is kept.
        """
        differs = "" if self._base is None else _difference(self._base, wanted)
        if self._base is not None and not differs:
            return self._base
        if differs and self._keep and not replace:
            load = {
                "job": "load",
                "base": str(wanted.folder),
                "load_4bit": wanted.load_4bit,
                "device": wanted.device,
            }
            leave = "leave that field out, or " if differs.startswith('"') else ""
            raise BadInput(differs, mend=f"{leave}replace the base first: {json.dumps(load)}")
        self.drop()
        self._base = load_base(wanted, emit)
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


def is_same_folder(one: Path, other: Path) -> bool:
    """Whether both lead to the same folder, also over links."""
    return one == other or one.resolve() == other.resolve()


def _difference(base: ResidentBase, wanted: Wanted) -> str:
    """How the base that is wanted differs from the resident one; empty = it is that one, as it lies
    on disk now."""
    if not is_same_folder(base.path, wanted.folder):
        return f'"base" is {wanted.folder}, and {base.path} is resident'
    if base.quantised != wanted.load_4bit:
        held, asked = (str(value).lower() for value in (base.quantised, wanted.load_4bit))
        return f'"load_4bit" is {asked}, and the base is resident with "load_4bit" {held}'
    if base.sharded != wanted.sharded:
        held, asked = (str(value).lower() for value in (base.sharded, wanted.sharded))
        return f'"shard_base" is {asked}, and the base is resident with "shard_base" {held}'
    if base.placed != wanted.device:
        return f'"device" is {wanted.device}, and the base is resident on {base.placed}'
    digest = base_digest(wanted.folder)
    if base.digest != digest:
        return f"the base's files changed: {base.digest[:12]} is resident, {digest[:12]} on disk"
    return ""


def load_base(wanted: Wanted, emit: Callable[[Event], None]) -> ResidentBase:
    """Load a base that nothing else holds; ``emit`` takes the events."""
    from sekft_engine.model.resident import ResidentBase

    folder, load_4bit, sharded, device = wanted
    import_torch()
    import torch

    place = torch.device(device)
    loading = Loading(folder.name, weight_bytes(folder))
    with told(loading, emit), counted_reads(loading.read):
        loaded = ResidentBase.load(folder, place=place, load_4bit=load_4bit, sharded=sharded)
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
            threads=device_of(loaded.device).threads,
        )
    )
    if warning := device_of(place).warning:
        emit(events.Log(job="", level="warning", text=warning))
    return loaded
