"""Two subjects on the same worlds: an exact test for the end, and one that holds at any time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from sekft_engine.evaluate.stats import mcnemar

#: An eval that stops when it is decided errs at most this often when there is no difference.
ALPHA = 0.05


#: Worlds between two looks at whether an eval is decided.
BLOCK = 8
#: The exact test counts sign patterns in so many additions at most; beyond, its normal
#: approximation differs from it by less than anyone would read.
MOST_ADDITIONS = 1_000_000
#: Evidence is told up to here (1e304), and p down to its inverse: beyond are no numbers that a
#: computer can write.
_MOST_LOG = 700.0


def sign_flip(differences: Sequence[int]) -> float:
    """The exact two-sided p-value of a paired sign-flip (permutation) test.

    Args:
        differences: per world, successes of one subject minus those of the other. Where they do
            not differ, each sign is as likely as its opposite. With one episode per world this
            is the exact McNemar test.
    """
    moves = sorted(abs(one) for one in differences if one)
    if not moves:
        return 1.0
    if moves[0] == moves[-1]:
        ahead = sum(one > 0 for one in differences)
        return mcnemar(len(moves) - ahead, ahead)
    seen, total = abs(sum(differences)), sum(moves)
    if len(moves) * total > MOST_ADDITIONS:
        return _normal_sign_flip(moves, seen)
    # ways[s] = number of choices of worlds whose moves add up to s: their sign is +, so the sum
    # with signs is 2 s - total.
    ways = [1] + [0] * total
    for move in moves:
        ways = [
            *ways[:move],
            *(less + more for less, more in zip(ways, ways[move:], strict=False)),
        ]
    extreme = sum(count for at, count in enumerate(ways) if abs(2 * at - total) >= seen)
    return float(extreme / 2 ** len(moves))


def _normal_sign_flip(moves: Sequence[int], seen: int) -> float:
    """Sums move in steps of two, so half a step of continuity is one."""
    spread = math.sqrt(sum(move * move for move in moves))
    return min(1.0, math.erfc(max(0.0, seen - 1) / spread / math.sqrt(2)))


def evidence(only_a: int, only_b: int) -> float:
    """The evidence against "no difference" in the worlds that told two subjects apart.

    A mixture likelihood ratio of a coin with unknown bias, Beta(1/2, 1/2), against a fair one. It
    is a test martingale: where there is no difference, the chance that it *ever* reaches ``1/a``
    is at most ``a`` (Ville 1939), however often one looks and whenever one stops.
    """
    n = only_a + only_b
    log_beta = math.lgamma(only_a + 0.5) + math.lgamma(only_b + 0.5) - math.lgamma(n + 1)
    return math.exp(min(_MOST_LOG, log_beta - math.log(math.pi) + n * math.log(2)))


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two subjects in the worlds that count for both: in how many each was better, and ``p``.

    ``test``: "exact" holds for an eval whose worlds were fixed beforehand and are all there, "any
    time" also while it runs, and for one that stopped when it was decided.
    """

    pairs: int
    only_a: int
    only_b: int
    p: float
    test: str
    evidence: float


def compare(differences: Sequence[int], *, any_time: bool = False) -> Comparison:
    """What :func:`sign_flip`, or the test that may be looked at any time, says of ``differences``:
    per world, successes of b minus those of a."""
    only_a, only_b = (sum(one * sign > 0 for one in differences) for sign in (-1, 1))
    grade = evidence(only_a, only_b)
    p = 1 / grade if any_time else sign_flip(differences)
    return Comparison(
        pairs=len(differences),
        only_a=only_a,
        only_b=only_b,
        p=min(1.0, max(p, math.exp(-_MOST_LOG))),
        test="any time" if any_time else "exact",
        evidence=grade,
    )


def settled(trials: Iterable[tuple[str, bool]]) -> set[str]:
    """The worlds before the first that is still open, of trials in an order fixed beforehand.

    While an eval runs only these are compared: what ends early is no fair choice of all.

    Args:
        trials: a trial's world, and whether it is finished for all who are compared.
    """
    found: dict[str, None] = {}
    for world, finished in trials:
        if not finished:
            found.pop(world, None)
            break
        found[world] = None
    return set(found)


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
