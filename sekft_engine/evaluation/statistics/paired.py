"""Paired tests of two subjects on the same worlds: an exact one, and an anytime-valid one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from sekft_engine.evaluation.statistics.intervals import mcnemar

#: The probability that an eval decides for one of two subjects that do not differ, at most.
ALPHA = 0.05
#: Worlds between two checks whether an eval is decided.
BLOCK = 8
#: Most additions of the exact test; for more, the normal approximation is used, which then differs
#: from it by less than the digits shown.
MOST_ADDITIONS = 1_000_000
#: The logarithm of the largest evidence that is reported (1e304), and of the inverse of the
#: smallest p: a float holds no more.
_MOST_LOG = 700.0


def sign_flip(differences: Sequence[int]) -> float:
    """The exact two-sided p-value of a paired sign-flip (permutation) test.

    If two subjects do not differ, each sign of a world's difference is as likely as its opposite:
    R. A. Fisher (1935), "The Design of Experiments", section 21. With one episode per world this is
    the exact McNemar test.

    Args:
        differences: per world, the successes of one subject minus those of the other.

    Returns:
        The p-value; 1 where no world differs.
    """
    sizes = sorted(abs(difference) for difference in differences if difference)
    if not sizes:
        return 1.0
    if sizes[0] == sizes[-1]:
        positive = sum(difference > 0 for difference in differences)
        return mcnemar(len(sizes) - positive, positive)
    observed, total = abs(sum(differences)), sum(sizes)
    if len(sizes) * total > MOST_ADDITIONS:
        return _normal_sign_flip(sizes, observed)
    # ways[s] = number of choices of worlds whose sizes add up to s: their sign is +, so the sum
    # with signs is 2 s - total.
    ways = [1] + [0] * total
    for size in sizes:
        ways = [
            *ways[:size],
            *(less + more for less, more in zip(ways, ways[size:], strict=False)),
        ]
    extreme = sum(count for at, count in enumerate(ways) if abs(2 * at - total) >= observed)
    return float(extreme / 2 ** len(sizes))


def _normal_sign_flip(sizes: Sequence[int], observed: int) -> float:
    """The normal approximation. Sums change in steps of two: the continuity correction is 1."""
    deviation = math.sqrt(sum(size * size for size in sizes))
    return min(1.0, math.erfc(max(0.0, observed - 1) / deviation / math.sqrt(2)))


def evidence(only_a: int, only_b: int) -> float:
    """The evidence against "no difference" from the worlds in which only one subject succeeded.

    The likelihood of a coin with unknown bias, Beta(1/2, 1/2), divided by that of a fair one: the
    method of mixtures of H. Robbins (1970), "Statistical methods related to the law of the iterated
    logarithm", Annals of Mathematical Statistics 41, 1397-1409. It is a test martingale: if the
    subjects do not differ, the probability that it *ever* reaches ``1/a`` is at most ``a`` (Ville's
    inequality), so the test is valid however often one looks and whenever one stops. A survey is
    Ramdas et al. (2023), "Game-theoretic statistics and safe anytime-valid inference",
    arXiv:2210.01948.

    Args:
        only_a: number of worlds in which a did better.
        only_b: number of worlds in which b did better.

    Returns:
        The likelihood ratio, at most 1e304; its inverse is a p-value.
    """
    n = only_a + only_b
    log_beta = math.lgamma(only_a + 0.5) + math.lgamma(only_b + 0.5) - math.lgamma(n + 1)
    return math.exp(min(_MOST_LOG, log_beta - math.log(math.pi) + n * math.log(2)))


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A paired comparison of two subjects on the worlds that count for both.

    Attributes:
        pairs: number of worlds.
        only_a, only_b: number of worlds in which that subject did better.
        p: the p-value of the test.
        test: ``exact``, valid for an eval whose worlds were fixed beforehand and are all done; or
            ``any time``, valid also while it runs or where it stopped when it was decided.
        evidence: see :func:`evidence`.
    """

    pairs: int
    only_a: int
    only_b: int
    p: float
    test: str
    evidence: float


def compare(differences: Sequence[int], *, any_time: bool = False) -> Comparison:
    """Compare two subjects.

    Args:
        differences: per world, the successes of b minus those of a.
        any_time: use the test that is valid at any time, else :func:`sign_flip`.
    """
    only_a = sum(difference < 0 for difference in differences)
    only_b = sum(difference > 0 for difference in differences)
    ratio = evidence(only_a, only_b)
    p = 1 / ratio if any_time else sign_flip(differences)
    return Comparison(
        pairs=len(differences),
        only_a=only_a,
        only_b=only_b,
        p=min(1.0, max(p, math.exp(-_MOST_LOG))),
        test="any time" if any_time else "exact",
        evidence=ratio,
    )


def settled(trials: Iterable[tuple[str, bool]]) -> set[str]:
    """The worlds before the first unfinished one, of trials in an order fixed beforehand.

    While an eval runs only these are compared: those that end early are a biased sample.

    Args:
        trials: for each trial its world, and whether it is finished for all subjects compared.
    """
    found: dict[str, None] = {}
    for world, finished in trials:
        if not finished:
            found.pop(world, None)
            break
        found[world] = None
    return set(found)


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a sequential comparison.

    Attributes:
        state: ``open``, ``decided``, or ``out of reach``: the remaining worlds cannot decide it.
        evidence: the highest so far.
        better: the name of the better subject, where it is decided.
    """

    state: str
    evidence: float
    better: str = ""

    @property
    def p(self) -> float:
        """A p-value that is valid at any time."""
        return min(1.0, 1 / self.evidence)


class Sequential:
    """A sequential comparison of two subjects, world by world in an order fixed beforehand.

    Args:
        a, b: the names of the subjects.
        worlds: number of worlds in all.
        alpha: the error rate of this comparison.
    """

    def __init__(self, a: str, b: str, worlds: int, alpha: float = ALPHA) -> None:
        self._a, self._b = a, b
        self._remaining = worlds
        self._alpha = alpha
        self._only_a = self._only_b = 0
        self._most = 1.0  # the highest evidence so far: a decision stands
        self._better = ""

    def add(self, difference: int | None) -> None:
        """Add a world: the successes of b minus those of a; None = it does not count."""
        self._remaining -= 1
        self._only_b += difference is not None and difference > 0
        self._only_a += difference is not None and difference < 0
        now = evidence(self._only_a, self._only_b)
        if now > self._most:
            self._most = now
            self._better = self._b if self._only_b > self._only_a else self._a

    @property
    def decision(self) -> Decision:
        """The state after the worlds added so far."""
        needed = 1 / self._alpha
        if self._most >= needed:
            return Decision(state="decided", evidence=self._most, better=self._better)
        best = max(
            evidence(self._only_a, self._only_b + self._remaining),
            evidence(self._only_a + self._remaining, self._only_b),
        )
        state = "open" if self._remaining and best >= needed else "out of reach"
        return Decision(state=state, evidence=self._most)
