"""What is exported: an adapter, the run it came from, and the evals that judged it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine.bases import resolve_base
from sekft_engine.core.errors import BadInput
from sekft_engine.data.workspace import Workspace
from sekft_engine.records.adapters import CONFIG, AdapterMeta, adapter_digest, read_meta
from sekft_engine.records.results import SweepResult
from sekft_engine.records.runs import (
    ADAPTER,
    MANIFEST,
    RunInfo,
    adapter_folder,
    list_runs,
    read_run,
    run_of,
)


class ExportedAdapter(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter on disk, with what is known of its origin.

    Attributes:
        adapter: its folder.
        digest: of its weights and configuration.
        meta: from its ``sekft.json``.
        base: the folder of its base.
        run: that trained it; None if it came from elsewhere.
        evals: finished evals beside its run in which an adapter of this digest took part.
    """

    adapter: Path
    digest: str
    meta: AdapterMeta
    base: Path
    run: RunInfo | None = None
    evals: tuple[RunInfo, ...] = ()

    @property
    def name(self) -> str:
        """What the adapter is called."""
        return self.meta.name or (self.run.id if self.run is not None else self.adapter.name)


def find_source(spec: str, workspace: Workspace | None, base: str = "") -> ExportedAdapter:
    """The adapter called ``spec``: a run's id or folder, or an adapter's folder.

    Args:
        base: in place of the base that the run recorded.

    Raises:
        BadInput: there is no adapter, or nobody knows its base.
    """
    run = _run_of(spec, workspace)
    if run is not None and run.kind == "sweep":
        known = run.result.best if isinstance(run.result, SweepResult) else None
        best = known or "one of its points"
        raise BadInput("a sweep has many adapters", where=run.id, mend=f"name {best}")
    adapter = adapter_folder(Path(run.adapter or run.path) if run is not None else spec)
    meta = read_meta(adapter) or AdapterMeta()
    digest = adapter_digest(adapter)
    return ExportedAdapter(
        adapter=adapter.absolute(),
        digest=digest,
        meta=meta,
        base=_base_of(base, run, meta, workspace, adapter),
        run=run,
        evals=_evals_of(digest, run, workspace),
    )


def _run_of(spec: str, workspace: Workspace | None) -> RunInfo | None:
    folder = Path(spec).expanduser().absolute()
    if (folder / CONFIG).is_file():
        beside = folder.parent if folder.name == ADAPTER else folder
        return read_run(beside) if (beside / MANIFEST).is_file() else None
    return run_of(spec, workspace.runs if workspace is not None else None)


def _base_of(
    named: str, run: RunInfo | None, meta: AdapterMeta, place: Workspace | None, adapter: Path
) -> Path:
    recorded = run.facts.base.path if run is not None else ""
    for spec in (named, recorded if recorded and Path(recorded).is_dir() else "", meta.base):
        if spec:
            return resolve_base(spec, place)
    raise BadInput("nobody knows its base", where=str(adapter), mend="name it with --base")


def _evals_of(digest: str, run: RunInfo | None, workspace: Workspace | None) -> tuple[RunInfo, ...]:
    roots = {Path(run.path).parent} if run is not None else set()
    roots |= {workspace.runs} if workspace is not None else set()
    return tuple(
        info
        for root in sorted(roots)
        for info in list_runs(root)
        if info.kind == "eval"
        and info.status == "done"
        and digest in info.about.get("subjects", {}).values()
    )
