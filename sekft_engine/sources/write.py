"""Write files whole or not at all: staged beside the target, fsynced, one rename."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

from sekft_engine.errors import Unavailable
from sekft_engine.trajectory import Trajectory

_MEND = {
    errno.ENOSPC: "free some disk space, or choose another place",
    errno.EDQUOT: "free some of your disk quota, or choose another place",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder you may write to",
    errno.ENOENT: "make the folder first, or check the path",
    errno.ENOTDIR: "a part of the path is a file; check the path",
    errno.EISDIR: "the path is a folder; name a file in it",
}


def write_trajectory(path: str | PathLike[str], trajectory: Trajectory) -> None:
    """One trajectory as a ``.json`` file.

    Raises:
        Unavailable: no permission or no space; the old file, if any, stands as it was.
    """
    write_json(path, trajectory.to_json())


def write_jsonl(path: str | PathLike[str], trajectories: Iterable[Trajectory]) -> None:
    """Trajectories as a ``.jsonl`` file, one per line; as :func:`write_trajectory`."""
    with staged(path) as file:
        for trajectory in trajectories:
            file.write(_line(trajectory.to_json()))


def write_json(path: str | PathLike[str], value: Any) -> None:
    """Any JSON value as one line; as :func:`write_trajectory`."""
    with staged(path) as file:
        file.write(_line(value))


@contextlib.contextmanager
def staged(path: str | PathLike[str]) -> Iterator[BinaryIO]:
    """A file that takes the name ``path`` when the block ends well, and vanishes otherwise.

    Raises:
        Unavailable: with the way out, for whatever the operating system refuses.
    """
    target = Path(path)
    stage: Path | None = None
    try:
        # The dot hides the stage from readers of the folder.
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:64]}.", dir=target.parent)
        stage = Path(name)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        stage.chmod(0o666 & ~_umask())
        stage.replace(target)
        stage = None
        _sync_folder(target.parent)
    except OSError as error:
        raise Unavailable(
            f"cannot write: {error.strerror or error}",
            where=str(target),
            mend=_MEND.get(error.errno or 0),
        ) from error
    finally:
        if stage is not None:
            with contextlib.suppress(OSError):
                stage.unlink()


def _line(value: Any) -> bytes:
    try:
        return (json.dumps(value, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # lone surrogates can be written as escapes only
        return (json.dumps(value) + "\n").encode()


def _sync_folder(folder: Path) -> None:
    """Make the rename last through a power cut, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
