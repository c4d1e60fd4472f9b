"""Which rows make up which step."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.data.recipe import Recipe
from sekft_engine.training.trainer.batches import (
    MAX_OVERHEAD,
    halves,
    learning_rate,
    plan_steps,
    split_rows,
)
from sekft_engine.training.trainer.data import Data, TrainRow, choose_heldout


def test_every_pass_visits_every_trajectory_once_in_a_new_order() -> None:
    plan = plan_steps(10, Recipe(batch=4, epochs=2))
    assert [len(step) for step in plan] == [4, 4, 4, 4, 4]
    order = [row for step in plan for row in step]
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]


def test_part_of_a_pass_and_a_limit_of_steps_are_kept_to() -> None:
    assert [len(step) for step in plan_steps(10, Recipe(batch=4, epochs=0.5))] == [4, 1]
    assert len(plan_steps(10, Recipe(batch=4, epochs=3, max_steps=2))) == 2
    assert len(plan_steps(1, Recipe(batch=8, epochs=0.1))) == 1
    whole = plan_steps(10, Recipe(batch=4, epochs=3))
    assert plan_steps(10, Recipe(batch=4, epochs=1e5, max_steps=7)) == whole[:7]


def test_the_same_seed_gives_the_same_order_and_the_same_rows_kept_aside() -> None:
    recipe = Recipe(seed=3)
    assert plan_steps(50, recipe) == plan_steps(50, recipe)
    assert plan_steps(50, recipe) != plan_steps(50, Recipe(seed=4))
    assert choose_heldout(50, recipe) == choose_heldout(50, recipe)
    assert len(choose_heldout(50, msgspec.structs.replace(recipe, heldout=0.2))) == 10
    assert len(choose_heldout(1, msgspec.structs.replace(recipe, heldout=0.9))) == 0


def test_rows_of_similar_length_go_together(data: Data) -> None:
    groups = split_rows(data.train, 5)
    lengths = [len(row) for group in groups for row in group]
    assert lengths == sorted(lengths)
    assert max(len(group) for group in groups) == 5


def test_rows_kept_aside_are_not_trained_on(data: Data) -> None:
    train, heldout = ({row.id for row in rows} for rows in (data.train, data.heldout))
    assert not train & heldout
    assert (len(train), len(heldout)) == (12, 4)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_its_peak_and_never_below_nothing(schedule: str) -> None:
    recipe = Recipe(lr=1.0, warmup=0.1, schedule=schedule)  # type: ignore[arg-type]
    rates = [learning_rate(step, 100, recipe) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert max(rates) == 1.0
    assert all(rate > 0 for rate in rates)
    if schedule != "constant":
        assert rates[10:] == sorted(rates[10:], reverse=True)
        assert rates[-1] < 0.02
    assert learning_rate(1, 1, Recipe(lr=1.0, warmup=0.0)) == 1.0


def rows_like(texts: list[list[int]]) -> list[TrainRow]:
    return [
        TrainRow(
            id=str(number),
            ids=np.array(text, dtype=np.int32),
            at=np.arange(len(text) - 1, dtype=np.int32),
        )
        for number, text in enumerate(texts)
    ]


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=2, max_size=12), min_size=1, max_size=9),
    st.booleans(),
)
def test_halves_hold_each_row_once_and_two_are_made_only_where_they_save_time(
    texts: list[list[int]], shared: bool
) -> None:
    rows = rows_like(texts)
    parts = halves(rows, shared=shared)
    assert sorted(row.id for part in parts for row in part) == sorted(row.id for row in rows)
    assert parts == halves(rows, shared=shared)
    if shared:
        tokens = [len({tuple(row.ids[:end]) for row in part for end in range(1, len(row) + 1)})
                  for part in (rows, *parts)]  # fmt: skip
    else:
        tokens = [len(part) * max(map(len, part)) for part in (rows, *parts)]
    assert len(parts) == 1 or 2 * max(tokens[1:]) <= MAX_OVERHEAD * tokens[0]


def test_many_rows_are_halved_too() -> None:
    rows = rows_like([[number, *range(5 + number % 40)] for number in range(300)])
    parts = halves(rows, shared=True)
    assert len(parts) == 2
    tokens = [sum(len(row) for row in part) for part in parts]
    assert max(tokens) - min(tokens) <= 1


def test_rows_that_begin_alike_stay_together() -> None:
    one, other = [1] * 40, [2] * 40
    texts = [[*one, 5], [*other, 5], [*one, 6], [*other, 6], [*one, 7], [*other, 7]]
    parts = halves(rows_like(texts), shared=True)
    assert sorted(sorted(row.id for row in part) for part in parts) == [
        ["0", "2", "4"],
        ["1", "3", "5"],
    ]
    assert len(halves(rows_like([one, one, one]), shared=True)) == 1
