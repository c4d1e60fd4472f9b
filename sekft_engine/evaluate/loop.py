"""The operator loop: all live episodes of one subject, each going on as soon as it can.

While the operator thinks about some episodes, the worlds of others start, run a command or are
judged, on threads of their own. No episode waits for another, except for a place.
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

from sekft_engine.errors import Interrupted
from sekft_engine.evaluate.episode import Episode, Finished
from sekft_engine.evaluate.operator import Operator
from sekft_engine.trajectory import Turn


def run_episodes(
    episodes: Iterable[Episode],
    operator: Operator,
    *,
    rows: int,
    seed: int = 0,
    on_start: Callable[[Episode], None] = lambda _episode: None,
    on_turn: Callable[[Episode, int, Turn], None] = lambda _episode, _number, _turn: None,
    on_done: Callable[[Episode, Finished], None] = lambda _episode, _finished: None,
    between: Callable[[], None] = lambda: None,
) -> None:
    """Run ``episodes``, at most ``rows`` at a time.

    Args:
        on_start, on_turn, on_done: called on the calling thread as soon as something is known.
        between: called between steps of the operator.

    What goes wrong in one episode ends that episode, which becomes invalid. The loop ends where no
    episode could go on: by what ``operator.say`` or one of the callbacks raises, by an interrupt,
    or where there is no sandbox. Whatever ends it, no world is left behind.
    """
    waiting = deque(episodes)
    live: dict[str, Episode] = {}
    thinking: set[str] = set()
    told: dict[str, int] = {}
    worlds = _Worlds(rows)

    def tell(episode: Episode) -> None:
        for number in range(told.get(episode.key, 0), len(episode.turns)):
            on_turn(episode, number, episode.turns[number])
        told[episode.key] = len(episode.turns)

    try:
        while waiting or live:
            between()
            while waiting and len(live) < rows:
                episode = waiting.popleft()
                live[episode.key] = episode
                worlds.ask(episode, episode.open)
            for episode, answer in worlds.answers(wait=not thinking):
                if isinstance(answer, Finished):
                    on_done(episode, answer)
                    operator.close([episode.key])
                    del live[episode.key]
                    continue
                if episode.key not in told:
                    with _at_its_own_cost(episode):
                        operator.open(episode.key, episode_seed(seed, episode.trial))
                    on_start(episode)
                tell(episode)
                if answer is not None and not episode.over:
                    with _at_its_own_cost(episode):
                        operator.hear({episode.key: answer})
                        thinking.add(episode.key)
                if episode.over:
                    worlds.ask(episode, episode.finish)
            said = operator.say() if thinking else {}
            for key, words in said.items():
                if key in thinking:
                    worlds.ask(live[key], partial(live[key].type, words))
            thinking -= said.keys()
    finally:
        worlds.close()
        _close(live.values())


def _close(episodes: Iterable[Episode]) -> None:
    """One that cannot be closed keeps no other open."""
    with contextlib.ExitStack() as stack:
        for episode in episodes:
            stack.callback(episode.close)


@contextlib.contextmanager
def _at_its_own_cost(episode: Episode) -> Iterator[None]:
    """What the operator cannot do for one episode makes that one invalid."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - it costs this episode, not the run
        episode.fail(error)


def episode_seed(seed: int, trial: str) -> int:
    """The seed of an episode's draws: the same for every subject, so that they can be paired."""
    return crc32(f"{seed}:{trial}".encode())


#: What a world answers: an environment turn, None at the end of the session, or the verdict.
Answer = str | None | Finished


class _Worlds:
    """Lets worlds work side by side, and gives their answers as they come."""

    def __init__(self, rows: int) -> None:
        # Sandboxes mostly wait, but each start costs a core some time.
        hands = max(1, min(rows, 2 * (os.cpu_count() or 1)))
        self._pool = ThreadPoolExecutor(hands, thread_name_prefix="world")
        self._done: SimpleQueue[tuple[Episode, Future[Any]]] = SimpleQueue()

    def ask(self, episode: Episode, work: Callable[[], Answer]) -> None:
        future = self._pool.submit(work)
        future.add_done_callback(lambda done: self._done.put((episode, done)))

    def answers(self, *, wait: bool) -> Iterator[tuple[Episode, Answer]]:
        """What is there; with ``wait`` at least one answer."""
        while True:
            try:
                episode, done = self._done.get(block=wait)
            except Empty:
                return
            yield episode, done.result()
            wait = False

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
