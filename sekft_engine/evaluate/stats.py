"""Statistics that stay honest at small n: intervals, pass@k, and the exact paired test."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist


def wilson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a rate ``k/n`` (Wilson 1927), inside [0, 1] at any n.

    Without trials nothing is known: (0, 1).
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no rate")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At the ends the bound is exact; rounding must not move it.
    low = 0.0 if k == 0 else max(0.0, middle - half)
    high = 1.0 if k >= n else min(1.0, middle + half)
    return low, high


def wilson_clustered(
    successes: Sequence[int], draws: Sequence[int], confidence: float = 0.95
) -> tuple[float, float]:
    """:func:`wilson` for several episodes per world, which are no independent trials.

    The number of episodes is divided by the design effect (Rao and Scott 1992), estimated from
    how much the worlds differ. It is never taken for less than the number of worlds, nor for
    more than that of episodes.

    Args:
        successes, draws: per world.
    """
    n, worlds = sum(draws), sum(1 for one in draws if one)
    if not n or n == worlds:
        return wilson(sum(successes), n, confidence)
    rate = sum(successes) / n
    effective = float(worlds)
    if 0 < rate < 1 and worlds > 1:
        pairs = zip(successes, draws, strict=True)
        spread = sum((k - rate * m) ** 2 for k, m in pairs) * worlds / (worlds - 1)
        independent = rate * (1 - rate) * n
        effective = min(n, max(worlds, n * independent / spread if spread else n))
    return wilson(rate * effective, effective, confidence)


def pass_at(k: int, successes: Sequence[int], draws: Sequence[int]) -> float:
    """The chance that at least one of ``k`` draws in a world succeeds, averaged over the worlds
    with at least ``k`` draws (the unbiased estimator of Chen et al. 2021)."""
    shares = [
        1 - math.comb(m - won, k) / math.comb(m, k)
        for won, m in zip(successes, draws, strict=True)
        if m >= k
    ]
    return sum(shares) / len(shares) if shares else 0.0


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided McNemar p-value from the discordant pairs (binomial test at 1/2)."""
    n = only_a + only_b
    if n == 0:
        return 1.0
    tail = ways = 1
    for at in range(min(only_a, only_b)):
        ways = ways * (n - at) // (at + 1)
        tail += ways
    return float(min(1.0, 2 * tail / 2**n))
