"""Index: any amount of trajectories, found and filtered without being kept in memory.

An index is read on with :meth:`Index.advance` and looks for what is new with :meth:`Index.refresh`;
one thread at a time does either, while others look at the rows there are. Rows stand in the order
of their files' names and lines; what turns up later stands at the end, in that order again.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources.index import saved
from sekft_engine.sources.index.facts import Facts, Problem, facts_of
from sekft_engine.sources.index.file_table import SKIPPED
from sekft_engine.sources.index.scan import Scan
from sekft_engine.sources.index.search import Search
from sekft_engine.sources.index.session_table import SessionTable
from sekft_engine.sources.index.trajectory_reader import TrajectoryReader
from sekft_engine.sources.index.watcher import FileWatcher
from sekft_engine.sources.read.source import DataSource, HubSource

#: How many trajectories are cached after they were read, and their characters in all.
CACHED, CACHED_CHARACTERS = 64, 32_000_000


#: What a name on the Hub begins with where a path could stand.
HUB = "hub:"


def open_index(
    path: str | PathLike[str] = "", *, hub: str | None = None, keep_only: bool = False
) -> Index:
    """An index over a folder or a file. Returns at once; nothing is read yet.

    Args:
        path: a folder, a file, or ``hub:owner/set[:config]``.
        hub: a data set on the Hub instead; '' is the published corpus. It is looked for, and
            fetched unless it is cached, with the first :meth:`Index.advance`; what goes wrong
            with that is in ``problems``.
        keep_only: raw recordings whose ``keep`` is not true have no row, as in training.

    Raises:
        BadInput: there is nothing at ``path``, or nothing that holds trajectories.
        Unavailable: no permission.
    """
    if hub is None and str(path).startswith(HUB):
        hub = str(path).removeprefix(HUB)
    if hub is not None:
        return Index(HubSource(hub), keep_only=keep_only)
    return Index(DataSource(Path(path).expanduser()), keep_only=keep_only)


class Index:
    """The trajectories of one source, by number."""

    def __init__(self, source: DataSource, *, keep_only: bool = False) -> None:
        self.source = source
        self._lock = threading.Lock()
        self._scan = Scan(source, keep_only=keep_only)
        self._watcher = FileWatcher(self._scan)
        self._begun = False
        self._spent = 0.0  # seconds of reading since the index was saved
        self._reader = TrajectoryReader()
        self._cache: OrderedDict[int, Trajectory] = OrderedDict()
        self._cached_characters = 0
        self._cache_generation = 0
        self._cache_lock = threading.Lock()

    @property
    def _sessions(self) -> SessionTable:
        return self._scan.sessions

    def __len__(self) -> int:
        """How many are indexed so far."""
        return len(self._sessions)

    @property
    def complete(self) -> bool:
        """Nothing is left to read, as far as the last look at the disk goes."""
        return self._scan.complete

    @property
    def generation(self) -> int:
        """Raised just before a row's number or its facts change; new rows do not count."""
        return self._scan.generation

    @property
    def nbytes(self) -> int:
        """Bytes that the index takes in memory, without the few cached trajectories."""
        return self._sessions.nbytes + self._scan.files.nbytes

    @property
    def problems(self) -> Sequence[Problem]:
        """What cannot be used, with file and line; everything else is indexed. After the first
        thousands they are only counted, in the last one."""
        return self._scan.problems

    @property
    def passed_over(self) -> dict[str, int]:
        """Files of the folder that are not read, by their endings."""
        return self.source.passed_over

    @property
    def dropped(self) -> dict[str, int]:
        """How many cannot be used, by the reasons under which training counts them."""
        return self._scan.dropped

    @property
    def skipped(self) -> int:
        """How many raw recordings are left out because their ``keep`` is not true."""
        return int(np.count_nonzero(self._scan.files.states == SKIPPED))

    # --- growing ------------------------------------------------------------------------------

    def advance(self, seconds: float = 0.05) -> bool:
        """Read on for about ``seconds``; true while more is left."""
        with self._lock:
            begun = time.monotonic()
            if not self._begun:
                self._begun = True
                if self.source.watched and saved.restore(self._scan):
                    return self._watcher.refresh(everywhere=True)
            more = self._scan.advance(begun + seconds)
            self._spent += time.monotonic() - begun
            self._save()
            return more

    def refresh(self) -> bool:
        """Look for new, grown, changed and vanished files; true when anything changed or is left
        to read. Costs next to nothing when nothing did."""
        with self._lock:
            changed = self._watcher.refresh()
            self._save()
            return changed

    def _save(self) -> None:
        if self._spent >= saved.MIN_SECONDS and self.source.watched and saved.save(self._scan):
            self._spent = 0.0

    def read_all(self) -> Index:
        """Read to the end, and take what is there for finished."""
        while self.advance(1.0):
            pass
        self.refresh()
        return self

    # --- looking ------------------------------------------------------------------------------

    def facts(self, n: int) -> Facts:
        """The facts of row ``n``; IndexError beyond the end."""
        return self._sessions.facts(self._number(n))

    def find(self, identity: str) -> int | None:
        """The row with this id."""
        return self._sessions.find(identity)

    def column(self, name: str) -> NDArray[np.int64] | NDArray[np.bool_]:
        """``steps``, ``turns`` or ``characters`` (int64), or ``verified``, ``keep`` or ``clean``
        (bool) of all rows, to filter or sort them at once."""
        return self._sessions.column(name)

    def codes(self, name: str) -> tuple[NDArray[np.int64], Sequence[str]]:
        """Of ``archetype``, ``provider``, ``announcement`` or ``outcome`` the code of each row, and
        the words by their codes; a word may have two."""
        return self._sessions.codes(name)

    def order(self, name: str) -> NDArray[np.int64]:
        """All rows sorted by ``id``, or by a field of :meth:`column` or :meth:`codes`.

        The case of letters does not matter, and equal rows stay in the order of their numbers.
        Other threads are not held up meanwhile.
        """
        return self._sessions.order(name)

    def mask(self, name: str, wanted: Callable[[str], bool]) -> NDArray[np.bool_]:
        """Which rows have a ``wanted`` word as their ``id``, ``scenario``, ``archetype``,
        ``provider``, ``announcement`` or ``outcome``; each different word is asked for once."""
        return self._sessions.mask(name, wanted)

    def trajectory(self, n: int) -> Trajectory:
        """Row ``n`` as it stands on disk.

        Raises:
            BadInput: the file no longer holds there what was indexed; names file and line.
            Unavailable: the file cannot be read any more.
        """
        n = self._number(n)
        with self._cache_lock:
            if self._cache_generation != self.generation:
                self._cache_generation = self.generation
                self._cache.clear()
                self._cached_characters = 0
            found = self._cache.get(n)
            if found is not None:
                self._cache.move_to_end(n)
                return found
            generation = self._cache_generation
        read, characters = self._read(n)
        with self._cache_lock:
            if generation == self._cache_generation and n not in self._cache:
                self._cache[n] = read
                self._cached_characters += characters
                while len(self._cache) > CACHED or self._cached_characters > CACHED_CHARACTERS:
                    _, old = self._cache.popitem(last=False)
                    self._cached_characters -= facts_of(old).characters
        return read

    def _read(self, n: int) -> tuple[Trajectory, int]:
        place, expected = self._sessions.look(n)
        where = self._sessions.where(place)
        try:
            read = self._reader.trajectory(self._scan.path(place[0]), place)
            facts = facts_of(read)
        except BadInput as error:
            if self._scan.unchanged(place[0]):
                raise
            raise BadInput(
                f"changed on disk since it was indexed: {error.what}",
                where=error.where,
                mend="reload the data",
            ) from error
        if facts != expected:
            raise BadInput(
                "changed on disk since it was indexed", where=where, mend="reload the data"
            )
        return read, facts.characters

    def text(self, n: int) -> str:
        """The contents of all turns of row ``n``, a line end between two, in lower case: what
        :meth:`search` looks through. Errors are those of :meth:`trajectory`."""
        place, facts = self._sessions.look(self._number(n))
        texts = self._reader.texts(self._scan.path(place[0]), place, facts.id)
        if texts is None:
            texts = [turn.content for turn in self._read(n)[0].turns]
        return "\n".join(texts).lower()

    def search(
        self, needle: str, start: int = 0, step: int = 1, only: NDArray[np.bool_] | None = None
    ) -> Search:
        """Look for ``needle`` in the contents, whatever its case, from row ``start`` on; with a
        negative ``step`` backwards, with ``only`` in the rows that it marks."""
        return Search(self, needle, start, step, only)

    def places(self, first: int, last: int) -> NDArray[np.void]:
        """Where rows ``first`` to ``last`` (excluded) stand: ``file``, ``line``, ``offset`` and
        ``length`` (bytes), among others."""
        return self._sessions.places()[first:last]

    def path_of(self, n: int) -> Path:
        """The file in which row ``n`` stands."""
        return self._scan.path(self._sessions.place(n)[0])

    def _number(self, n: int) -> int:
        if not 0 <= n < len(self):
            raise IndexError(f"row {n} of {len(self)}")
        return n
