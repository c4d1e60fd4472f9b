"""The power of an eval: what a number of worlds can show, computed before it starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

from sekft_engine.evaluation.statistics.intervals import wilson
from sekft_engine.evaluation.statistics.paired import ALPHA, evidence

#: The exact power is computed for at most so many pairs, else its normal approximation.
EXACT_UP_TO = 20_000


class _Tail:
    """P(X <= k) for binomial X with ``n`` trials of ``rate``, updated as ``n`` and ``k`` grow."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.n, self.k = 0, -1
        self.below = 0.0

    def at(self, k: int) -> float:
        return binomial_pmf(k, self.n, self._rate)

    def add_trial(self) -> None:
        # X stays within k unless it stood at k and this trial succeeds too.
        self.below -= self._rate * self.at(self.k)
        self.n += 1

    def raise_k(self) -> None:
        self.k += 1
        self.below += self.at(self.k)


def power_of(n: int, a: float, b: float, alpha: float = ALPHA) -> float:
    """The power of the exact McNemar test, for independent subjects.

    Two subjects on the same worlds mostly succeed on the same ones, so that the true power is
    higher.

    Args:
        n: number of pairs.
        a, b: the success rates of the two subjects.
        alpha: the level of the test.

    Returns:
        The probability that the test finds b better.
    """
    if n > EXACT_UP_TO:
        return _approximate_power(n, a, b, alpha)
    fair = _Tail(0.5)

    def rejects(minus: int, discordant: int) -> bool:
        while fair.n < discordant:
            fair.add_trial()
        # It is called for the next higher count only, whose tail is known.
        if 2 * (fair.below + fair.at(minus)) > alpha:
            return False
        fair.raise_k()
        return True

    return _power(n, a, b, rejects)


def power_until_decided(n: int, a: float, b: float, alpha: float = ALPHA) -> float:
    """The power of an eval that stops when it is decided, at least: that of one look at its end.

    Args:
        n: number of worlds.
        a, b: the success rates of the two subjects.
        alpha: the level of the test.

    Returns:
        The probability that it decides for b.
    """
    if n > EXACT_UP_TO:
        # The exponent of the evidence grows with n, the threshold does not.
        return 1.0
    return _power(
        n, a, b, lambda minus, discordant: evidence(minus, discordant - minus) >= 1 / alpha
    )


def _power(n: int, a: float, b: float, rejects: Callable[[int, int], bool]) -> float:
    """The probability that a paired test finds b better.

    It is summed over the number of discordant worlds, and of those among them that are for a.

    Args:
        n: number of worlds.
        a, b: the success rates of the two subjects.
        rejects: whether the test finds b better with so many worlds for a, of so many discordant
            ones. A test that does also does so with one more world for b, so the highest such
            count grows with the number of discordant worlds, and ``rejects`` is called O(n) times.
    """
    up, down = (1 - a) * b, a * (1 - b)
    if not up + down:
        return 0.0
    minus = _Tail(down / (up + down))
    power = 0.0
    for discordant in range(n + 1):
        if discordant:
            minus.add_trial()
        while 2 * (minus.k + 1) < discordant and rejects(minus.k + 1, discordant):
            minus.raise_k()
        power += binomial_pmf(discordant, n, up + down) * minus.below
    return min(1.0, max(0.0, power))


def _approximate_power(n: int, a: float, b: float, alpha: float) -> float:
    """The normal approximation of R. J. Connor (1987), "Sample size for testing differences in
    proportions for the paired-sample design", Biometrics 43, 207-211."""
    up, down = (1 - a) * b, a * (1 - b)
    spread = up + down - (up - down) ** 2
    if spread <= 0:
        return 1.0 if up > down else 0.0
    z = NormalDist().inv_cdf(1 - alpha / 2)
    return NormalDist().cdf(((up - down) * math.sqrt(n) - z * math.sqrt(up + down)) / spread**0.5)


def binomial_pmf(k: int, n: int, rate: float) -> float:
    """P(X = k) for binomial X with ``n`` trials of ``rate``, by logarithms, so for any n."""
    if not 0 <= k <= n:
        return 0.0
    if rate <= 0 or rate >= 1:
        return float(k == (n if rate >= 1 else 0))
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(rate) + (n - k) * math.log1p(-rate))


def _rate_with(needed: int, n: int, power: float) -> float:
    """The rate at which ``n`` trials have ``needed`` successes with ``power``; 1 = no rate does."""
    if n < needed:
        return 1.0
    low, high = needed / n / 2, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if sum(binomial_pmf(at, n, middle) for at in range(needed)) <= 1 - power:
            high = middle
        else:
            low = middle
    return high


def fewest_to_decide(alpha: float = ALPHA) -> int:
    """The fewest discordant worlds, all for one subject, with which the test that is valid at any
    time decides."""
    needed = 1
    while evidence(0, needed) < 1 / alpha:
        needed += 1
    return needed


@lru_cache(maxsize=64)
def what_n_shows(
    worlds: int, *, draws: int = 1, until_decided: bool = False, others: int = 1
) -> str:
    """What an eval can show, in one line that is printed before it starts.

    Args:
        worlds: number of worlds.
        draws: number of episodes in each world. Several draws in a world are not independent, so
            the figures are those of the worlds alone.
        until_decided: the eval stops when it is decided, by a test that needs more worlds.
        others: number of subjects that are compared with the first; they share the test's error.
    """
    if worlds <= 0:
        return "no episodes"
    line = f"n={worlds}: a rate near one half is known to about ±{_half(worlds)} points"
    if draws > 1:
        line += f" (±{_half(worlds * draws)} if the {draws} draws in each differ freely)"
    alpha = ALPHA / max(1, others) if until_decided else ALPHA
    needed = fewest_to_decide(alpha) if until_decided else math.ceil(1 - math.log2(alpha))
    if worlds < needed:
        few = "; too few to distinguish any adapter from a base at 0"
        return line + few + (f": to stop when decided takes {needed}" if until_decided else "")
    smallest = math.ceil(_rate_with(needed, worlds, 0.8) * worlds)
    if until_decided:
        power = power_until_decided(worlds, 0.5, 0.7, alpha)
        return (
            f"{line}; a decision takes at least {needed} worlds, all for one subject "
            f"({smallest}/{worlds} against a base at 0, 80 % power); "
            f"0.7 against 0.5 is decided in {100 * power:.0f} % of evals or more"
        )
    power = power_of(worlds, 0.5, 0.7)
    often = f"{100 * power:.0f} % of the time"
    often = f"and 0.7 from 0.5 {often}" if power >= 0.8 else f"but 0.7 from 0.5 only {often}"
    return f"{line}; distinguishes {smallest}/{worlds} from a base at 0 (80 % power), {often}"


def _half(n: int) -> str:
    """Half the width of the interval of a rate near one half, in percentage points."""
    low, high = wilson(n / 2, n)
    half = 50 * (high - low)
    return f"{half:.0f}" if half >= 2 else f"{half:.1f}"
