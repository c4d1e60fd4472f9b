"""The rows of Runs: what is on disk, filtered, sorted, and runs of a sweep below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sekft_engine.data import filters
from sekft_engine.data.filters import FilterField
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.results import SweepResult
from sekft_engine.records.runs import RunInfo
from sekft_engine.records.trainings import TrainResult
from sekft_engine.records.upkeep.run_notes import RunNotes
from sekft_tui.model.runs.summary import summary
from sekft_tui.panes.runs.run_groups import grouped

HINT = "words -not kind:eval status:done tag:… adapter:yes loss<1.5 steps>100"
KINDS = ("train", "eval", "sweep", "experiment", "improve", "shell")
STATUSES = ("running", "done", "failed", "stopped", "died")
#: The status of a run that is about to be resumed.
PREPARING = "preparing"
RUN = filters.fields(
    FilterField("id", "its id"),
    FilterField("kind", "what it is", choices=KINDS),
    FilterField("status", "how far it is", choices=(PREPARING, *STATUSES)),
    FilterField("title", "the title that somebody gave it"),
    FilterField("tag", "a tag that somebody gave it", aliases=("tags",)),
    FilterField("adapter", "whether it has an adapter", "yes"),
    FilterField("steps", "training steps", "number"),
    FilterField("loss", "the held-out loss, else the last one", "number", example="<1.5"),
    FilterField("clean", "episodes that ended clean, of its best model", "number"),
)
#: What rows can be sorted by, in the order in which one key goes through them.
ORDERS = ("newest", "name", "kind", "status", "loss", "clean termination")


class Row(NamedTuple):
    """A run, or a folder that cannot be read as one (``run`` is None).

    Attributes:
        folder: where it lies.
        run: what its manifest says.
        notes: what somebody wrote about it.
        why: why it cannot be read.
        step: the last step of a training run that has no result.
        depth: how many runs it is part of.
        name: what it adds to the id of the run that it is part of.
        whole: the id of the outermost of them.
    """

    folder: Path
    run: RunInfo | None
    notes: RunNotes = RunNotes()
    why: str = ""
    step: str = ""
    depth: int = 0
    name: str = ""
    whole: str = ""

    @property
    def id(self) -> str:
        return self.run.id if self.run is not None else self.folder.name

    @property
    def title(self) -> str:
        return self.notes.title or self.id

    @property
    def listed(self) -> str:
        """What it is called in the list: below a sweep or an experiment, what it adds to its id."""
        return self.notes.title or self.name or self.id

    @property
    def result(self) -> str:
        """Its result; of a run that has none, how far it came."""
        return (summary(self.run) or self.step) if self.run is not None else ""

    @property
    def short_result(self) -> str:
        """The result without the beginning that the ids of all parts of one run share."""
        return self.result.replace(f"{self.whole}-", "") if self.depth else self.result


class Rows:
    """All rows of a workspace, and those that are shown, in one of :data:`ORDERS`."""

    def __init__(self, order: str) -> None:
        self.all: tuple[Row, ...] = ()
        self.unreadable = 0
        self.shown: list[Row] = []
        self.filter = ""
        self._order = order

    def put(self, rows: tuple[Row, ...], resuming: str = "") -> bool:
        """Show these rows; whether they differ from those before.

        Args:
            resuming: the folder of the run that the engine's job resumes; its manifest says so
                only after base and data are read.
        """
        before = self.all
        self.all = tuple(_as_preparing(row) if _is_in(row, resuming) else row for row in rows)
        if before == self.all:
            return False
        self.unreadable = sum(row.run is None for row in rows)
        self.arrange()
        return True

    def arrange(self) -> None:
        """Filter and sort again; of a filter that is being typed, as far as it is whole."""
        wanted = filters.parse(self.filter, RUN, typing=True)
        rows = [row for row in self.all if _matches(wanted, row)]
        key = _KEYS[self._order]
        readable = [row for row in rows if row.run is not None]
        # Newest first where the order leaves it open: ids grow with time.
        readable.sort(key=lambda row: row.folder.name, reverse=True)
        readable.sort(key=key)
        self.shown = [
            *(_tree(reversed(readable)) if self._order == ORDERS[0] else readable),
            *(row for row in rows if row.run is None),
        ]

    def sort(self, order: str) -> None:
        """Show them in another order."""
        self._order = order
        self.arrange()

    def position(self, name: str) -> int | None:
        """Where the run with this id is shown; None = nowhere."""
        return next((y for y, row in enumerate(self.shown) if row.id == name), None)


def _is_in(row: Row, folder: str) -> bool:
    return bool(folder) and row.folder == Path(folder)


def _as_preparing(row: Row) -> Row:
    if row.run is None or row.run.status in ("running", "done"):
        return row
    return row._replace(run=msgspec.structs.replace(row.run, status=PREPARING, error=""))


def _tree(rows: Iterable[Row]) -> list[Row]:
    """The rows, oldest first, as :func:`grouped` lists them: the parts of a run follow it."""
    by_path = {row.run.path: row for row in rows if row.run is not None}
    listed = grouped([row.run for row in by_path.values() if row.run is not None])
    return [
        by_path[each.run.path]._replace(depth=each.depth, name=each.name, whole=each.whole)
        for each in listed
    ]


def _matches(wanted: filters.Filter, row: Row) -> bool:
    return filters.matches(wanted, lambda field: _value(row, field), lambda: text_of(row))


def text_of(row: Row) -> str:
    """What words of a filter and a search look into, in lower case."""
    notes, run = row.notes, row.run
    said = [row.id, notes.title, notes.note, _tags(notes), row.why]
    if run is not None:
        said += [run.kind, run.status, run.name, row.result]
    return " ".join(said).lower()


def _tags(notes: RunNotes) -> str:
    """The tags as the list shows them, so that they are found as they are read."""
    return " ".join(f"#{tag}" for tag in notes.tags)


def _value(row: Row, field: str) -> filters.Value:
    run = row.run
    match field:
        case "id":
            return row.id
        case "title":
            return row.notes.title
        case "tag":
            return _tags(row.notes)
        case "loss":
            return loss_of(run)
        case "clean":
            return clean_of(run)
    if run is None:
        return None
    match field:
        case "adapter":
            return bool(run.adapter)
        case "steps":
            return run.result.steps if isinstance(run.result, TrainResult) else None
        case _:
            found: str = getattr(run, field)
            return found


def loss_of(run: RunInfo | None) -> float | None:
    """The held-out loss of a training run, else its last one; of a sweep its points' lowest."""
    match run.result if run is not None else None:
        case TrainResult(loss=loss):
            return loss.heldout if loss.heldout is not None else loss.last
        case SweepResult(points=points):
            known = (point.loss if point.heldout is None else point.heldout for point in points)
            return min((value for value in known if value is not None), default=None)
    return None


def clean_of(run: RunInfo | None) -> int | None:
    """How often the best subject of an eval ended clean."""
    if run is not None and isinstance(run.result, EvalResult) and run.result.subjects:
        return max(subject.clean_termination for subject in run.result.subjects)
    return None


def _low(value: float | None) -> float:
    """For sorting: what has no value comes last."""
    return value if value is not None and value == value else float("inf")  # NaN is not itself


_KEYS: Mapping[str, Callable[[Row], Any]] = {
    "newest": lambda _: 0,
    "name": lambda row: row.title.lower(),
    "kind": lambda row: row.run.kind if row.run is not None else "",
    "status": lambda row: row.run.status if row.run is not None else "",
    "loss": lambda row: _low(loss_of(row.run)),
    "clean termination": lambda row: -(clean_of(row.run) or 0),
}
