"""Read trajectories whole, as training does: a raw folder is filtered on keep; a curated
``.jsonl``, a table and a data set on the Hub are taken as they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.data.dropped import Dropped
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources.read.data_files import RAW, kind
from sekft_engine.sources.read.parse import duplicate_id, trajectory_of
from sekft_engine.sources.read.source import DataSource, HubSource, files_of, records


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What was read.

    Attributes:
        digest: of the contents of ``trajectories``, the same in any order.
    """

    trajectories: tuple[Trajectory, ...]
    skipped: tuple[Dropped, ...]
    digest: str


def load_trajectories(path: str | PathLike[str], *, keep_only: bool = True) -> Loaded:
    """Read ``path``: a folder of ``.json``, ``.jsonl``, ``.parquet`` and ``.arrow`` files, one such
    file, or a folder that the library ``datasets`` saved.

    With ``keep_only``, raw recordings (``.json``) whose ``keep`` is not true are skipped and
    listed; the others are curated already and taken whole.

    Raises:
        BadInput: a file is broken or an id occurs twice; names file and line.
        Unavailable: a file cannot be read, or the extra that reads it is not installed.
    """
    return _collect(_read(DataSource(Path(path))), keep_only=keep_only)


def load_hub(name: str = "", *, split: str = "train") -> Loaded:
    """A split of a data set on the Hub, taken whole: what is published is curated.

    Args:
        name: ``owner/set``, or ``owner/set:config`` where the set has several; '' is the
            published corpus.
        split: the split to read.

    Raises:
        Unavailable: the extra is not installed, or the data set is neither reachable nor cached.
        BadInput: a row is no trajectory, or an id occurs twice; names file and row.
    """
    return _collect(_read(HubSource(name, split)), keep_only=False)


def iter_trajectories(path: str | PathLike[str]) -> Iterator[Trajectory]:
    """All trajectories of ``path``, one at a time, whatever their ``keep``."""
    for trajectory, _, _ in _read(DataSource(Path(path))):
        yield trajectory


def _collect(read: Iterable[tuple[Trajectory, str, str]], *, keep_only: bool = True) -> Loaded:
    """Gather (trajectory, where, why it is not kept or ''), refusing an id that occurs twice."""
    taken: list[Trajectory] = []
    skipped: list[Dropped] = []
    places: dict[str, str] = {}
    for trajectory, where, unkept in read:
        if trajectory.id in places:
            raise duplicate_id(trajectory.id, places[trajectory.id], where)
        places[trajectory.id] = where
        if keep_only and unkept:
            skipped.append(Dropped(trajectory.id, "not_kept", unkept))
        else:
            taken.append(trajectory)
    return Loaded(trajectories=tuple(taken), skipped=tuple(skipped), digest=data_digest(taken))


def data_digest(trajectories: Iterable[Trajectory]) -> str:
    """A digest of the contents, the same for any order and any spread over files."""
    each = sorted(
        hashlib.sha256(
            json.dumps(trajectory.to_json(), sort_keys=True, default=str).encode()
        ).digest()
        for trajectory in trajectories
    )
    return hashlib.sha256(b"".join(each)).hexdigest()[:16]


def _read(source: DataSource) -> Iterator[tuple[Trajectory, str, str]]:
    for file in files_of(source, what="trajectories"):
        raw_file = kind(file.name) == RAW
        for raw, where, name in records(file):
            trajectory = trajectory_of(raw, where, name)
            yield trajectory, where, _unkept(raw, trajectory) if raw_file else ""


def _unkept(raw: Any, trajectory: Trajectory) -> str:
    """Why a raw recording is not kept; '' when it is."""
    if trajectory.keep:
        return ""
    return "keep is false" if "keep" in raw else "it has no keep field"
