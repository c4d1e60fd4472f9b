"""A disk that gets full: what cannot be saved is not trained, and what was saved is told."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from sekft_engine.core.errors import SekftError
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import read_meta
from sekft_engine.records.events import Event, Progress
from sekft_engine.records.runs import read_run
from sekft_engine.training.run import session
from sekft_engine.training.run.checkpoint import newest_checkpoint
from tests.documents import run_document
from tests.training import crash

STEPS = 13


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_run_whose_saves_do_not_fit_is_refused_before_its_first_step(
    tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    _leave(monkeypatch, 1000)
    seen: list[Event] = []
    with pytest.raises(SekftError) as refused:
        run_document(_job(tiny_base, sessions, out), None, seen.append)
    said = str(refused.value)
    assert said.startswith(f"{out}: a save takes 1 MB, beside the one before it: ")
    assert (
        "only 0 MB of this disk are free: no step is begun (free 1 MB there and resume it, " in said
    )
    assert not any(isinstance(event, events.StepBegan) for event in seen)
    monkeypatch.undo()
    assert run_document(_job(tiny_base, sessions, out, resume=True))["steps"] == STEPS


def test_a_run_goes_on_where_two_saves_fit_and_a_third_checkpoint_does_not(
    tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SAVE_EVERY_STEPS", 2)
    first, out = tmp_path / "first", tmp_path / "run"
    with monkeypatch.context() as patch:
        _fill_at(patch, "step-000013")
        with pytest.raises(SekftError):
            run_document(_job(tiny_base, sessions, first))
    before = [path.stat().st_size for path in first.rglob("state.safetensors")]
    adapter = (first / "adapter" / "adapter_model.safetensors").stat().st_size
    assert len(before) == 2
    disk = 2 * (max(before) + adapter) + 1000

    def used() -> int:
        return sum(path.stat().st_size for path in out.rglob("*.safetensors"))

    def write(path: Path, data: bytes) -> int:
        if path.suffix == ".safetensors" and used() + len(data) > disk:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(path, data)

    write_bytes = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", write)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(disk, used(), disk - used()))
    done = run_document(_job(tiny_base, sessions, out))
    whole = run_document(_job(tiny_base, sessions, first, resume=True))
    assert done["adapter_sha256"] == whole["adapter_sha256"]


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ("step-000002", "nothing of run is saved yet: resuming begins at its first step"),
        ("step-000003", "step 2 of run is saved: resuming goes on from there"),
        ("adapter", "step 2 of run is saved: resuming goes on from there"),
    ],
)
def test_a_disk_full_at_a_save_says_what_is_saved_and_no_adapter_is_ahead_of_it(
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refused: str,
    told: str,
) -> None:
    monkeypatch.setattr(session, "SAVE_EVERY_STEPS", 2)
    out = tmp_path / "run"
    _fill_at(monkeypatch, refused)
    with pytest.raises(SekftError) as failed:
        run_document(_job(tiny_base, sessions, out))
    assert f"the disk is full; {told} (free some space" in str(failed.value)
    assert str(failed.value).startswith(f"{out}/")
    checkpoint, adapter = newest_checkpoint(out), read_meta(out / "adapter")
    saved = checkpoint.counts.step if checkpoint else 0
    assert (adapter.step if adapter else 0) <= saved
    assert told in read_run(out).error
    monkeypatch.undo()
    resumed = run_document(_job(tiny_base, sessions, out, resume=True))
    whole = run_document(_job(tiny_base, sessions, tmp_path / "whole"))
    assert resumed["adapter_sha256"] == whole["adapter_sha256"]


def test_a_run_whose_folder_cannot_be_written_is_not_resumed_and_nothing_is_loaded_for_it(
    tiny_base: Path,
    sessions: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "run"
    _fill_at(monkeypatch, "step-000013")
    with pytest.raises(SekftError):
        run_document(_job(tiny_base, sessions, out))
    monkeypatch.undo()
    access = os.access

    def no_access(path: Any, mode: int, **options: Any) -> bool:
        return not (Path(path) == out and mode & os.W_OK) and access(path, mode, **options)

    monkeypatch.setattr(os, "access", no_access)
    seen: list[Event] = []
    with pytest.raises(SekftError, match="no permission") as refused:
        run_document(_job(tiny_base, sessions, out, resume=True), None, seen.append)
    assert str(refused.value).startswith(f"{out}: ")
    assert not [event.label for event in seen if isinstance(event, Progress)]


def _job(base: Path, data: Path, out: Path, **changes: Any) -> jobs.Train:
    fields: dict[str, Any] = {"recipe": crash.RECIPE} | changes
    return jobs.Train(base=str(base), data=str(data), out=str(out), **fields)


def _leave(patch: pytest.MonkeyPatch, free: int) -> None:
    """Let the disk have so many bytes left."""
    patch.setattr(shutil, "disk_usage", lambda _folder: Usage(free, 0, free))


def _fill_at(patch: pytest.MonkeyPatch, name: str) -> None:
    """Let the disk be full when weights are written for the folder ``name``."""
    write: Callable[[Path, bytes], int] = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".safetensors" and f".{name}." in str(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    patch.setattr(Path, "write_bytes", full)
