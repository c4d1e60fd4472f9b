"""Jobs about what is held: the base, its adapters, and what is written of them."""

from __future__ import annotations

from typing import Literal

from sekft_engine.records.jobs.fields import Device, Job, Load4bit


class Load(Job, frozen=True, kw_only=True, tag="load"):
    """Make ``base`` resident, in place of what was. In a resident process nothing else does."""

    base: str
    load_4bit: Load4bit = None
    device: Device = "auto"


class Prepare(Job, frozen=True, kw_only=True, tag="prepare"):
    """Fetch and convert ``base`` if needed, without loading it."""

    base: str


ExportKind = Literal["adapter", "merged", "gguf"]


class Export(Job, frozen=True, kw_only=True, tag="export"):
    """Write the adapter ``source`` (a run's id or folder, an adapter's folder) to the new folder
    ``target``: as ``adapter``, ``merged`` into its base, or merged and ready for ``gguf``.

    ``card`` adds a model card. ``dtype`` is that of merged weights; empty = the base's own.
    ``device`` is where they are merged, in float32.
    """

    source: str
    target: str
    kind: ExportKind = "merged"
    card: bool = False
    dtype: str = ""
    base: str = ""
    device: str = "cpu"


class Attach(Job, frozen=True, kw_only=True, tag="attach"):
    """Load the adapter in folder ``path`` under ``name``."""

    path: str
    name: str = ""


class Swap(Job, frozen=True, kw_only=True, tag="swap"):
    """Make ``name`` the active adapter; empty = the bare base."""

    name: str = ""


class Drop(Job, frozen=True, kw_only=True, tag="drop"):
    name: str


class Rename(Job, frozen=True, kw_only=True, tag="rename"):
    """Call the adapter ``name`` on the base ``to`` from now on. Nothing on disk changes."""

    name: str
    to: str


class Setup(Job, frozen=True, kw_only=True, tag="setup"):
    """Make the demo workspace: the small base, scenarios and trajectories. Idempotent."""

    workspace: str
    train: int = 400
    holdout: int = 48
    seed: int = 0
