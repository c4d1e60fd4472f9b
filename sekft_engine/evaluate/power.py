"""What so many worlds can show, told before an eval starts."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist

from sekft_engine.evaluate.paired import ALPHA, evidence
from sekft_engine.evaluate.stats import wilson

#: With more pairs the power is that of the test's normal approximation.
EXACT_UP_TO = 20_000


class _Tail:
    """P(X <= k) for X binomial with ``n`` trials of ``rate``, carried along while both grow."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.n, self.k = 0, -1
        self.below = 0.0

    def at(self, k: int) -> float:
        return _chance(k, self.n, self._rate)

    def one_trial_more(self) -> None:
        # X stays within k unless it stood at k and this trial succeeds too.
        self.below -= self._rate * self.at(self.k)
        self.n += 1

    def one_higher(self) -> None:
        self.k += 1
        self.below += self.at(self.k)


def power_of(n: int, a: float, b: float, alpha: float = ALPHA) -> float:
    """The power of the exact McNemar test with ``n`` pairs when the rates are ``a`` and ``b`` and
    the two are independent of each other (paired worlds usually agree more: this is cautious)."""
    if n > EXACT_UP_TO:
        return _approximate_power(n, a, b, alpha)
    fair = _Tail(0.5)

    def rejects(minus: int, told: int) -> bool:
        while fair.n < told:
            fair.one_trial_more()
        # Asked of the next higher count only, so what is below it is at hand.
        if 2 * (fair.below + fair.at(minus)) > alpha:
            return False
        fair.one_higher()
        return True

    return _power(n, a, b, rejects)


def power_until_decided(n: int, a: float, b: float, alpha: float = ALPHA) -> float:
    """How often an eval of ``n`` worlds that stops when it is decided is decided for ``b``, at
    least: reckoned as if one looked only once, at the end."""
    if n > EXACT_UP_TO:
        # The exponent of the evidence grows with n, the threshold does not.
        return 1.0
    return _power(n, a, b, lambda minus, told: evidence(minus, told - minus) >= 1 / alpha)


def _power(n: int, a: float, b: float, rejects: Callable[[int, int], bool]) -> float:
    """The chance that a paired test finds ``b`` better: over the number of worlds that tell the
    two apart, and over how many of those speak for ``a``.

    Args:
        rejects: whether it does with so many for ``a`` of so many that tell. What rejects goes on
            to reject with one more for ``b``, so the highest such count only grows with theirs:
            it is asked O(n) times in all.
    """
    up, down = (1 - a) * b, a * (1 - b)
    if not up + down:
        return 0.0
    minus = _Tail(down / (up + down))
    power = 0.0
    for told in range(n + 1):
        if told:
            minus.one_trial_more()
        while 2 * (minus.k + 1) < told and rejects(minus.k + 1, told):
            minus.one_higher()
        power += _chance(told, n, up + down) * minus.below
    return min(1.0, max(0.0, power))


def _approximate_power(n: int, a: float, b: float, alpha: float) -> float:
    """As Connor (1987), the normal approximation for paired rates."""
    up, down = (1 - a) * b, a * (1 - b)
    spread = up + down - (up - down) ** 2
    if spread <= 0:
        return 1.0 if up > down else 0.0
    z = NormalDist().inv_cdf(1 - alpha / 2)
    return NormalDist().cdf(((up - down) * math.sqrt(n) - z * math.sqrt(up + down)) / spread**0.5)


def _chance(k: int, n: int, rate: float) -> float:
    """P(X = k) for X binomial with ``n`` trials of ``rate``, by logarithms: no n is too large."""
    if not 0 <= k <= n:
        return 0.0
    if rate <= 0 or rate >= 1:
        return float(k == (n if rate >= 1 else 0))
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(rate) + (n - k) * math.log1p(-rate))


def rate_shown_against_zero(n: int, alpha: float = ALPHA, power: float = 0.8) -> float:
    """The smallest rate that ``n`` paired episodes would tell from a base at 0 with ``power``.

    Against 0 successes every success is a discordant pair on one side, so the exact McNemar test
    needs ``m`` successes with ``2 / 2**m <= alpha``. Returns 1.0 where n is too small for any.
    """
    return _rate_with(math.ceil(1 - math.log2(alpha)), n, power)


def _rate_with(needed: int, n: int, power: float) -> float:
    """The rate at which ``n`` trials have ``needed`` successes with ``power``; 1 = none will do."""
    if n < needed:
        return 1.0
    low, high = needed / n / 2, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        if sum(_chance(at, n, middle) for at in range(needed)) <= 1 - power:
            high = middle
        else:
            low = middle
    return high


def telling_needed(alpha: float = ALPHA) -> int:
    """How many worlds must tell two subjects apart, all one way, before the test that may be
    looked at any time decides."""
    needed = 1
    while evidence(0, needed) < 1 / alpha:
        needed += 1
    return needed


@lru_cache(maxsize=64)
def what_n_shows(
    worlds: int, *, draws: int = 1, until_decided: bool = False, others: int = 1
) -> str:
    """One line for a person, before an eval starts.

    Args:
        draws: episodes in each world. They are no worlds: they narrow an interval only as far as
            they differ, so the figures are those of the worlds alone.
        until_decided: the eval stops when it is decided, by a test that needs more.
        others: how many subjects are compared with the first, which share that test's error.
    """
    if worlds <= 0:
        return "no episodes"
    line = f"n={worlds}: a rate near one half is known to about ±{_half(worlds)} points"
    if draws > 1:
        line += f" (±{_half(worlds * draws)} if the {draws} draws in each differ freely)"
    alpha = ALPHA / max(1, others) if until_decided else ALPHA
    needed = telling_needed(alpha) if until_decided else math.ceil(1 - math.log2(alpha))
    if worlds < needed:
        few = "; too few to tell any adapter from a base at 0"
        return line + few + (f": to stop when decided takes {needed}" if until_decided else "")
    smallest = math.ceil(_rate_with(needed, worlds, 0.8) * worlds)
    if until_decided:
        power = power_until_decided(worlds, 0.5, 0.7, alpha)
        return (
            f"{line}; to be decided takes at least {needed} worlds that all tell one way "
            f"({smallest}/{worlds} against a base at 0, 80 % power); "
            f"0.7 against 0.5 is decided in {100 * power:.0f} % of evals or more"
        )
    power = power_of(worlds, 0.5, 0.7)
    told = f"{100 * power:.0f} % of the time"
    told = f"and 0.7 from 0.5 {told}" if power >= 0.8 else f"but 0.7 from 0.5 only {told}"
    return f"{line}; tells {smallest}/{worlds} from a base at 0 (80 % power), {told}"


def _half(n: int) -> str:
    """Half the width of the interval of a rate near one half, in points."""
    low, high = wilson(n / 2, n)
    half = 50 * (high - low)
    return f"{half:.0f}" if half >= 2 else f"{half:.1f}"
