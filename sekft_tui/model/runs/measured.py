"""How fast runs of a workspace have trained: better known than any estimate."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from sekft_engine.core.errors import SekftError
from sekft_engine.data.recipe import Recipe
from sekft_engine.records import events
from sekft_engine.records.runs import RunInfo, list_runs
from sekft_tui.model.runs.stored import last_events

#: The values of a recipe that decide how fast its steps are.
_SHAPE = (
    "rank", "targets", "dropout", "batch", "micro_batch", "recompute", "compile", "max_length",
)  # fmt: skip
#: So many of the newest runs are looked at.
_NEWEST = 16


class Measured(NamedTuple):
    """A run, and how many tokens it trained on per second."""

    run: RunInfo
    tokens_per_s: float


def measured_runs(runs: Path) -> tuple[Measured, ...]:
    """The newest training runs under ``runs`` that did a step, the newest first. Reads the disk:
    for a thread."""
    try:
        found = [run for run in list_runs(runs) if run.kind == "train"]
    except (OSError, SekftError):
        return ()
    rates = ((run, _rate(run)) for run in reversed(found[-_NEWEST:]))
    return tuple(Measured(run, rate) for run, rate in rates if rate > 0)


def _rate(run: RunInfo) -> float:
    """Over its last steps, without the first one, in which much is done for the first time."""
    steps = [event for event in last_events(run) if isinstance(event, events.StepDone)]
    later = [step for step in steps if step.step > 1] or steps
    seconds = sum(step.seconds for step in later)
    tokens = sum(step.tokens_per_s * step.seconds for step in later)
    return tokens / seconds if seconds > 0 else 0.0


def alike(
    measured: Iterable[Measured], base: str, recipe: Recipe, *, device: str, load_4bit: bool
) -> Measured | None:
    """The newest of the runs that trained the same shapes on this base and device; None = none did.

    Args:
        base: as in a form: a folder, or a known base.
        device: as it is asked for.
    """
    from sekft_engine.bases import cache_root

    if not base:
        return None
    places = {Path(base).expanduser().resolve(), (cache_root() / base).resolve()}
    asked = msgspec.to_builtins(recipe)
    for each in measured:
        facts, stored = each.run.facts.base, each.run.about.get("recipe")
        if (
            isinstance(stored, dict)
            and all(stored.get(name) == asked[name] for name in _SHAPE)
            and facts.load_4bit == load_4bit
            and str(each.run.job.get("device") or "auto") == device
            and Path(facts.path).resolve() in places
        ):
            return each
    return None
