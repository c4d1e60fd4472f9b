"""The operator loop: lockstep waves over all live episodes of one subject.

A wave is one command turn of every live episode, decoded together; then the worlds run the commands
side by side, finished episodes are judged, and waiting ones take the free places.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from typing import TypeVar
from zlib import crc32

from sekft_engine.evaluate.episode import Episode, Finished
from sekft_engine.evaluate.operator import Operator
from sekft_engine.trajectory import Turn

Result = TypeVar("Result")


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
        between: called between waves; what it raises ends the loop.

    Whatever ends the loop, no world is left behind.
    """
    waiting = deque(episodes)
    live: dict[str, Episode] = {}
    shown: dict[str, str] = {}
    told: dict[str, int] = {}

    def tell(episode: Episode) -> None:
        for number in range(told.get(episode.key, 0), len(episode.turns)):
            on_turn(episode, number, episode.turns[number])
        told[episode.key] = len(episode.turns)

    pool = ThreadPoolExecutor(max_workers=_hands(rows), thread_name_prefix="world")
    try:
        while waiting or live:
            between()
            fresh = [waiting.popleft() for _ in range(min(rows - len(live), len(waiting)))]
            live |= {episode.key: episode for episode in fresh}
            ended: list[Episode] = []
            logins = dict(_each(pool, {one: one.open for one in fresh}))
            # The order of rows must not depend on which sandbox answered first.
            for episode in fresh:
                operator.open(episode.key, episode_seed(seed, episode.trial))
                on_start(episode)
                tell(episode)
                _sort(episode, logins[episode], shown, ended)
            said = operator.act(shown) if shown else {}
            typing = {live[key]: partial(live[key].type, said[key]) for key in shown}
            shown = {}
            for episode, answer in _each(pool, typing):
                tell(episode)
                _sort(episode, answer, shown, ended)
            for episode, finished in _each(pool, {one: one.finish for one in ended}):
                on_done(episode, finished)
                del live[episode.key]
            operator.close([episode.key for episode in ended])
            shown = {key: shown[key] for key in live}
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for episode in live.values():
            episode.close()


def episode_seed(seed: int, trial: str) -> int:
    """The seed of an episode's draws: the same for every subject, so that they can be paired."""
    return crc32(f"{seed}:{trial}".encode())


def _sort(episode: Episode, text: str | None, shown: dict[str, str], ended: list[Episode]) -> None:
    if text is None:
        ended.append(episode)
    else:
        shown[episode.key] = text


def _each(
    pool: ThreadPoolExecutor, work: Mapping[Episode, Callable[[], Result]]
) -> Iterable[tuple[Episode, Result]]:
    """Run ``work`` side by side, giving results as they come."""
    futures: dict[Future[Result], Episode] = {
        pool.submit(call): episode for episode, call in work.items()
    }
    for future in as_completed(futures):
        yield futures[future], future.result()


def _hands(rows: int) -> int:
    """Worlds at work at once: sandboxes mostly wait, but each start costs a core some time."""
    return max(1, min(rows, 2 * (os.cpu_count() or 1)))
