"""What n can show is told before an eval, for any n, and is what counting every outcome gives."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekft_engine.evaluation.statistics import power
from sekft_engine.evaluation.statistics.intervals import mcnemar
from sekft_engine.evaluation.statistics.paired import evidence
from sekft_engine.evaluation.statistics.power import (
    fewest_to_decide,
    power_of,
    power_until_decided,
    what_n_shows,
)
from tests.fuzzing import examples

RATES = st.floats(0, 1).map(lambda rate: round(rate, 3))


def counted(n: int, a: float, b: float, *, until_decided: bool = False) -> float:
    """The power, by going through everything that can happen."""
    up, down = (1 - a) * b, a * (1 - b)
    total = 0.0
    for plus in range(n + 1):
        for minus in range(min(plus, n - plus + 1)):
            found = evidence(minus, plus) >= 20 if until_decided else mcnemar(minus, plus) <= 0.05
            ways = math.comb(n, plus) * math.comb(n - plus, minus)
            total += found * ways * up**plus * down**minus * (1 - up - down) ** (n - plus - minus)
    return total


@settings(max_examples=examples(40))
@given(st.integers(0, 24), RATES, RATES)
def test_the_power_is_the_chance_of_all_outcomes_that_show_it(n: int, a: float, b: float) -> None:
    assert power_of(n, a, b) == pytest.approx(counted(n, a, b), abs=1e-9)
    assert power_until_decided(n, a, b) == pytest.approx(
        counted(n, a, b, until_decided=True), abs=1e-9
    )


def test_the_power_line_says_what_n_can_and_cannot_show() -> None:
    assert power_of(16, 0.5, 0.7) < 0.2
    assert power_of(200, 0.5, 0.7) > 0.95
    assert "n=16" in what_n_shows(16)
    assert "but 0.7 from 0.5 only 11 %" in what_n_shows(16)
    assert "too few" in what_n_shows(3)


@pytest.mark.parametrize("n", [1, 16, 400, 5000, 10**6])
def test_the_work_for_any_number_of_worlds_is_bounded(
    n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work grows with n, not with its square or cube."""
    asked = 0
    pmf = power.binomial_pmf

    def counting(k: int, trials: int, rate: float) -> float:
        nonlocal asked
        asked += 1
        return pmf(k, trials, rate)

    monkeypatch.setattr(power, "binomial_pmf", counting)
    for until_decided in (False, True):
        what_n_shows.cache_clear()
        assert f"n={n}:" in what_n_shows(n, draws=3, until_decided=until_decided)
    assert asked <= 20 * n + 2000
    what_n_shows.cache_clear()


def test_beyond_the_exact_power_its_approximation_agrees_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = power_of(3000, 0.5, 0.53)
    monkeypatch.setattr(power, "EXACT_UP_TO", 0)
    assert power_of(3000, 0.5, 0.53) == pytest.approx(exact, abs=0.02)
    assert power_of(10, 1.0, 1.0) == 0
    assert power_of(10, 0.0, 1.0) == 1


def test_draws_are_no_worlds() -> None:
    line = what_n_shows(1, draws=16)
    assert "n=1:" in line
    assert "too few" in line
    assert "±5 points" not in line


def test_an_eval_that_stops_when_decided_is_told_what_that_takes() -> None:
    assert fewest_to_decide() == 7
    assert "takes at least 7 worlds" in what_n_shows(48, until_decided=True)
    assert "takes 7" in what_n_shows(6, until_decided=True)
    # Several comparisons share the error, so that each needs more.
    assert "takes at least 10 worlds" in what_n_shows(48, until_decided=True, others=5)
