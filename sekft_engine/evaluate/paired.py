"""Two subjects on the same worlds: an exact test for the end, and one that holds at any time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

#: An eval that stops when it is decided errs at most this often when there is no difference.
ALPHA = 0.05


def sign_flip(differences: Sequence[int]) -> float:
    """The exact two-sided p-value of a paired sign-flip (permutation) test.

    Args:
        differences: per world, successes of one subject minus those of the other. Where they do
            not differ, each sign is as likely as its opposite. With one episode per world this
            is the exact McNemar test.
    """
    moves = [abs(one) for one in differences if one]
    total = sum(moves)
    # ways[s + total] = number of sign patterns with sum s
    ways = [0] * (2 * total + 1)
    ways[total] = 1
    for move in moves:
        ways = [
            (ways[at - move] if at >= move else 0)
            + (ways[at + move] if at + move < len(ways) else 0)
            for at in range(len(ways))
        ]
    seen = abs(sum(differences))
    extreme = sum(count for at, count in enumerate(ways) if abs(at - total) >= seen)
    return float(extreme / 2 ** len(moves))


def evidence(only_a: int, only_b: int) -> float:
    """The evidence against "no difference" in the worlds that told two subjects apart.

    A mixture likelihood ratio of a coin with unknown bias, Beta(1/2, 1/2), against a fair one. It
    is a test martingale: where there is no difference, the chance that it *ever* reaches ``1/a``
    is at most ``a`` (Ville 1939), however often one looks and whenever one stops.
    """
    n = only_a + only_b
    log_beta = math.lgamma(only_a + 0.5) + math.lgamma(only_b + 0.5) - math.lgamma(n + 1)
    return math.exp(log_beta - math.log(math.pi) + n * math.log(2))


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Where a sequential comparison stands. ``state``: open, decided, or out of reach (whatever
    the worlds that are left would show, it could not be decided)."""

    state: str
    evidence: float
    better: str = ""

    @property
    def p(self) -> float:
        """A p-value that is valid whenever one stops."""
        return min(1.0, 1 / self.evidence)


class Sequential:
    """A comparison of ``b`` with ``a``, fed world by world in an order fixed beforehand.

    Args:
        worlds: how many worlds there are in all.
        alpha: the error rate of this comparison.
    """

    def __init__(self, a: str, b: str, worlds: int, alpha: float = ALPHA) -> None:
        self._a, self._b = a, b
        self._left = worlds
        self._alpha = alpha
        self._only_a = self._only_b = 0
        self._most = 1.0  # the highest evidence so far: what was decided stays decided
        self._better = ""

    def add(self, difference: int | None) -> None:
        """One more world: successes of ``b`` minus those of ``a``; None = it does not count."""
        self._left -= 1
        self._only_b += difference is not None and difference > 0
        self._only_a += difference is not None and difference < 0
        now = evidence(self._only_a, self._only_b)
        if now > self._most:
            self._most = now
            self._better = self._b if self._only_b > self._only_a else self._a

    @property
    def decision(self) -> Decision:
        needed = 1 / self._alpha
        if self._most >= needed:
            return Decision(state="decided", evidence=self._most, better=self._better)
        best = max(
            evidence(self._only_a, self._only_b + self._left),
            evidence(self._only_a + self._left, self._only_b),
        )
        state = "open" if self._left and best >= needed else "out of reach"
        return Decision(state=state, evidence=self._most)
