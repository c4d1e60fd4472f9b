"""Whatever a template is asked to render, what is kept of it stays within bounds."""

from __future__ import annotations

import gc
import weakref

from sekft_engine.render.scaffold import Kept


class Thing:
    """Something that tells whether anyone still holds it."""


def test_what_is_kept_stays_within_so_many_turns_and_is_made_again() -> None:
    kept: Kept[int, Thing] = Kept(10)
    alive: weakref.WeakSet[Thing] = weakref.WeakSet()

    def thing() -> Thing:
        made = Thing()
        alive.add(made)
        return made

    first = kept.get(0, 4, thing)
    assert kept.get(0, 4, thing) is first
    for number in range(1, 50):
        kept.get(number, 4, thing)
        gc.collect()
        assert len(set(alive) - {first}) <= 2
    assert kept.get(0, 4, thing) is not first
    kept.forget()
    gc.collect()
    assert not set(alive) - {first}


def test_one_that_is_longer_than_the_bound_is_made_all_the_same() -> None:
    kept: Kept[int, Thing] = Kept(10)
    assert kept.get(0, 100, Thing) is kept.get(0, 100, Thing)
