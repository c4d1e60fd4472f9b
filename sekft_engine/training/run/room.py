"""The disk of a run: whether its saves fit there, and what is safe once one has failed."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

from sekft_engine.core.errors import NoRoom, explain_os_error
from sekft_engine.records.runs import ADAPTER
from sekft_engine.training.run import checkpoint, early_stopping

#: A checkpoint holds the weights and two moments of each.
_OF_CHECKPOINT = 3
_MB = 1e6


def refuse_lack_of_room(run: Path, weights: int, *, steps: int, judged: bool) -> None:
    """Refuse to train where what is trained could not be saved.

    Args:
        run: the run's folder; what earlier saves left there gives way to later ones.
        weights: bytes of the adapter's weights.
        steps: how many are left to do.
        judged: whether the best adapter is kept as well.

    Raises:
        NoRoom: it does not fit.
    """
    save = weights * (_OF_CHECKPOINT + (2 if judged else 1))
    there = sum(map(_size, (run / checkpoint.FOLDER, run / ADAPTER, run / early_stopping.FOLDER)))
    beside = there > 0 or steps > 1
    needed = save * (2 if beside else 1) - there
    total, _, free = shutil.disk_usage(run)
    if needed <= free or not total:  # some file systems do not tell
        return
    what = f"a save takes {_text(save)}"
    if beside:
        what += f", beside the one before it: {_text(needed)} are needed"
    raise NoRoom(
        f"{what}, but only {math.floor(free / _MB):,} MB of this disk are free: no step is begun",
        where=str(run),
        mend=f"free {_text(needed - free)} there and resume it, or begin another with a smaller "
        "--rank or an --out on another disk",
    )


@contextlib.contextmanager
def telling_what_is_safe(run: Path) -> Iterator[None]:
    """A context that names the step to resume from in an error of the disk that ``run`` is on."""
    try:
        yield
    except OSError as error:
        known = explain_os_error(error)
        if known is None:
            raise
        step = checkpoint.newest_step(run)
        safe = f"nothing of {run.name} is saved yet: resuming begins at its first step"
        if step:
            safe = f"step {step} of {run.name} is saved: resuming goes on from there"
        where = known.where or str(run)
        raise type(known)(f"{known.what}; {safe}", where=where, mend=known.mend) from error


def _size(folder: Path) -> int:
    """Bytes of a folder's files, without the remains of a save that was killed."""
    whole = (path for path in folder.glob("*") if not path.name.startswith("."))
    files = (file for path in whole for file in (path, *path.rglob("*")) if file.is_file())
    return sum(file.stat().st_size for file in files)


def _text(size: float) -> str:
    return f"{math.ceil(size / _MB):,} MB"
