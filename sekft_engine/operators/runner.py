"""The operator loop: runs all episodes of one subject, each as fast as it can.

While the operator works on some episodes, the worlds of others start, run a command or are judged,
on threads of their own. No episode waits for another, except for a free row.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from zlib import crc32

from sekft_engine.core.errors import Interrupted
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.episode import Episode, FinishedEpisode
from sekft_engine.operators.operator import Operator, WritesLive
from sekft_engine.work.board import Phase


def run_episodes(
    episodes: Iterable[Episode],
    operator: Operator,
    *,
    rows: int,
    seed: int = 0,
    on_start: Callable[[Episode], None] = lambda _episode: None,
    on_turn: Callable[[Episode, int, Turn], None] = lambda _episode, _number, _turn: None,
    on_done: Callable[[Episode, FinishedEpisode], None] = lambda _episode, _finished: None,
    between: Callable[[], None] = lambda: None,
    show: Callable[[Episode, Phase, str], None] = lambda _episode, _phase, _text: None,
    watched: Callable[[], bool] = lambda: False,
) -> None:
    """Run ``episodes``, at most ``rows`` at a time.

    An error in one episode makes that episode invalid. Whatever ends the loop, no world is left
    behind.

    Args:
        operator: types in all of them.
        rows: most episodes that are open at once.
        seed: the seed of the eval; each episode's own follows from it, see :func:`episode_seed`.
        on_start, on_turn, on_done: called on the calling thread when an episode starts, has a new
            turn (its number and the turn), and is finished.
        between: called between steps of the operator.
        show: takes what is at work in an episode, and what is written of its command so far,
            while it is ``watched``.

    Raises:
        Interrupted: ``between`` or the operator was asked to stop.
        Unavailable: this machine has no sandbox.
        Exception: whatever else ``operator.poll`` or a callback raises.
    """
    waiting = deque(episodes)
    live: dict[str, Episode] = {}
    thinking: set[str] = set()
    reported: dict[str, int] = {}
    worlds = _Worlds(rows)
    shown = _Shown(show, watched, operator)

    def report(episode: Episode) -> None:
        for number in range(reported.get(episode.key, 0), len(episode.turns)):
            on_turn(episode, number, episode.turns[number])
        reported[episode.key] = len(episode.turns)

    try:
        while waiting or live:
            between()
            while waiting and len(live) < rows:
                episode = waiting.popleft()
                live[episode.key] = episode
                worlds.ask(episode, episode.open)
            for episode, answer in worlds.answers(wait=not thinking):
                if isinstance(answer, FinishedEpisode):
                    shown.at(episode, "")
                    on_done(episode, answer)
                    operator.close([episode.key])
                    del live[episode.key]
                    continue
                if episode.key not in reported:
                    with _isolated(episode):
                        operator.open(episode.key, episode_seed(seed, episode.trial))
                    on_start(episode)
                report(episode)
                if answer is not None and not episode.over:
                    with _isolated(episode):
                        operator.observe({episode.key: answer})
                        thinking.add(episode.key)
                if episode.over:
                    worlds.ask(episode, episode.finish)
            answers = operator.poll() if thinking else {}
            for key, turn in answers.items():
                if key in thinking:
                    worlds.ask(live[key], partial(live[key].type, turn))
                    shown.at(live[key], "runs", turn.text)
            thinking -= answers.keys()
            shown.writing(live[key] for key in thinking)
    finally:
        worlds.close()
        _close(live.values())


class _Shown:
    """Shows what is written in episodes, while someone watches."""

    def __init__(
        self,
        show: Callable[[Episode, Phase, str], None],
        watched: Callable[[], bool],
        operator: Operator,
    ) -> None:
        self._show, self._watched = show, watched
        self._operator = operator if isinstance(operator, WritesLive) else None

    def at(self, episode: Episode, phase: Phase, text: str = "") -> None:
        if self._watched():
            self._show(episode, phase, text)

    def writing(self, episodes: Iterable[Episode]) -> None:
        """Show how far the turns of these episodes are."""
        if self._operator is None or not self._watched():
            return
        for episode in episodes:
            text = self._operator.written(episode.key)
            self._show(episode, "types" if text else "thinks", text)


def _close(episodes: Iterable[Episode]) -> None:
    """Close all of them, also where closing one fails."""
    with contextlib.ExitStack() as stack:
        for episode in episodes:
            stack.callback(episode.close)


@contextlib.contextmanager
def _isolated(episode: Episode) -> Iterator[None]:
    """Let an error of the operator make this episode invalid, and go no further."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - it costs this episode, not the run
        episode.fail(error)


def episode_seed(seed: int, trial: str) -> int:
    """The seed of an episode's draws: the same for every subject, so that trials are paired."""
    return crc32(f"{seed}:{trial}".encode())


#: What comes of a world's work: an environment turn, None at the session's end, or the verdict.
Answer = str | None | FinishedEpisode


class _Worlds:
    """Runs the work of several worlds on threads, and gives the results as they come."""

    def __init__(self, rows: int) -> None:
        # Sandboxes mostly wait, but each start takes some time of a core.
        hands = max(1, min(rows, 2 * (os.cpu_count() or 1)))
        self._pool = ThreadPoolExecutor(hands, thread_name_prefix="world")
        self._done: SimpleQueue[tuple[Episode, Future[Any]]] = SimpleQueue()

    def ask(self, episode: Episode, work: Callable[[], Answer]) -> None:
        future = self._pool.submit(work)
        future.add_done_callback(lambda done: self._done.put((episode, done)))

    def answers(self, *, wait: bool) -> Iterator[tuple[Episode, Answer]]:
        """The results that are there; with ``wait`` at least one."""
        while True:
            try:
                episode, done = self._done.get(block=wait)
            except Empty:
                return
            yield episode, done.result()
            wait = False

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
