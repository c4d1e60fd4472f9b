"""Build rows from trajectories, and split them into training and held-out rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from sekft_engine.core.errors import BadInput
from sekft_engine.data.published import refuse_two_sources
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render import ChatTokenizer, Dropped
from sekft_engine.render.bulk.cache import cached_rows
from sekft_engine.sources.read.source import DataSource, HubSource
from sekft_engine.sources.read.trajectories import Counting, Reading
from sekft_engine.training.trainer.ablation import ablated
from sekft_engine.training.trainer.train_row import TrainRow, train_row

__all__ = [
    "Data",
    "TrainRow",
    "choose_heldout",
    "load_data",
    "read_data",
    "refuse_nothing",
    "train_row",
]


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Training rows, held-out rows, and what was counted on the way to them.

    ``dropped`` counts trajectories by the reason, and ``examples`` has the first of each. ``notes``
    counts those in which something was read in another form, or is not used, and ``passed_over``
    files of the folder that are not read. ``digest`` is over the rows in any order, ``order`` over
    their order, on which the plan of steps depends.
    """

    train: tuple[TrainRow, ...]
    heldout: tuple[TrainRow, ...]
    dropped: dict[str, int]
    digest: str
    order: str
    examples: dict[str, str] = {}
    notes: dict[str, int] = {}
    passed_over: dict[str, int] = {}
    untrained_commands: int = 0

    @property
    def tokens(self) -> int:
        return sum(len(row) for row in self.train)

    @property
    def trained_tokens(self) -> int:
        return sum(row.trained for row in self.train)


def read_data(data: str, hub: str, *, strict: bool = False) -> Reading:
    """The trajectories in the file or folder ``data``, or of the Hub data set ``hub``, to be read
    one after another.

    Args:
        data: a path.
        hub: the name of a data set.
        strict: raise an error at the first that cannot be used, instead of dropping it.
    """
    refuse_two_sources(data, hub)
    if not data and not hub:
        raise BadInput("no trajectories named", mend="name a file or folder with --data")
    source = HubSource(hub) if hub else DataSource(Path(data).expanduser())
    return Reading(source, keep_only=True, strict=strict)


def refuse_nothing(data: str, hub: str) -> None:
    """Raise the error of :func:`load_data` where there is nothing to read, before anything else is
    done; what there is is read up to the first trajectory."""
    any(isinstance(item, Trajectory) for item in read_data(data, hub))


def load_data(
    data: str,
    hub: str,
    tokenizer: ChatTokenizer,
    recipe: Recipe,
    report: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    strict: bool = False,
) -> Data:
    """Read, render, certify and split; raises :class:`BadInput` if no row is left, or, if
    ``strict``, at the first trajectory that cannot be read."""
    reading = read_data(data, hub, strict=strict)
    counting = Counting(reading, recipe.limit)
    rows = []
    untrained = 0
    whole = recipe.ablation == "none"
    for number, row in enumerate(cached_rows(counting, tokenizer, max_length=recipe.max_length), 1):
        if isinstance(row, Dropped):
            counting.drop(row)
        else:
            rows.append(train_row(row) if whole else ablated(row, recipe.ablation, tokenizer))
            untrained += row.certificate.untrained_commands
        if number % 256 == 0:
            report(number, 0)  # how many there are is known when all are read
    if not rows:
        dropped = counting.dropped.items()
        why = ", ".join(f"{count} {reason}" for reason, count in dropped)
        raise BadInput(
            f"no trajectory can be trained on ({why or 'there are none'})",
            where=data or hub,
            mend="sekft train --inspect shows more",
        )
    heldout = choose_heldout(len(rows), recipe)
    return Data(
        train=tuple(row for number, row in enumerate(rows) if number not in heldout),
        heldout=tuple(row for number, row in enumerate(rows) if number in heldout),
        dropped=dict(counting.dropped),
        digest=_digest(rows),
        order=_order(rows),
        examples=counting.examples,
        notes=dict(counting.notes.most_common()),
        passed_over=reading.passed_over,
        untrained_commands=untrained,
    )


def choose_heldout(count: int, recipe: Recipe) -> frozenset[int]:
    """Which of ``count`` rows are held out: the recipe's share, by its seed, never all."""
    size = min(round(count * recipe.heldout), count - 1)
    chosen = np.random.default_rng([recipe.seed, 1]).permutation(count)[:size]
    return frozenset(int(number) for number in chosen)


def _digest(rows: list[TrainRow]) -> str:
    total = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.id):
        total.update(row.id.encode(errors="replace"))
        total.update(row.ids.tobytes())
        total.update(row.at.tobytes())
    return total.hexdigest()


def _order(rows: list[TrainRow]) -> str:
    names = "\n".join(row.id for row in rows)
    return hashlib.sha256(names.encode(errors="replace")).hexdigest()[:16]
