"""Rows of many trajectories: from this process, or from several where that pays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice

from sekft_engine.data.dropped import Dropped
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render.bulk.pool import MIN_SESSIONS, Pool, choose_processes
from sekft_engine.render.rows.build import batches, build_here, build_row
from sekft_engine.render.rows.finish import limited
from sekft_engine.render.rows.row import Row
from sekft_engine.render.template.tokenizer import ChatTokenizer


def build_rows(
    trajectories: Iterable[Trajectory],
    tokenizer: ChatTokenizer,
    *,
    max_length: int = 0,
    processes: int | None = None,
) -> Iterator[Row | Dropped]:
    """:func:`build_row` for many, in order and lazily.

    Args:
        trajectories: sessions.
        tokenizer: the base's.
        max_length: the most tokens a row may have; 0 = any number.
        processes: build in so many processes besides this one; 1 = in this one alone, None = what
            is fastest for the number of cores and, after the first thousands, of trajectories.
    """
    with Builder(tokenizer, processes) as builder:
        for built in builder.rows(trajectories):
            yield limited(built, max_length)


class Builder:
    """Builds rows of any length, batch after batch. To be used in a ``with`` block: worker
    processes run until its end.

    Args:
        tokenizer: the base's.
        processes: as for :func:`build_rows`.
    """

    def __init__(self, tokenizer: ChatTokenizer, processes: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._processes = choose_processes(processes)
        # How many rows to build here before processes are started.
        self._before = MIN_SESSIONS if processes is None else 0
        self._pool: Pool | None = None

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.close()

    def rows(self, trajectories: Iterable[Trajectory]) -> Iterator[Row | Dropped]:
        """The row of each, in order and lazily."""
        if self._processes == 1:
            yield from build_here(trajectories, self._tokenizer)
            return
        source = iter(trajectories)
        for built in build_here(islice(source, self._before), self._tokenizer):
            self._before -= 1
            yield built
        for first in source:
            if self._pool is None:
                self._pool = Pool(self._tokenizer, self._processes)
            for trajectory, row in self._pool.rows(batches(chain((first,), source))):
                yield build_row(trajectory, self._tokenizer) if row is None else row
