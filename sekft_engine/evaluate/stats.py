"""Statistics that stay honest at small n: intervals, paired tests, and what n can show."""

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
    tail: int = sum(math.comb(n, at) for at in range(min(only_a, only_b) + 1))
    return float(min(1.0, 2 * tail / 2**n))


def rate_shown_against_zero(n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest rate that ``n`` paired episodes would tell from a base at 0 with ``power``.

    Against 0 successes every success is a discordant pair on one side, so the exact McNemar test
    needs ``m`` successes with ``2 / 2**m <= alpha``. Returns 1.0 where n is too small for any.
    """
    needed = math.ceil(1 - math.log2(alpha))
    if n < needed:
        return 1.0
    low, high = needed / n / 2, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if _at_least(needed, n, middle) >= power:
            high = middle
        else:
            low = middle
    return high


def _at_least(k: int, n: int, rate: float) -> float:
    """P(X >= k) for X binomial with ``n`` trials of ``rate``."""
    below = sum(math.comb(n, at) * rate**at * (1 - rate) ** (n - at) for at in range(k))
    return 1 - below


def power_of(n: int, a: float, b: float, alpha: float = 0.05) -> float:
    """The power of the exact McNemar test with ``n`` pairs when the rates are ``a`` and ``b`` and
    the two are independent of each other (paired worlds usually agree more: this is cautious)."""
    up, down = (1 - a) * b, a * (1 - b)
    total = 0.0
    for plus in range(n + 1):
        for minus in range(n - plus + 1):
            if mcnemar(minus, plus) > alpha or plus <= minus:
                continue
            ways = math.comb(n, plus) * math.comb(n - plus, minus)
            total += ways * up**plus * down**minus * (1 - up - down) ** (n - plus - minus)
    return total


def what_n_shows(n: int) -> str:
    """One line for a person, before an eval starts."""
    if n <= 0:
        return "no episodes"
    half = (wilson(round(n / 2), n)[1] - wilson(round(n / 2), n)[0]) / 2
    line = f"n={n}: a rate near one half is known to about ±{100 * half:.0f} points"
    against_zero = rate_shown_against_zero(n)
    if against_zero >= 1:
        return line + "; too few to tell any adapter from a base at 0"
    smallest = math.ceil(against_zero * n)
    power = power_of(n, 0.5, 0.7)
    return (
        f"{line}; tells {smallest}/{n} from a base at 0 (80 % power), "
        f"but 0.7 from 0.5 only {100 * power:.0f} % of the time"
    )
