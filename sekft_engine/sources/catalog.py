"""The catalogue: facts and places of all trajectories of an index, a few tens of bytes for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sekft_engine.sources.columns import Numbers, Rows, Strings, Words
from sekft_engine.sources.facts import CLEAN, KEEP, OUTCOMES, VERIFIED, Facts, Known, Problem
from sekft_engine.sources.record import twice

ROW = np.dtype(
    [
        ("file", "u4"),
        ("line", "u4"),  # from 1 in a .jsonl, 0 in a .json, the row's number in a table
        ("offset", "u8"),
        ("length", "u8"),
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
#: The scenario's code where its name is the trajectory's own id.
_SAME = 0xFFFFFFFF
#: Problems that are kept; beyond, they are only counted.
KEPT_PROBLEMS = 10_000
_WORDS = ("archetype", "provider", "announcement")
_FLAGS = {"verified": VERIFIED, "keep": KEEP, "clean": CLEAN}

Numeric = NDArray[np.int64] | NDArray[np.bool_]
#: file, line, offset and length in bytes
Place = tuple[int, int, int, int]


class Catalogue:
    """Rows are added in batches; what was added is seen after :meth:`flush`.

    Args:
        where: tells a person a place by the numbers of its file and line.
        raw: whether the file of a number holds a raw recording.
    """

    def __init__(self, where: Callable[[int, int], str], raw: Callable[[int], bool]) -> None:
        self._where = where
        self._raw = raw
        self._rows = Rows(ROW)
        self._ids = Strings()
        self._numbers = Numbers()
        self._words = {name: Words() for name in ("scenario", *_WORDS)}
        self._batch: list[tuple[Place, Known]] = []
        self._batch_ids: dict[str, int] = {}
        self.problems: list[tuple[int, int, Problem]] = []  # file, line
        self.uncounted: dict[int, int] = {}  # how many more by file

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays and buffers."""
        words = sum(words.nbytes for words in self._words.values())
        return self._rows.nbytes + self._ids.nbytes + self._numbers.nbytes + words

    @property
    def more_problems(self) -> int:
        """Problems beyond those that are kept."""
        return sum(self.uncounted.values())

    @property
    def waiting(self) -> int:
        """Rows that the next :meth:`flush` brings."""
        return len(self._batch)

    # --- growing ------------------------------------------------------------------------------

    def add(self, place: Place, known: Known) -> None:
        """One more trajectory, unless its id is known: that becomes a problem."""
        first = self._batch_ids.setdefault(known.id, len(self._batch))
        if first < len(self._batch):
            self._twice(place, known.id, self._batch[first][0])
        else:
            self._batch.append((place, known))

    def problem(self, file: int, line: int, problem: Problem) -> None:
        """What stands at a place and is no trajectory."""
        if len(self.problems) < KEPT_PROBLEMS:
            self.problems.append((file, line, problem))
        else:
            self.uncounted[file] = self.uncounted.get(file, 0) + 1

    def flush(self) -> None:
        batch, self._batch, self._batch_ids = self._batch, [], {}
        if not batch:
            return
        hashes = np.array([hash(known.id) for _, known in batch], np.int64)
        for n in np.flatnonzero(self._numbers.first(hashes) >= 0)[::-1].tolist():
            place, known = batch[n]
            first = self.find(known.id)
            if first is not None:
                self._twice(place, known.id, self.place(first))
                del batch[n]
                hashes = np.delete(hashes, n)
        start = len(self._rows)
        records = np.array([self._record(place, known) for place, known in batch], ROW)
        if batch:  # found by its id as soon as it is there
            self._numbers.add(hashes, np.arange(start, start + len(batch), dtype=np.uint32))
        self._rows.extend(records)

    def _record(self, place: Place, known: Known) -> tuple[int, ...]:
        same = known.scenario == known.id
        return (
            *place,
            *self._ids.add(known.id),
            _SAME if same else self._words["scenario"].code(known.scenario),
            self._words["archetype"].code(known.archetype),
            self._words["provider"].code(known.provider),
            self._words["announcement"].code(known.announcement),
            known.steps,
            known.turns,
            known.characters,
            known.outcome,
            known.flags,
        )

    def _twice(self, place: Place, identity: str, first: Place) -> None:
        error = twice(identity, self._where(*first[:2]), self._where(*place[:2]))
        self.problem(place[0], place[1], Problem.of(error, "twice"))

    def overwrite(self, row: int, place: Place, known: Known) -> None:
        """Give the row that has this id already new facts and a new place."""
        self._rows.view[row] = np.array([self._record(place, known)], ROW)[0]

    def has(self, file: int) -> bool:
        """Whether any row stands in ``file``."""
        return bool((self._rows.view["file"] == file).any())

    def forget(self, file: int, *, offset: int = -1) -> None:
        """Take out the rows of a file, or only the one at ``offset``."""
        rows = self._rows.view
        out = rows["file"] == file
        if offset >= 0:
            out &= rows["offset"] == offset
        if out.any():
            self._numbers.renumber(np.where(out, -1, np.cumsum(~out) - 1))
            self._rows.keep(~out)

    def forget_problems(self, file: int) -> None:
        self.problems = [each for each in self.problems if each[0] != file]
        self.uncounted.pop(file, None)

    def files_with(self, reason: str) -> set[int]:
        """The files that have a problem of this name."""
        return {file for file, _, problem in self.problems if problem.reason == reason}

    # --- leaving and coming back ----------------------------------------------------------------

    def left(self) -> dict[str, Any]:
        """The columns, to be brought back by :meth:`restore`."""
        return {
            "rows": self._rows.left(),
            "ids": self._ids.left(),
            "words": {name: words.left() for name, words in self._words.items()},
        }

    def restore(self, left: dict[str, Any]) -> None:
        for name, words in left["words"].items():
            self._words[name].restore(*words)
        self._ids.restore(left["ids"])
        rows = np.frombuffer(left["rows"], ROW)
        places = zip(rows["id_at"].tolist(), rows["id_length"].tolist(), strict=True)
        hashes = np.fromiter((hash(self._ids.get(*place)) for place in places), np.int64, len(rows))
        self._numbers.add(hashes, np.arange(len(rows), dtype=np.uint32))
        self._rows.restore(left["rows"])

    # --- looking up ---------------------------------------------------------------------------

    def place(self, row: int) -> Place:
        file, line, offset, length, *_ = self._rows.item(row)
        return file, line, offset, length

    def rows_of(self, file: int) -> NDArray[np.int64]:
        """The numbers of the rows that stand in ``file``."""
        return np.flatnonzero(self._rows.view["file"] == file)

    def id(self, row: int) -> str:
        record = self._rows.view[row]
        return self._ids.get(int(record["id_at"]), int(record["id_length"]))

    def look(self, row: int) -> tuple[Place, Known]:
        """Place and facts of a row, both as they were at one instant."""
        values: tuple[int, ...] = self._rows.item(row)
        id_at, id_length, scenario, archetype, provider, announcement = values[4:10]
        name = self._ids.get(id_at, id_length)
        words = self._words
        known = Known(
            name,
            name if scenario == _SAME else words["scenario"][scenario],
            words["archetype"][archetype],
            words["provider"][provider],
            words["announcement"][announcement],
            values[13],
            values[10],
            values[11],
            values[12],
            values[14],
        )
        return (values[0], values[1], values[2], values[3]), known

    def facts(self, row: int) -> Facts:
        (file, line, *_), known = self.look(row)
        name, scenario, archetype, provider, announcement, outcome, steps, turns, size, flags = (
            known
        )
        return Facts(
            id=name,
            where=self._where(file, line),
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
            raw=self._raw(file),
        )

    def find(self, identity: str) -> int | None:
        """The row of this id."""
        for row in self._numbers.rows(hash(identity)):
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
            same = codes == _SAME
            words = np.append(self._words[name].mask(wanted), False)
            found = words[np.where(same, len(words) - 1, codes)]
            for n in np.flatnonzero(same).tolist():
                found[n] = wanted(self.id(n))
        else:
            found = self._words[name].mask(wanted)[rows[name]]
        return found
