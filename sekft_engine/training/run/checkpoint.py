"""Checkpoints: all that a run needs to continue as if uninterrupted, bit for bit on the CPU.

``checkpoints/step-000020/`` holds the adapter's weights, the optimiser's moments, the state of the
random generators and the counts of the run; ``manifest.json``, written last, holds the size and the
SHA-256 of each. A checkpoint appears under its name in one rename, after the disk has it all, so a
half-written one is never found; if the newest one was damaged later, the one before it is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.files import file_sha256, staged_folder
from sekft_engine.records import events
from sekft_engine.training.run.early_stopping import Best
from sekft_engine.training.run.health import Signs

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "checkpoints"
MANIFEST = "manifest.json"
_STEP = "step-"
_TENSORS, _COUNTS = "state.safetensors", "counts.json"
#: Older checkpoints are deleted. If the newest is damaged, little is lost.
MAX_CHECKPOINTS = 2


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a run after ``step`` steps, except its tensors.

    ``first``, ``last`` and ``heldout`` are losses, ``heldout`` being measured after step
    ``heldout_at``; ``rates`` are the latest. ``seconds`` is the training time so far.
    """

    step: int
    micro_batch: int
    recompute: bool = False
    trained_tokens: int = 0
    first: float | None = None
    last: float | None = None
    heldout: float | None = None
    heldout_at: int = 0
    rates: events.RatesMeasured | None = None
    best: Best = Best()
    signs: Signs = Signs()
    seconds: float = 0.0


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint in memory. ``tensors`` are those of :meth:`Trainer.state`."""

    counts: Counts
    tensors: dict[str, Any]


class _File(msgspec.Struct, frozen=True):
    size: int
    sha256: str


def write_checkpoint(run: Path, counts: Counts, tensors: dict[str, Tensor]) -> Path:
    """Write a checkpoint of the run in folder ``run`` and delete the oldest ones: before it where
    the disk has no room beside them, but never the newest intact one.

    Raises:
        OSError: writing failed; the partial checkpoint is removed, older ones stay.
    """
    from safetensors.torch import save

    target = _folder(run, counts.step)
    # Not save_file: its errors do not distinguish a full disk from other failures.
    data = {
        _TENSORS: save(
            {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        ),
        _COUNTS: msgspec.json.encode(counts) + b"\n",
    }
    run.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(run).free < sum(map(len, data.values())):
        newest = newest_step(run)
        _delete(folder for folder in _newest_first(run) if folder != _folder(run, newest))
    with staged_folder(target) as stage:
        manifest = {}
        for name, content in data.items():
            (stage / name).write_bytes(content)
            manifest[name] = _File(len(content), hashlib.sha256(content).hexdigest())
        (stage / MANIFEST).write_bytes(msgspec.json.encode(manifest) + b"\n")
    _delete(list(_newest_first(run))[MAX_CHECKPOINTS:])
    return target


def newest_checkpoint(run: Path) -> Checkpoint | None:
    """The newest intact checkpoint of the run in folder ``run``; None = there is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    for folder in filter(_is_whole, _newest_first(run)):
        with contextlib.suppress(OSError, SafetensorError, *NOT_JSON):
            counts = msgspec.json.decode((folder / _COUNTS).read_bytes(), type=Counts)
            return Checkpoint(counts=counts, tensors=load_file(folder / _TENSORS))
    return None


def newest_step(run: Path) -> int:
    """The step of that checkpoint; 0 = there is none."""
    newest = next(filter(_is_whole, _newest_first(run)), None)
    return int(newest.name.removeprefix(_STEP)) if newest is not None else 0


def drop_checkpoints(run: Path, after: int = 0) -> None:
    """Delete the checkpoints of later steps than ``after``: of a finished run, all of them."""
    if not after:
        shutil.rmtree(run / FOLDER, ignore_errors=True)
        return
    _delete(folder for folder in _newest_first(run) if folder > _folder(run, after))


def _folder(run: Path, step: int) -> Path:
    return run / FOLDER / f"{_STEP}{step:06d}"


def _newest_first(run: Path) -> Iterator[Path]:
    yield from sorted((run / FOLDER).glob(f"{_STEP}*"), reverse=True)


def _delete(folders: Iterable[Path]) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether every file has the size and digest of the manifest."""
    with contextlib.suppress(OSError, *NOT_JSON):
        files = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=dict[str, _File])
        return {_TENSORS, _COUNTS} <= files.keys() and all(
            (folder / name).stat().st_size == file.size
            and file_sha256(folder / name) == file.sha256
            for name, file in files.items()
        )
    return False
