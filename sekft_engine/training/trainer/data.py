"""Build rows from trajectories, and split them into training and held-out rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from sekft_engine.core.errors import BadInput
from sekft_engine.data.published import refuse_two_sources
from sekft_engine.data.recipe import Recipe
from sekft_engine.render import ChatTokenizer, Dropped, Row
from sekft_engine.render.bulk.cache import cached_rows
from sekft_engine.render.rows.row import IntArray
from sekft_engine.sources import Loaded, load_hub, load_trajectories


class TrainRow(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A row as the trainer needs it, cut after the last trained token.

    The cut changes no loss, since attention is causal. ``at`` are the positions whose next token
    is trained.
    """

    id: str
    ids: IntArray
    at: IntArray

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def trained(self) -> int:
        return len(self.at)


class Data(msgspec.Struct, frozen=True, kw_only=True):
    """Training rows, held-out rows, and the number of dropped trajectories by reason.

    ``digest`` is over the rows in any order, ``order`` over their order, on which the plan of steps
    depends.
    """

    train: tuple[TrainRow, ...]
    heldout: tuple[TrainRow, ...]
    dropped: dict[str, int]
    digest: str
    order: str

    @property
    def tokens(self) -> int:
        return sum(len(row) for row in self.train)

    @property
    def trained_tokens(self) -> int:
        return sum(row.trained for row in self.train)


def read_data(data: str, hub: str) -> Loaded:
    """The trajectories in the file or folder ``data``, or of the Hub data set ``hub``."""
    refuse_two_sources(data, hub)
    if not data and not hub:
        raise BadInput("no trajectories named", mend="name a file or folder with --data")
    return load_hub(hub) if hub else load_trajectories(Path(data).expanduser())


def limited(loaded: Loaded, limit: int) -> Loaded:
    """The first ``limit`` trajectories; 0 = all."""
    if not limit:
        return loaded
    return msgspec.structs.replace(loaded, trajectories=loaded.trajectories[:limit])


def load_data(
    data: str,
    hub: str,
    tokenizer: ChatTokenizer,
    recipe: Recipe,
    report: Callable[[int, int], None] = lambda _done, _total: None,
) -> Data:
    """Read, render, certify and split; raises :class:`BadInput` if no row is left."""
    loaded = limited(read_data(data, hub), recipe.limit)
    dropped = Counter(row.reason for row in loaded.skipped)
    trajectories = loaded.trajectories
    rows = []
    for number, row in enumerate(
        cached_rows(trajectories, tokenizer, max_length=recipe.max_length), 1
    ):
        if isinstance(row, Dropped):
            dropped[row.reason] += 1
        else:
            rows.append(train_row(row))
        if number % 256 == 0:
            report(number, len(trajectories))
    if not rows:
        why = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise BadInput(
            f"no trajectory can be trained on ({why or 'there are none'})",
            where=data or hub,
            mend="sekft train --inspect shows more",
        )
    heldout = choose_heldout(len(rows), recipe)
    return Data(
        train=tuple(row for number, row in enumerate(rows) if number not in heldout),
        heldout=tuple(row for number, row in enumerate(rows) if number in heldout),
        dropped=dict(dropped),
        digest=_digest(rows),
        order=_order(rows),
    )


def train_row(row: Row) -> TrainRow:
    end = row.spans[-1].end
    at = np.flatnonzero(row.trained[:end]) - 1
    return TrainRow(id=row.id, ids=row.ids[:end], at=at.astype(np.int32))


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
