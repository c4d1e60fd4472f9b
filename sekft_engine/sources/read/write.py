"""Write files whole or not at all: staged beside the target, fsynced, one rename."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

from sekft_engine.core.errors import SekftError, Unavailable, explain_os_error
from sekft_engine.core.files import staged_file
from sekft_engine.core.text import quiet_json
from sekft_engine.data.trajectory import Trajectory


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
    try:
        with staged_file(target, 0o666 & ~_umask()) as file:
            yield file
    except OSError as error:
        raise _unwritable(target, error) from error


def _line(value: Any) -> bytes:
    try:
        return quiet_json((json.dumps(value, ensure_ascii=False) + "\n").encode())
    except UnicodeEncodeError:  # lone surrogates can be written as escapes only
        return (json.dumps(value) + "\n").encode()


def _unwritable(target: Path, error: OSError) -> SekftError:
    known = explain_os_error(error)
    what = known.what if known else error.strerror or str(error)
    # The stage's name would say nothing to a person.
    return Unavailable(
        f"cannot write: {what}", where=str(target), mend=known.mend if known else None
    )


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
