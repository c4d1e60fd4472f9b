"""The session table: facts and places of all trajectories of an index, some tens of bytes each."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sekft_engine.data.trajectory import OUTCOMES
from sekft_engine.sources.index.columns import HashIndex, RecordArray, StringBuffer, WordTable
from sekft_engine.sources.index.facts import (
    CLEAN,
    KEEP,
    VERIFIED,
    Facts,
    FactTuple,
    Problem,
)
from sekft_engine.sources.read.parse import duplicate_id

ROW = np.dtype(
    [
        ("file", "u4"),
        ("line", "u4"),  # from 1; 0 = the whole file; the row's number in a table
        ("offset", "u8"),
        ("length", "u8"),
        ("item", "u4"),  # from 1 where several values stand on a line or in a list
        ("id_at", "u8"),
        ("id_length", "u4"),
        ("scenario", "u4"),
        ("archetype", "u4"),
        ("provider", "u4"),
        ("announcement", "u4"),
        ("steps", "i4"),
        ("turns", "u4"),
        ("characters", "u8"),
        ("outcome", "u1"),
        ("flags", "u1"),
    ]
)
#: The code of a scenario with the same name as the trajectory.
_SAME_AS_ID = 0xFFFFFFFF
#: Problems that are stored; further ones are only counted.
MAX_PROBLEMS = 10_000
_WORDS = ("archetype", "provider", "announcement")
_FLAGS = {"verified": VERIFIED, "keep": KEEP, "clean": CLEAN}

Numeric = NDArray[np.int64] | NDArray[np.bool_]


class Place(NamedTuple):
    """Where a trajectory stands: its file by number, its line (0 = the whole file) or row, offset
    and length in bytes, and its number among several values on the line (0 = it is alone)."""

    file: int
    line: int
    offset: int
    length: int
    item: int = 0


class SessionTable:
    """Rows are added in batches and visible after :meth:`flush`.

    Args:
        where: names a place for a person, from the numbers of its file, line and item.
        raw: whether what stands on a line of a file is a raw recording.
    """

    def __init__(
        self, where: Callable[[int, int, int], str], raw: Callable[[int, int], bool]
    ) -> None:
        self._where = where
        self._raw = raw
        self._rows = RecordArray(ROW)
        self._ids = StringBuffer()
        self._known_ids = HashIndex()
        self._unhashed = False
        self._hashing = threading.Lock()
        self._words = {name: WordTable() for name in ("scenario", *_WORDS)}
        self._batch: list[tuple[Place, FactTuple]] = []
        self._batch_ids: dict[str, int] = {}
        self.problems: list[tuple[int, int, Problem]] = []  # file, line
        self.uncounted: dict[int, dict[str, int]] = {}  # how many more, by file and reason

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays and buffers."""
        words = sum(words.nbytes for words in self._words.values())
        return self._rows.nbytes + self._ids.nbytes + self._known_ids.nbytes + words

    @property
    def more_problems(self) -> int:
        """How many problems are counted but not stored."""
        return sum(sum(reasons.values()) for reasons in self.uncounted.values())

    @property
    def waiting(self) -> int:
        """How many rows the next :meth:`flush` adds."""
        return len(self._batch)

    # --- growing ------------------------------------------------------------------------------

    def add(self, place: Place, facts: FactTuple) -> None:
        """One more trajectory, unless its id is known: that becomes a problem."""
        first = self._batch_ids.setdefault(facts.id, len(self._batch))
        if first < len(self._batch):
            self._add_duplicate(place, facts.id, self._batch[first][0])
        else:
            self._batch.append((place, facts))

    def problem(self, file: int, line: int, problem: Problem) -> None:
        """Record that what is at a place is no trajectory."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append((file, line, problem))
        else:
            reasons = self.uncounted.setdefault(file, {})
            reasons[problem.dropped] = reasons.get(problem.dropped, 0) + 1

    def flush(self) -> None:
        batch, self._batch, self._batch_ids = self._batch, [], {}
        if not batch:
            return
        hashes = np.array([hash(facts.id) for _, facts in batch], np.int64)
        for n in np.flatnonzero(self._id_index.first(hashes) >= 0)[::-1].tolist():
            place, facts = batch[n]
            first = self.find(facts.id)
            if first is not None:
                self._add_duplicate(place, facts.id, self.place(first))
                del batch[n]
                hashes = np.delete(hashes, n)
        start = len(self._rows)
        records = np.array([self._record(place, facts) for place, facts in batch], ROW)
        if batch:  # found by its id as soon as it is there
            self._id_index.add(hashes, np.arange(start, start + len(batch), dtype=np.uint32))
        self._rows.extend(records)

    def _record(self, place: Place, facts: FactTuple) -> tuple[int, ...]:
        same = facts.scenario == facts.id
        return (
            *place,
            *self._ids.add(facts.id),
            _SAME_AS_ID if same else self._words["scenario"].code(facts.scenario),
            self._words["archetype"].code(facts.archetype),
            self._words["provider"].code(facts.provider),
            self._words["announcement"].code(facts.announcement),
            facts.steps,
            facts.turns,
            facts.characters,
            facts.outcome,
            facts.flags,
        )

    def _add_duplicate(self, place: Place, identity: str, first: Place) -> None:
        error = duplicate_id(identity, self.where(first), self.where(place))
        self.problem(place.file, place.line, Problem.of(error, "twice", identity))

    def where(self, place: Place) -> str:
        """The place as a person is told it."""
        return self._where(place.file, place.line, place.item)

    def overwrite(self, row: int, place: Place, facts: FactTuple) -> None:
        """Give the row that has this id already new facts and a new place."""
        self._rows.view[row] = np.array([self._record(place, facts)], ROW)[0]

    def has(self, file: int) -> bool:
        """Whether any row stands in ``file``."""
        return bool((self._rows.view["file"] == file).any())

    def forget(self, file: int, *, since: int = 0) -> None:
        """Remove the rows of a file, or only those from the offset ``since`` on."""
        rows = self._rows.view
        out = (rows["file"] == file) & (rows["offset"] >= since)
        if out.any():
            self._id_index.renumber(np.where(out, -1, np.cumsum(~out) - 1))
            self._rows.retain(~out)

    def forget_problems(self, file: int, line: int = -1) -> None:
        """Remove the problems of a file, or only those of a line."""
        self.problems = [
            each for each in self.problems if each[0] != file or line not in (-1, each[1])
        ]
        if line < 0:
            self.uncounted.pop(file, None)

    def files_with(self, reason: str) -> set[int]:
        """The files that have a problem of this name."""
        return {file for file, _, problem in self.problems if problem.reason == reason}

    # --- saving and loading ----------------------------------------------------------------

    def dump_state(self) -> dict[str, Any]:
        """The columns, for :meth:`load_state`."""
        return {
            "rows": self._rows.dump_state(),
            "ids": self._ids.dump_state(),
            "words": {name: words.dump_state() for name, words in self._words.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        for name, words in state["words"].items():
            self._words[name].load_state(*words)
        self._ids.load_state(state["ids"])
        self._rows.load_state(state["rows"])
        self._unhashed = True

    @property
    def _id_index(self) -> HashIndex:
        """From the hash of an id to its rows. After loading it is made when it is first needed: it
        takes longer than all the rest, and showing and filtering rows do without."""
        if self._unhashed:
            with self._hashing:
                if self._unhashed:
                    self._hash_ids()
                    self._unhashed = False
        return self._known_ids

    def _hash_ids(self) -> None:
        rows = self._rows.view
        places = zip(rows["id_at"].tolist(), rows["id_length"].tolist(), strict=True)
        hashes = np.fromiter((hash(self._ids.get(*place)) for place in places), np.int64, len(rows))
        if len(rows):
            self._known_ids.add(hashes, np.arange(len(rows), dtype=np.uint32))

    # --- looking up ---------------------------------------------------------------------------

    def place(self, row: int) -> Place:
        return Place(*self._rows.item(row)[:5])

    def rows_of(self, file: int) -> NDArray[np.int64]:
        """The numbers of the rows that stand in ``file``."""
        return np.flatnonzero(self._rows.view["file"] == file)

    def id(self, row: int) -> str:
        record = self._rows.view[row]
        return self._ids.get(int(record["id_at"]), int(record["id_length"]))

    def look(self, row: int) -> tuple[Place, FactTuple]:
        """Place and facts of a row, both as they were at one instant."""
        values: tuple[int, ...] = self._rows.item(row)
        id_at, id_length, scenario, archetype, provider, announcement = values[5:11]
        name = self._ids.get(id_at, id_length)
        words = self._words
        facts = FactTuple(
            name,
            name if scenario == _SAME_AS_ID else words["scenario"][scenario],
            words["archetype"][archetype],
            words["provider"][provider],
            words["announcement"][announcement],
            values[14],
            values[11],
            values[12],
            values[13],
            values[15],
        )
        return Place(*values[:5]), facts

    def facts(self, row: int) -> Facts:
        place, facts = self.look(row)
        name, scenario, archetype, provider, announcement, outcome, steps, turns, size, flags = (
            facts
        )
        return Facts(
            id=name,
            where=self.where(place),
            scenario=scenario,
            archetype=archetype,
            provider=provider,
            announcement=announcement,
            outcome=OUTCOMES[outcome],
            steps=steps,
            turns=turns,
            characters=size,
            verified=bool(flags & VERIFIED),
            keep=bool(flags & KEEP),
            clean=bool(flags & CLEAN),
            raw=self._raw(place.file, place.line),
        )

    def find(self, identity: str) -> int | None:
        """The row of this id."""
        for row in self._id_index.rows(hash(identity)):
            if row < len(self._rows) and self.id(row) == identity:
                return row
        return None

    def places(self) -> NDArray[np.void]:
        """All rows, as :data:`ROW`; not to be written to."""
        return self._rows.view

    def column(self, name: str) -> Numeric:
        """``steps``, ``turns``, ``characters``, or the flags ``verified``, ``keep``, ``clean``."""
        rows = self._rows.view
        column: Numeric
        if name in _FLAGS:
            column = (rows["flags"] & _FLAGS[name]) != 0
        else:
            column = rows[name].astype(np.int64)
        return column

    def codes(self, name: str) -> tuple[NDArray[np.int64], list[str]]:
        """Of a field of few words (``archetype``, ``provider``, ``announcement``, ``outcome``) each
        row's code, and the words by their codes."""
        rows = self._rows.view
        if name == "outcome":
            return rows[name].astype(np.int64), list(OUTCOMES)
        words = self._words[name]
        codes: NDArray[np.int64] = rows[name].astype(np.int64)
        return codes, [words[code] for code in range(len(words))]

    def order(self, name: str) -> NDArray[np.int64]:
        """The rows sorted by ``id``, or by a field of :meth:`column` or :meth:`codes`; equal ones
        stay in the order of their numbers."""
        rows = self._rows.view
        if name == "id":
            return self._ids.order(rows["id_at"].astype(np.int64), rows["id_length"])
        if name != "outcome" and name not in _WORDS:
            return np.argsort(self.column(name), kind="stable")
        codes, words = self.codes(name)
        texts = StringBuffer()
        places = np.array([texts.add(word) for word in words], np.int64).reshape(-1, 2)
        ranks = np.empty(len(words), np.int64)
        ranks[texts.order(places[:, 0], places[:, 1])] = np.arange(len(words))
        return np.argsort(ranks[codes], kind="stable")

    def mask(self, name: str, wanted: Callable[[str], bool]) -> NDArray[np.bool_]:
        """Which rows have a ``wanted`` word; each different word is asked for once."""
        rows = self._rows.view
        found: NDArray[np.bool_]
        if name == "id":
            found = np.fromiter((wanted(self.id(n)) for n in range(len(rows))), bool, len(rows))
        elif name == "outcome":
            found = np.array([wanted(word) for word in OUTCOMES])[rows["outcome"]]
        elif name == "scenario":
            codes = rows[name]
            same = codes == _SAME_AS_ID
            words = np.append(self._words[name].mask(wanted), False)
            found = words[np.where(same, len(words) - 1, codes)]
            for n in np.flatnonzero(same).tolist():
                found[n] = wanted(self.id(n))
        else:
            found = self._words[name].mask(wanted)[rows[name]]
        return found
