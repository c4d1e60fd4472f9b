"""Intervals of rates, pass@k, and the exact McNemar test; all of them hold at small n."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist


def wilson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The Wilson score interval of a binomial rate.

    E. B. Wilson (1927), "Probable inference, the law of succession, and statistical inference",
    Journal of the American Statistical Association 22, 209-212.

    Args:
        k: number of successes; a fraction where it is an effective number.
        n: number of trials.
        confidence: the coverage, such as 0.95.

    Returns:
        The lower and the upper bound, within [0, 1]; (0, 1) where ``n`` is 0.

    Raises:
        ValueError: ``k`` is not between 0 and ``n``.
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} successes in {n} trials are impossible")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = k / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # At rates of 0 and 1 one bound is exact, whatever the rounding.
    low = 0.0 if k == 0 else max(0.0, middle - half)
    high = 1.0 if k >= n else min(1.0, middle + half)
    return low, high


def wilson_clustered(
    successes: Sequence[int], draws: Sequence[int], confidence: float = 0.95
) -> tuple[float, float]:
    """The Wilson interval for several episodes per world, which are not independent trials.

    The number of episodes is divided by the design effect, estimated from the variance between
    worlds: J. N. K. Rao and A. J. Scott (1992), "A simple method for the analysis of clustered
    binary data", Biometrics 48, 577-585. The result is at least the number of worlds and at most
    the number of episodes.

    Args:
        successes: number of successes in each world.
        draws: number of episodes in each world.
        confidence: the coverage, such as 0.95.

    Returns:
        The lower and the upper bound, within [0, 1].
    """
    n, worlds = sum(draws), sum(1 for count in draws if count)
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
    """pass@k: the probability that at least one of ``k`` draws in a world succeeds.

    The unbiased estimator ``1 - C(m - c, k) / C(m, k)`` for ``c`` successes in ``m`` draws, of Chen
    et al. (2021), "Evaluating large language models trained on code", arXiv:2107.03374.

    Args:
        k: number of draws, at least 1.
        successes: number of successes in each world.
        draws: number of draws in each world.

    Returns:
        The mean over the worlds with at least ``k`` draws; 0 where there are none.
    """
    shares = [
        1 - math.comb(m - won, k) / math.comb(m, k)
        for won, m in zip(successes, draws, strict=True)
        if m >= k
    ]
    return sum(shares) / len(shares) if shares else 0.0


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact McNemar test: a two-sided binomial test at 1/2 of the discordant pairs.

    Q. McNemar (1947), "Note on the sampling error of the difference between correlated proportions
    or percentages", Psychometrika 12, 153-157.

    Args:
        only_a: number of pairs in which only a succeeded.
        only_b: number of pairs in which only b succeeded.

    Returns:
        The p-value; 1 where there are no discordant pairs.
    """
    n = only_a + only_b
    if n == 0:
        return 1.0
    tail = ways = 1
    for at in range(min(only_a, only_b)):
        ways = ways * (n - at) // (at + 1)
        tail += ways
    return float(min(1.0, 2 * tail / 2**n))
