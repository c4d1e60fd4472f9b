"""The trajectories of a path or of a Hub data set: in order, one at a time, or by id."""

from __future__ import annotations

from collections.abc import Iterator

from sekft_engine.core.errors import BadInput
from sekft_engine.data.dropped import Dropped
from sekft_engine.data.filters import Filter
from sekft_engine.data.published import refuse_two_sources
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources.index.facts import Facts
from sekft_engine.sources.index.index import open_index
from sekft_engine.sources.index.index_filter import IndexFilter


class Sessions:
    """What ``data`` (a path) or ``hub`` (the name of a data set) holds. It is indexed, and each
    trajectory read when it is asked for, so that any amount of them takes little memory.

    Raises:
        BadInput: neither or both are named, something in it is no trajectory, or an id occurs
            twice; names file and line.
        Unavailable: it cannot be read.
    """

    def __init__(self, data: str, hub: str) -> None:
        refuse_two_sources(data, hub)
        if not data and not hub:
            raise BadInput("no trajectories named", mend="name a file or folder with --data")
        self.where = data or hub
        index = open_index(hub=hub) if hub else open_index(data)
        self._index = index.read_all()
        for problem in self._index.problems:
            raise problem.error()

    def __len__(self) -> int:
        return len(self._index)

    def each(
        self, *, keep_only: bool, wanted: Filter | None = None
    ) -> Iterator[Trajectory | Dropped]:
        """All in order, or those that pass ``wanted`` as far as that is known before they are
        certified; with ``keep_only`` a raw recording that is not kept is only named."""
        for n in IndexFilter(wanted, self._index).rows() if wanted else range(len(self)):
            yield self._at(n, keep_only)

    def facts(self, identity: str) -> Facts | None:
        """The facts of the trajectory with this id; None if there is none."""
        n = self._index.find(identity)
        return None if n is None else self._index.facts(n)

    def find(self, identity: str, *, keep_only: bool = False) -> Trajectory | Dropped | None:
        """The trajectory with this id; None if there is none."""
        n = self._index.find(identity)
        return None if n is None else self._at(n, keep_only)

    def get(self, identity: str) -> Trajectory:
        """The trajectory with this id, whatever its ``keep``.

        Raises:
            BadInput: there is none.
        """
        found = self.find(identity)
        if found is None or isinstance(found, Dropped):
            raise BadInput(
                f"no trajectory has the id {identity!r}",
                where=self.where,
                mend="sekft mask lists the ids; other data are named with --data",
            )
        return found

    def _at(self, n: int, keep_only: bool) -> Trajectory | Dropped:
        if keep_only:
            facts = self._index.facts(n)
            if facts.left_out:
                return Dropped(facts.id, "not_kept", "keep is false or not there")
        return self._index.trajectory(n)
