"""Two rows are the same row: every array, its type, and everything else."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sekft_engine.render import Dropped, Row

ARRAYS = ("ids", "ends", "turn_of", "content", "control", "trained", "labels")
FIELDS = tuple(name for name in Row.__struct_fields__ if name not in ARRAYS)


def assert_same(one: Row | Dropped, other: Row | Dropped) -> None:
    if isinstance(one, Dropped) or isinstance(other, Dropped):
        assert one == other
        return
    for name in ARRAYS:
        left, right = getattr(one, name), getattr(other, name)
        assert left.dtype == right.dtype, name
        assert np.array_equal(left, right), name
    for array in (other.ids, other.ends, other.turn_of, other.content, other.control):
        assert not array.flags.writeable
    for name in FIELDS:
        assert getattr(one, name) == getattr(other, name), name


def assert_all_same(ones: Iterable[Row | Dropped], others: Iterable[Row | Dropped]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert_same(one, other)
