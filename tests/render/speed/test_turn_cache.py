"""Whatever a template is asked to render, what is cached of it stays within bounds."""

from __future__ import annotations

import gc
import weakref

from sekft_engine.render.template.scaffold import TurnCache


class Thing:
    """Something that tells whether anyone still holds it."""


def test_what_is_cached_stays_within_so_many_turns_and_is_made_again() -> None:
    cache: TurnCache[int, Thing] = TurnCache(10)
    alive: weakref.WeakSet[Thing] = weakref.WeakSet()

    def thing() -> Thing:
        made = Thing()
        alive.add(made)
        return made

    first = cache.get(0, 4, thing)
    assert cache.get(0, 4, thing) is first
    for number in range(1, 50):
        cache.get(number, 4, thing)
        gc.collect()
        assert len(set(alive) - {first}) <= 2
    assert cache.get(0, 4, thing) is not first
    cache.clear()
    gc.collect()
    assert not set(alive) - {first}


def test_one_that_is_longer_than_the_bound_is_made_all_the_same() -> None:
    cache: TurnCache[int, Thing] = TurnCache(10)
    assert cache.get(0, 100, Thing) is cache.get(0, 100, Thing)
