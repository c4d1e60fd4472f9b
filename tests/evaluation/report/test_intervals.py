"""Intervals and tests agree with the published values and never leave [0, 1]."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.evaluation.statistics.intervals import mcnemar, wilson


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 16, 0.0, 0.194),
        (9, 16, 0.33, 0.77),
        (16, 16, 0.806, 1.0),
        (1, 10, 0.018, 0.404),  # Newcombe 1998-style reference values
        (81, 263, 0.255, 0.366),
        (15, 148, 0.062, 0.160),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson_gives_the_known_intervals(k: int, n: int, low: float, high: float) -> None:
    got = wilson(k, n)
    assert got == pytest.approx((low, high), abs=0.005)


@given(st.integers(0, 400), st.integers(0, 400))
def test_an_interval_holds_its_rate_and_stays_inside_0_and_1(k: int, extra: int) -> None:
    n = k + extra
    low, high = wilson(k, n)
    assert 0 <= low <= high <= 1
    if n:
        assert low <= k / n <= high


def test_a_rate_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="5 successes in 4 trials"):
        wilson(5, 4)


@pytest.mark.parametrize(
    ("a", "b", "p"), [(0, 9, 0.0039), (0, 0, 1.0), (5, 5, 1.0), (1, 8, 0.0391), (0, 5, 0.0625)]
)
def test_mcnemar_is_the_exact_binomial_test_on_discordant_pairs(a: int, b: int, p: float) -> None:
    assert mcnemar(a, b) == pytest.approx(p, abs=5e-5)
    assert mcnemar(b, a) == mcnemar(a, b)
