"""A row as the trainer needs it: ids, and the positions whose next token is trained."""

from __future__ import annotations

import msgspec
import numpy as np

from sekft_engine.render import Row
from sekft_engine.render.rows.row import IntArray


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


def train_row(row: Row) -> TrainRow:
    """The row as its certificate says: the commands and what closes them are trained."""
    end = row.spans[-1].end
    at = np.flatnonzero(row.trained[:end]) - 1
    return TrainRow(id=row.id, ids=row.ids[:end], at=at.astype(np.int32))
