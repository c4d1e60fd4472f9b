"""Build rows in several processes, where that is faster than in one.

With few cores it is not: one process keeps two cores busy, as the tokenizer cuts one batch while
Python finishes the one before. With many cores Python is the bottleneck, and each further process
adds the work of one core, less the cost of sending sessions and unpacking rows.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

from sekft_engine.data.dropped import Dropped
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render.bulk.pack import NormalisedSession, unpack
from sekft_engine.render.bulk.worker import Worker
from sekft_engine.render.rows.row import Row
from sekft_engine.render.template.normalise import Refused, normalize_for_template
from sekft_engine.render.template.tokenizer import ChatTokenizer

#: Fewer cores than this are busy with one process; more processes than this are never used.
_MIN_CORES, _MAX_PROCESSES = 4, 12
#: A process takes a second to start; with fewer sessions than this it would not pay.
MIN_SESSIONS = 4_000


def choose_processes(asked: int | None) -> int:
    """How many processes to use for :data:`MIN_SESSIONS` or more; None = what is fastest here."""
    if asked is not None:
        return max(1, asked)
    cores = len(os.sched_getaffinity(0))
    return 1 if cores < _MIN_CORES else min(cores - 1, _MAX_PROCESSES)


class Pool:
    """Worker processes for one tokenizer; they start at once.

    Args:
        tokenizer: rows are built with it.
        processes: how many to start.
    """

    def __init__(self, tokenizer: ChatTokenizer, processes: int) -> None:
        self._tokenizer = tokenizer
        self._processes = processes
        self._threads = ThreadPoolExecutor(processes, "rows")
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        self._workers = [Worker(tokenizer) for _ in range(processes)]
        for worker in self._workers:
            self._idle.put(worker)

    def rows(
        self, batches: Iterable[list[Trajectory]]
    ) -> Iterator[tuple[Trajectory, Row | Dropped | None]]:
        """Each trajectory, in order, with its row; None where this process has to build it."""
        waiting: deque[tuple[list[Trajectory], list[NormalisedSession | None], Future[_Packed]]] = (
            deque()
        )
        for batch in batches:
            sources = [_normalised(trajectory) for trajectory in batch]
            sent = [source.contents for source in sources if source is not None]
            waiting.append((batch, sources, self._threads.submit(self._build, sent)))
            if len(waiting) > 2 * self._processes:
                yield from self._unpacked(*waiting.popleft())
        while waiting:
            yield from self._unpacked(*waiting.popleft())

    def _build(self, sessions: list[list[str]]) -> _Packed:
        worker = self._idle.get()
        try:
            return worker.build(sessions) or [None] * len(sessions)
        finally:
            self._idle.put(worker)

    def _unpacked(
        self,
        batch: list[Trajectory],
        sources: list[NormalisedSession | None],
        future: Future[_Packed],
    ) -> Iterator[tuple[Trajectory, Row | Dropped | None]]:
        packed = iter(future.result())
        for trajectory, source in zip(batch, sources, strict=True):
            data = None if source is None else next(packed)
            if data is None or source is None:
                yield trajectory, None
                continue
            try:
                yield trajectory, self._complete(data, source)
            except (ValueError, Refused):
                yield trajectory, None

    def _complete(self, data: bytes, source: NormalisedSession) -> Row | Dropped:
        tokenizer = self._tokenizer
        if data[:1] == b"\0":  # what was dropped needs no layout, and may have none
            return unpack(data, source, None, tokenizer.render_digest)
        layout = tokenizer.layouts.get(len(source.turns), tokenizer.guard)
        return unpack(data, source, layout, tokenizer.render_digest)

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.close()
        self._threads.shutdown(cancel_futures=True)


_Packed = list[bytes | None]


def _normalised(trajectory: Trajectory) -> NormalisedSession | None:
    """What is sent; None for what is refused before it is rendered, or cannot be encoded."""
    try:
        turns = normalize_for_template(trajectory.turns)
        contents = [turn.content for turn in turns]
        "".join(contents).encode()
    except (Refused, UnicodeEncodeError):
        return None
    return NormalisedSession(trajectory, turns, contents)
