"""How long a job may take, in words, before it is started."""

from __future__ import annotations

from typing import NamedTuple

from rich.cells import cell_len

from sekft_engine.core.text import count as count_of
from sekft_engine.data.recipe import Recipe
from sekft_tui.text import short_number

#: A job that may take longer than this, in seconds, is not started without a question.
LONG_S = 600.0
#: Characters of text that make a token, about, where none was counted.
_CHARACTERS = 3.0


class DataCount(NamedTuple):
    """The trajectories that are trained on, and their tokens; counted, or estimated from the
    number of characters."""

    rows: int
    tokens: int
    counted: bool

    @classmethod
    def of_characters(cls, rows: int, characters: int) -> DataCount:
        """An estimate."""
        return cls(rows, int(characters / _CHARACTERS), counted=False)


class JobSize(NamedTuple):
    """The size of a job.

    Attributes:
        lines: what it will do, each in a line, the most important one first.
        seconds: what it takes at least and at most; zeros = nobody knows.
        fits: whether it fits into memory.
        warning: why its result may mislead; "" = nothing is known that speaks against it.
    """

    lines: tuple[str, ...]
    seconds: tuple[float, float] = (0.0, 0.0)
    fits: bool = True
    warning: str = ""

    @property
    def is_asked(self) -> bool:
        """Whether to ask before it is started."""
        return self.seconds[1] > LONG_S or not self.fits or bool(self.warning)

    def summary(self, room: int) -> str:
        """As much of it as so many cells hold, at least how much there is to do."""
        said = "".join(self.lines[:1])
        for line in self.lines[1:]:
            if cell_len(said) + cell_len(line) + 2 > room:
                break
            said += f", {line}"
        return said


def train_size(
    recipe: Recipe,
    count: DataCount | None,
    speed: tuple[float, float],
    memory: str,
    *,
    fits: bool = True,
    why: str = "",
) -> JobSize:
    """The size of a training run.

    Args:
        count: what it trains on; None = not counted yet.
        speed: tokens per second, at least and at most; zeros = not known.
        memory: what is known of it, in words.
        why: where the speed is known from, or why it is uncertain; "" = nothing to say.
    """
    about = (memory,) if memory else ()
    if count is None or not count.rows:
        most = (f"at most {count_of(recipe.max_steps, 'step')}",) if recipe.max_steps else ()
        return JobSize((*most, *about), fits=fits)
    rows = min(count.rows, recipe.limit) if recipe.limit else count.rows
    trained = rows - min(round(rows * recipe.heldout), rows - 1)
    passed = max(1, round(trained * recipe.epochs))
    if recipe.max_steps:
        passed = min(passed, recipe.max_steps * recipe.batch)
    steps = -(-passed // recipe.batch)
    tokens = passed * count.tokens / count.rows
    sign = "" if count.counted else "about "
    each = count_of(min(recipe.batch, passed), "trajectory", "trajectories")
    lines = [f"{count_of(steps, 'step')} of {each}"]
    lines.append(
        f"{sign}{short_number(tokens)} tokens of {count_of(trained, 'trajectory', 'trajectories')}"
    )
    seconds = (0.0, 0.0)
    if speed[0] > 0:
        seconds = (tokens / speed[1], tokens / speed[0])
        lines.insert(1, between(seconds) + (f", {why}" if why else ""))
    return JobSize((*lines, *about), seconds, fits)


def roughly(seconds: float) -> str:
    """A time that is only estimated: 40 s, 6 min, 2 h 10 min."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, rest = divmod(round(minutes, -1), 60)
    return f"{hours} h {rest} min" if rest and hours < 10 else f"{round(minutes / 60)} h"


def between(seconds: tuple[float, float]) -> str:
    """A range of time: ``about 3 min to 5 min``."""
    least, most = (roughly(end) for end in seconds)
    return f"about {most}" if least == most else f"about {least} to {most}"


def eval_size(
    worlds: int,
    models: int,
    controls: int,
    seeds: int,
    known: tuple[float, int],
    *,
    warning: str = "",
) -> JobSize:
    """The size of an eval.

    Args:
        worlds: in which each model and control acts.
        models: base and adapters.
        controls: operators without a model.
        seeds: episodes of each in each world.
        known: seconds that the last eval took, and its episodes; zeros = there was none.
        warning: as of the size.
    """
    episodes = worlds * (models + controls) * seeds
    lines = [f"{episodes:,} episode{'s' * (episodes != 1)}"]
    seconds = (0.0, 0.0)
    if known[0] > 0 and known[1] > 0:
        seconds = (known[0] * episodes / known[1],) * 2
        lines.append(f"{between(seconds)}, as fast as the last eval")
    each = f" with {seeds} seeds" if seeds > 1 else ""
    acting = ((models, "model"), (controls, "control"))
    who = " and ".join(f"{n} {name}{'s' * (n != 1)}" for n, name in acting if n)
    lines.append(f"{who} in {worlds} world{'s' * (worlds != 1)}{each}")
    return JobSize(tuple(lines), seconds, warning=warning)
