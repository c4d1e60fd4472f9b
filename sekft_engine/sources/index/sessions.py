"""The trajectories of a path or of a Hub data set: in order, one at a time, or by id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sekft_engine.core.errors import BadInput
from sekft_engine.data.dropped import Dropped
from sekft_engine.data.filters import Filter
from sekft_engine.data.published import refuse_two_sources
from sekft_engine.data.read_report import KNOWN_SESSIONS, Rejected, add_notes
from sekft_engine.data.reasons import place_shown
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.sources.index.facts import Facts, Problem
from sekft_engine.sources.index.index import Index, open_index
from sekft_engine.sources.index.index_filter import IndexFilter, late_of
from sekft_engine.sources.read.source import nothing_here


class Sessions:
    """What ``data`` (a path) or ``hub`` (the name of a data set) holds. It is indexed, and each
    trajectory read when it is asked for, so that any amount of them takes little memory.

    Args:
        data: a path.
        hub: the name of a data set.
        strict: raise an error where something cannot be used, instead of dropping it.

    Attributes:
        notes: what the reader noted of the trajectories that were read so far, with their number.
        passed_over: files of the folder that are not read, by their endings.

    Raises:
        BadInput: neither or both are named, or nothing in it can be read; names file and line.
        Unavailable: it cannot be read.
    """

    def __init__(self, data: str, hub: str, *, strict: bool = False) -> None:
        refuse_two_sources(data, hub)
        if not data and not hub:
            raise BadInput("no trajectories named", mend="name a file or folder with --data")
        self.where = data or hub
        index = open_index(hub=hub) if hub else open_index(data)
        self._index = index.read_all()
        self._strict = strict
        self.notes: Counter[str] = Counter()
        self.passed_over = self._index.passed_over
        refuse_unusable(self._index, strict=strict)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def alone(self) -> bool:
        """Whether there is one trajectory and nothing else."""
        return len(self) == 1 and not self._index.problems

    def each(
        self, *, keep_only: bool, wanted: Filter | None = None
    ) -> Iterator[Trajectory | Dropped]:
        """All in order, or those that pass ``wanted`` as far as that is known before they are
        certified; then what could not be read. With ``keep_only`` a raw recording that is not kept
        is only named."""
        for n in IndexFilter(wanted, self._index).rows() if wanted else range(len(self)):
            yield self._at(n, keep_only)
        if not wanted or wanted == late_of(wanted):  # nothing else is known of what is not read
            yield from self._unread()

    def facts(self, identity: str) -> Facts | None:
        """The facts of the trajectory with this id; None if there is none."""
        n = self._index.find(identity)
        return None if n is None else self._index.facts(n)

    def find(self, identity: str, *, keep_only: bool = False) -> Trajectory | Dropped | None:
        """The trajectory with this id, or why it could not be read; None if there is none."""
        n = self._index.find(identity)
        if n is not None:
            return self._at(n, keep_only)
        return next((each for each in self._unread() if each.id == identity), None)

    def get(self, identity: str) -> Trajectory:
        """The trajectory with this id, whatever its ``keep``.

        Raises:
            BadInput: there is none.
        """
        found = self.find(identity)
        if isinstance(found, Dropped):
            raise BadInput(f"dropped as {found.reason}: {found.detail}", where=identity)
        if found is None:
            raise BadInput(
                f"no trajectory has the id {identity!r}",
                where=self.where,
                mend="sekft mask lists the ids; other data are named with --data",
            )
        return found

    def _at(self, n: int, keep_only: bool) -> Trajectory | Dropped:
        facts = self._index.facts(n) if keep_only else None
        if facts is not None and facts.left_out:
            return Dropped(facts.id, "not_kept", "keep is false or not there")
        try:
            trajectory = self._index.trajectory(n)
        except Rejected as error:
            if self._strict:
                error.where = place_shown(error.where)
                raise
            return Dropped(self._index.facts(n).id, error.reason, str(error))
        add_notes(self.notes, trajectory.notes)
        return trajectory

    def _unread(self) -> Iterator[Dropped]:
        counts = Counter(self._index.dropped)
        for problem in self._index.problems:
            if counts[problem.dropped]:
                counts[problem.dropped] -= 1
                yield dropped_of_problem(problem)
        for reason in counts.elements():  # of very many, the first ones are listed
            yield Dropped("", reason)


def dropped_of_problem(problem: Problem) -> Dropped:
    """A problem of an index as training counts it; the detail names file and line."""
    return Dropped(problem.name, problem.dropped, str(problem))


def refuse_unusable(index: Index, *, strict: bool = False) -> None:
    """Raise the error that training raises of what is read to its end.

    Raises:
        BadInput: there is nothing that can be read, or, if ``strict``, something that cannot.
    """
    problems = index.problems
    for problem in problems:
        if strict or problem.reason == "unreadable":
            raise problem.error()
    if len(index) or index.skipped:
        return
    if not problems:
        raise nothing_here("trajectories", str(index.source), index.passed_over)
    if KNOWN_SESSIONS.isdisjoint(index.dropped):
        error = problems[0].error()
        count = sum(index.dropped.values())
        if count > 1:
            error.what += f"; nothing else of {count:,} can be read either"
        raise error
