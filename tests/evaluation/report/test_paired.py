"""Comparisons of two subjects: an exact test, and one that may be looked at after each world."""

from __future__ import annotations

import random
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.evaluation.statistics import paired
from sekft_engine.evaluation.statistics.intervals import (
    mcnemar,
    pass_at,
    wilson,
    wilson_clustered,
)
from sekft_engine.evaluation.statistics.paired import (
    Sequential,
    compare,
    evidence,
    settled,
    sign_flip,
)


@given(st.lists(st.sampled_from([-1, 0, 1]), max_size=30))
def test_with_one_episode_per_world_it_is_the_exact_mcnemar_test(differences: list[int]) -> None:
    expected = mcnemar(differences.count(-1), differences.count(1))
    assert sign_flip(differences) == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.integers(-3, 3), max_size=9))
def test_the_exact_test_counts_every_pattern_of_signs(differences: list[int]) -> None:
    patterns = list(product((-1, 1), repeat=len(differences)))
    sums = [abs(sum(a * b for a, b in zip(one, differences, strict=True))) for one in patterns]
    extreme = sum(one >= abs(sum(differences)) for one in sums)
    assert sign_flip(differences) == pytest.approx(extreme / len(patterns))


def test_many_worlds_are_compared_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """No number gets too large, and past a million additions an approximation stands in."""
    for any_time in (False, True):
        found = compare([1] * 5000, any_time=any_time)
        assert (found.pairs, found.only_a, found.only_b) == (5000, 0, 5000)
        assert 0 < found.p < 1e-300
    assert evidence(0, 1030) > 1e300
    assert sign_flip([2, -1, 1] * 5000) < 1e-30
    differences = [1, 2, -1, -2, 1] * 60
    exact = sign_flip(differences)
    monkeypatch.setattr(paired, "MOST_ADDITIONS", 0)
    assert sign_flip(differences) == pytest.approx(exact, rel=0.02)


def test_while_an_eval_runs_only_worlds_before_the_first_open_one_are_compared() -> None:
    trials = [("a", True), ("a", True), ("b", True), ("b", False), ("c", True), ("b", True)]
    assert settled(trials) == {"a"}
    assert settled([("a", True), ("b", True)]) == {"a", "b"}


@given(st.integers(0, 200), st.integers(0, 200))
def test_evidence_is_a_fair_bet_when_there_is_no_difference(only_a: int, only_b: int) -> None:
    """What the next telling world adds and takes away averages out: a martingale."""
    after = (evidence(only_a + 1, only_b) + evidence(only_a, only_b + 1)) / 2
    assert after == pytest.approx(evidence(only_a, only_b), rel=1e-9)


def test_looking_after_every_world_errs_no_more_often_than_promised() -> None:
    draws = random.Random(4)
    wrong = 0
    for _ in range(2000):
        test = Sequential("a", "b", 200)
        for _ in range(200):
            test.add(draws.choice((-1, 0, 0, 1)))
            if test.decision.state != "open":
                break
        wrong += test.decision.state == "decided"
    assert wrong <= 2000 * 0.05


def test_a_clear_difference_is_decided_early_and_names_the_better_one() -> None:
    test = Sequential("base", "tuned", 48)
    taken = 0
    while test.decision.state == "open":
        test.add(1)
        taken += 1
    assert test.decision.state == "decided"
    assert test.decision.better == "tuned"
    assert taken == 7
    assert test.decision.p <= 0.05


def test_what_was_decided_stays_decided() -> None:
    test = Sequential("base", "tuned", 60)
    for _ in range(7):
        test.add(1)
    for _ in range(20):
        test.add(-1)
    assert test.decision.state == "decided"
    assert test.decision.better == "tuned"


def test_it_stops_where_the_worlds_that_are_left_could_not_decide_it() -> None:
    test = Sequential("base", "tuned", 10)
    for _ in range(4):
        test.add(0)
    assert test.decision.state == "out of reach"  # six worlds are one too few
    assert Sequential("base", "tuned", 6).decision.state == "out of reach"


@given(st.lists(st.integers(0, 1), min_size=1, max_size=40))
def test_one_draw_per_world_gives_the_plain_interval(successes: list[int]) -> None:
    plain = wilson(sum(successes), len(successes))
    assert wilson_clustered(successes, [1] * len(successes)) == pytest.approx(plain)


def test_draws_that_always_agree_tell_no_more_than_one_draw() -> None:
    low, high = wilson_clustered([5, 5, 0, 0, 5, 0, 5, 0], [5] * 8)
    assert (low, high) == pytest.approx(wilson(4, 8), abs=0.02)
    assert wilson_clustered([5] * 8, [5] * 8) == pytest.approx(wilson(8, 8))


def test_draws_that_are_independent_count_nearly_in_full() -> None:
    draws = random.Random(1)
    successes = [sum(draws.random() < 0.5 for _ in range(5)) for _ in range(60)]
    low, high = wilson_clustered(successes, [5] * 60)
    fair_low, fair_high = wilson(sum(successes), 300)
    assert (high - low) < 1.4 * (fair_high - fair_low)


def test_pass_at_k_is_the_chance_that_one_of_k_draws_succeeds() -> None:
    assert pass_at(1, [1, 0], [2, 2]) == pytest.approx(0.25)
    assert pass_at(2, [1, 0], [2, 2]) == pytest.approx(0.5)
    assert pass_at(2, [1, 3], [3, 3]) == pytest.approx((1 - 1 / 3 + 1) / 2)
    assert pass_at(3, [1], [2]) == 0.0  # too few draws to say
