"""Read trajectories whole, as training does: a raw recording counts only with ``keep``; lists, a
``.jsonl``, a table and a data set on the Hub are taken as they are."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import msgspec

from sekft_engine.data.dropped import Dropped
from sekft_engine.data.read_report import KNOWN_SESSIONS, Rejected, add_notes
from sekft_engine.data.reasons import as_shown, place_shown
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources.read.parse import duplicate_id, trajectory_of
from sekft_engine.sources.read.source import (
    DataSource,
    HubSource,
    Record,
    RecordFile,
    files_of,
    nothing_here,
)


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """What was read.

    Attributes:
        skipped: what is not used, recordings that are not kept among it, with the reasons.
        passed_over: files of the folder that are not read, by their endings.
    """

    trajectories: tuple[Trajectory, ...]
    skipped: tuple[Dropped, ...]
    passed_over: dict[str, int] = {}

    @property
    def digest(self) -> str:
        """A digest of the contents of ``trajectories``, the same in any order."""
        return data_digest(self.trajectories)

    @property
    def notes(self) -> dict[str, int]:
        """In how many of ``trajectories`` the reader noted what, the most frequent first."""
        counts: Counter[str] = Counter()
        for trajectory in self.trajectories:
            add_notes(counts, trajectory.notes)
        return dict(counts.most_common())


class Reading:
    """The trajectories of one source, one after another, and what is counted on the way.

    Args:
        source: where the files are.
        keep_only: skip raw recordings whose ``keep`` is not true.
        strict: raise an error at the first that cannot be used, instead of dropping it.

    Attributes:
        passed_over: files of the folder that are not read, by their endings.
    """

    def __init__(self, source: DataSource, *, keep_only: bool, strict: bool = False) -> None:
        self._source = source
        self._keep_only = keep_only and source.raw
        self._strict = strict
        self._places: dict[str, int] = {}
        self.passed_over: dict[str, int] = {}

    def __iter__(self) -> Iterator[Trajectory | Dropped]:
        """Each trajectory, or why it is not used.

        Raises:
            BadInput: there is nothing that can be read, or, if ``strict``, something that cannot;
                names file and line.
            Unavailable: a file cannot be read, or the extra that reads it is not installed.
        """
        files = [
            RecordFile(path, trajectories=True)
            for path in files_of(self._source, what="trajectories")
        ]
        self.passed_over = self._source.passed_over
        self._places.clear()
        first: Rejected | None = None
        rejected, found = 0, False
        for number, file in enumerate(files):
            for record in file.records():
                try:
                    yield self._one(record, number, files)
                    found = True
                except Rejected as error:
                    if self._strict:
                        error.where = place_shown(error.where)
                        raise
                    first = first or error
                    rejected += 1
                    found = found or error.reason in KNOWN_SESSIONS
                    yield dropped_of(error, record.name)
        if first is not None and not found:
            more = f"; nothing else of {rejected:,} can be read either" if rejected > 1 else ""
            where = place_shown(first.where)
            raise Rejected(first.reason, first.what + more, where=where, mend=first.mend)
        if not found:
            raise nothing_here("trajectories", str(self._source), self.passed_over)

    def _one(self, record: Record, number: int, files: list[RecordFile]) -> Trajectory | Dropped:
        if record.error is not None:
            raise record.error
        trajectory = record.trajectory
        if trajectory is None:
            where, name = record.where, record.name
            trajectory = trajectory_of(record.value, where, name, record.duplicates)
        place = number << 64 | record.line << 32 | record.item
        first = self._places.setdefault(trajectory.id, place)
        if first != place:
            told = files[first >> 64].where(first >> 32 & _LOW, first & _LOW)
            raise duplicate_id(trajectory.id, told, record.where)
        if self._keep_only and record.raw and not trajectory.keep:
            unkept = "keep is false" if "keep" in record.value else "it has no keep field"
            return Dropped(trajectory.id, "not_kept", unkept)
        return trajectory


#: The lower half of a place.
_LOW = (1 << 32) - 1


def dropped_of(error: Rejected, name: str) -> Dropped:
    """What cannot be read, as it is counted; the detail names file and line.

    Args:
        error: why.
        name: stands for the id where that is not known.
    """
    return Dropped(error.id or name, error.reason, str(error))


def load_trajectories(
    path: str | PathLike[str], *, keep_only: bool = True, strict: bool = False
) -> Loaded:
    """Read ``path``: a folder of ``.json``, ``.jsonl``, ``.parquet`` and ``.arrow`` files, one such
    file, or a folder that the library ``datasets`` saved.

    With ``keep_only``, raw recordings (``.json`` files of one session) whose ``keep`` is not true
    are skipped; the others are curated already and taken whole. What cannot be read is skipped too.

    Raises:
        BadInput: nothing can be read, or, if ``strict``, something cannot; names file and line.
        Unavailable: a file cannot be read, or the extra that reads it is not installed.
    """
    return load(Reading(DataSource(Path(path)), keep_only=keep_only, strict=strict))


def load_hub(name: str = "", *, split: str = "train", strict: bool = False) -> Loaded:
    """A split of a data set on the Hub, taken whole: what is published is curated.

    Args:
        name: ``owner/set``, or ``owner/set:config`` where the set has several; '' is the
            published corpus.
        split: the split to read.
        strict: raise an error at the first row that cannot be used.

    Raises:
        Unavailable: the extra is not installed, or the data set is neither reachable nor cached.
        BadInput: nothing can be read, or, if ``strict``, something cannot; names file and row.
    """
    return load(Reading(HubSource(name, split), keep_only=False, strict=strict))


class Counting:
    """Passes trajectories on, and counts what is dropped before and after they are rendered.

    Args:
        items: trajectories, and what the reader dropped.
        limit: only so many trajectories are passed on; 0 = all.

    Attributes:
        dropped: how many, by the reason.
        examples: the first of each reason, and what is wrong with it.
        notes: what the reader noted, with the number of trajectories.
    """

    def __init__(self, items: Iterable[Trajectory | Dropped], limit: int = 0) -> None:
        self._items = items
        self._limit = limit
        self.dropped: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.notes: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Trajectory]:
        passed = 0
        for item in self._items:
            if isinstance(item, Dropped):
                self.drop(item)
            elif not self._limit or passed < self._limit:
                passed += 1
                if item.notes:
                    add_notes(self.notes, item.notes)
                yield item

    def drop(self, item: Dropped) -> None:
        """Count one that is dropped."""
        self.dropped[item.reason] += 1
        if item.reason not in self.examples:
            detail = as_shown(item.detail)
            self.examples[item.reason] = f"{item.id}: {detail}" if detail else item.id


def load(reading: Reading) -> Loaded:
    """All of it at once."""
    taken: list[Trajectory] = []
    skipped: list[Dropped] = []
    for each in reading:
        if isinstance(each, Dropped):
            skipped.append(each)
        else:
            taken.append(each)
    return Loaded(
        trajectories=tuple(taken), skipped=tuple(skipped), passed_over=reading.passed_over
    )


def iter_trajectories(path: str | PathLike[str]) -> Iterator[Trajectory]:
    """All trajectories of ``path``, one at a time, whatever their ``keep``."""
    for each in Reading(DataSource(Path(path)), keep_only=False):
        if isinstance(each, Trajectory):
            yield each


def data_digest(trajectories: Iterable[Trajectory]) -> str:
    """A digest of the contents, the same for any order and any spread over files."""
    each = sorted(
        hashlib.sha256(
            json.dumps(trajectory.to_json(), sort_keys=True, default=str).encode()
        ).digest()
        for trajectory in trajectories
    )
    return hashlib.sha256(b"".join(each)).hexdigest()[:16]
