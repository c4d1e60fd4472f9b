"""When a run has learnt what it will: the best measurement so far, and patience with later ones."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import msgspec

from sekft_engine.errors import BadInput
from sekft_engine.recipe import Recipe

FOLDER = "best"
RATES, HELDOUT = "episodes", "held-out loss"


class Best(msgspec.Struct, frozen=True, kw_only=True):
    """The first of the best measurements: after which ``step``, its ``score`` (greater is better,
    in order of weight), and how many came ``since``. Step 0 = there is none yet."""

    step: int = 0
    score: tuple[float, ...] = ()
    since: int = 0

    def after(self, step: int, score: tuple[float, ...]) -> Best:
        """The best after one more measurement; what is no number is never better."""
        if all(map(math.isfinite, score)) and score > self.score:
            return Best(step=step, score=score)
        return msgspec.structs.replace(self, since=self.since + 1)


def judged_by(recipe: Recipe) -> str:
    """What decides which adapter of a run is the best, of :data:`RATES` and :data:`HELDOUT`; '' =
    nothing, and none is kept beside the last one."""
    if recipe.eval_every:
        return RATES
    measured = recipe.heldout and recipe.heldout_every
    return HELDOUT if recipe.patience and measured else ""


def refuse_blind_patience(recipe: Recipe) -> None:
    """Raise :class:`BadInput` where a run should stop by what it never measures."""
    if recipe.patience and not judged_by(recipe):
        raise BadInput(
            "nothing is measured that a run could be stopped by",
            where="recipe.patience",
            mend="set heldout and heldout_every, or eval_every",
        )


def best_folder(run: Path, step: int) -> Path:
    """Where the adapter of ``step`` lies while it is the best one."""
    return run / FOLDER / f"step-{step:06d}"


def drop_others(run: Path, step: int) -> None:
    """Let every adapter go that is the best one no more."""
    for folder in (run / FOLDER).glob("step-*"):
        if folder != best_folder(run, step):
            shutil.rmtree(folder, ignore_errors=True)
