"""Early stopping: the best measurement so far, and how many later ones were no better."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.data.recipe import Recipe

FOLDER = "best"
RATES, HELDOUT = "episodes", "held-out loss"


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """The best measurement so far; the first one if several are equal.

    Attributes:
        step: the step after which it was made; 0 = there is none yet.
        score: compared in order, greater is better.
        since: how many measurements followed it.
    """

    step: int = 0
    score: tuple[float, ...] = ()
    since: int = 0

    def after(self, step: int, score: tuple[float, ...]) -> Best:
        """The best after one more measurement; a score that is NaN is never better."""
        if all(map(math.isfinite, score)) and score > self.score:
            return Best(step=step, score=score)
        return msgspec.structs.replace(self, since=self.since + 1)


def judged_by(recipe: Recipe) -> str:
    """The measure that decides which adapter is best: :data:`RATES` or :data:`HELDOUT`.

    '' = neither is measured; then only the last adapter is stored."""
    if recipe.eval_every:
        return RATES
    measured = recipe.heldout and recipe.heldout_every
    return HELDOUT if recipe.patience and measured else ""


def refuse_blind_patience(recipe: Recipe) -> None:
    """Raise :class:`BadInput` if patience is set but nothing is measured to stop by."""
    if recipe.patience and not judged_by(recipe):
        raise BadInput(
            "nothing is measured that a run could be stopped by",
            where="recipe.patience",
            mend="set heldout and heldout_every, or eval_every",
        )


def best_folder(run: Path, step: int) -> Path:
    """The folder of the adapter of ``step`` while it is the best one."""
    return run / FOLDER / f"step-{step:06d}"


def drop_others(run: Path, step: int) -> None:
    """Delete every adapter that is no longer the best one."""
    for folder in (run / FOLDER).glob("step-*"):
        if folder != best_folder(run, step):
            shutil.rmtree(folder, ignore_errors=True)
