"""Requests that come and go get what they would get alone, and memory has a bound."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.data.recipe import Recipe
from sekft_engine.model.kernels.mixed_lora import MixedLora
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.caching import PIECE, CachingDecoder
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.mixing import acting
from tests.evaluation.operators.test_mixed import strengthen

STOP, ROWS = 2, 4


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> ResidentBase:
    import torch

    torch.set_num_threads(1)
    base = ResidentBase.load(tiny_base)
    for number, name in enumerate(("one", "two")):
        base.new_adapter(name, Recipe(rank=2))
        strengthen(base, name, number)
    base.activate(None)
    return base


def decoder(base: ResidentBase, rows: int = ROWS) -> CachingDecoder:
    return CachingDecoder(base.model, rows=rows, stop_ids=[STOP], mixing=MixedLora(base.model))


def alone(base: ResidentBase, name: str | None, ids: list[int], count: int) -> tuple[int, ...]:
    single = BatchedDecoder(base.model, stop_ids=[STOP], mixing=MixedLora(base.model))
    single.add("row", acting=acting(base, name))
    return single.turns({"row": ids}, {"row": count})["row"].ids


@pytest.mark.parametrize("seed", range(3))
def test_sessions_that_grow_branch_and_repeat(base: ResidentBase, seed: int) -> None:
    """Any order of requests: new ones, longer ones, ones cut back, some given up half-way."""
    draw = random.Random(seed)
    sessions = [[draw.randrange(3, 900) for _ in range(draw.randrange(1, 60))] for _ in range(3)]
    caching = decoder(base)
    open_: dict[str, tuple[str | None, list[int], int]] = {}
    answered, shared = 0, 0
    for number in range(60):
        while len(open_) < draw.randrange(1, ROWS + 1):
            ids = list(draw.choice(sessions))
            if draw.random() < 0.3:
                ids = ids[: draw.randrange(1, len(ids) + 1)]
            key, name = f"{number}-{len(open_)}", draw.choice([None, "one", "two"])
            room = draw.randrange(1, 6)
            caching.add(key, acting=acting(base, name))
            caching.feed(key, ids, room)
            open_[key] = (name, ids, room)
        for key, turn in caching.step().items():
            name, ids, room = open_.pop(key)
            assert turn.ids == alone(base, name, ids, room)
            sessions.append([*ids, *turn.ids, draw.randrange(3, 900)])
            shared += caching.shared(key)
            caching.retire(key)
            answered += 1
        if open_ and draw.random() < 0.1:
            left = draw.choice(list(open_))
            del open_[left]
            caching.retire(left)
        assert caching._cache.keys[0].shape[0] <= ROWS
    assert answered > 20
    assert shared > 100


def test_a_long_prompt_goes_in_pieces_while_others_go_on(base: ResidentBase) -> None:
    caching = decoder(base)
    long = [(7 * at * at + 3) % 900 + 3 for at in range(3 * PIECE + 10)]
    caching.add("short", acting=acting(base, "one"))
    caching.feed("short", [5, 6, 7], 50)
    caching.step()
    caching.add("long", acting=acting(base, "two"))
    caching.feed("long", long, 3)
    steps, done = 0, {}
    while "long" not in done:
        before, fed = len(caching.sampled("short").ids), caching.fed
        done = caching.step()
        steps += 1
        assert caching.fed - fed <= PIECE + 2
        assert len(caching.sampled("short").ids) == before + 1
    assert steps >= 4 + 2
    assert done["long"].ids == alone(base, "two", long, 3)


def test_a_scored_prompt_takes_nothing_over_and_others_take_it_over(base: ResidentBase) -> None:
    ids = [(5 * at * at + 3) % 900 + 3 for at in range(40)]
    caching = decoder(base)
    found: list[Any] = []
    for number in range(2):
        caching.add(str(number), acting=acting(base, None))
        caching.score(str(number), ids, 0, 2)
        assert set(caching.step()) == {str(number)}
        found.append(caching.scored(str(number)))
        assert caching.shared(str(number)) == 0
        caching.retire(str(number))
    assert found[0].logprobs == pytest.approx(found[1].logprobs, abs=1e-5)
    assert len(found[0].logprobs) == len(found[0].likeliest) == 39
    caching.add("after", acting=acting(base, None))
    turn = caching.turns({"after": ids}, {"after": 4})["after"]
    assert caching.shared("after") > 30
    assert turn.ids == alone(base, None, ids, 4)
