"""Stages of a job that has runs of its own: where each lies, what is done, and doing the rest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput, DigestMismatch
from sekft_engine.records.runs import MANIFEST, RunInfo, list_runs, read_run


def stage_folder(whole: Path, stage: str, workspace_runs: Path | None) -> Path:
    """Where the run of ``stage`` lies: beside the run ``whole`` among the workspace's, so that both
    are listed together, else inside it."""
    beside = workspace_runs is not None and whole.parent == workspace_runs
    return (whole.parent if beside else whole) / f"{whole.name}-{stage}"


def stage_run(folder: Path) -> RunInfo | None:
    """The run in ``folder``; None where it has not begun."""
    if not (folder / MANIFEST).is_file():
        return None
    try:
        return read_run(folder)
    except (BadInput, OSError):
        return None


def finished_run(folder: Path) -> RunInfo | None:
    """The run in ``folder`` where it has come to its end; else None."""
    found = stage_run(folder)
    return found if found is not None and found.status == "done" else None


def same_run(runs: Path | None, kind: str, key: str) -> RunInfo | None:
    """The newest run of this kind and key among ``runs``."""
    if runs is None:
        return None
    found = [run for run in list_runs(runs) if run.kind == kind and run.about.get("key") == key]
    return found[-1] if found else None


def named_or_same(out: str, runs: Path | None, kind: str, key: str) -> RunInfo | None:
    """The run to continue: the one in the folder ``out``, else the newest of this key among
    ``runs``; None = begin one.

    Raises:
        DigestMismatch: the folder holds another run.
    """
    if not out:
        return same_run(runs, kind, key)
    folder = Path(out).expanduser().absolute()
    if not (folder / MANIFEST).is_file():
        return None
    info = read_run(folder)
    if info.kind != kind or info.about.get("key") != key:
        what = f"another {kind}" if info.kind == kind else f"a run of {info.kind}"
        raise DigestMismatch(
            f"this folder holds {what}", where=str(folder), mend="choose another --out"
        )
    return info


def key_of(what: object) -> str:
    """A short digest of what identifies a job, for its run to be found again."""
    return hashlib.sha256(msgspec.json.encode(what, order="deterministic")).hexdigest()[:16]
