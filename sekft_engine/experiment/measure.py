"""Measure how fast this machine is, from an experiment's first stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sekft_engine.records import events
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.experiments import PlanFacts, Speed, StageFacts
from sekft_engine.records.journal import effective_events
from sekft_engine.records.runs import read_events
from sekft_engine.records.stages import stage_run


def speed_of(
    trial: Path, evals: Sequence[Path], made: Sequence[StageFacts], kept: Path, spent_s: float
) -> Speed:
    """The speed that was measured.

    Args:
        trial: the folder of a short training run.
        evals: the folders of finished evals.
        made: the stages in which the factory worked.
        kept: its file of recorded sessions, one a line.
        spent_s: seconds of all stages, where nothing else is known.
    """
    journal = effective_events(read_events(trial / "events.jsonl"))
    steps = [event for event in journal if isinstance(event, events.StepDone)]
    rows = next((event for event in journal if isinstance(event, events.RowsReady)), None)
    counted = steps[1:] or steps  # the first step prepares what all others use
    tokens = sum(step.tokens for step in counted)
    episodes, seconds = 0, 0.0
    for folder in evals:
        run = stage_run(folder)
        if run is not None and isinstance(run.result, EvalResult):
            episodes += len(run.result.episodes)
            seconds += run.result.seconds
    sessions = len(kept.read_bytes().splitlines()) if kept.is_file() else 0
    working = sum(each.seconds for each in made)
    return Speed(
        session_s=working / sessions if sessions else 0.0,
        episode_s=seconds / episodes if episodes else spent_s,
        token_s=sum(step.seconds for step in counted) / tokens if tokens else 0.0,
        session_tokens=rows.tokens / rows.kept if rows is not None and rows.kept else 0.0,
    )


def in_words(plan: PlanFacts) -> list[str]:
    """The plan for a budget, and what it rests on, in lines."""
    speed = plan.speed
    lines = []
    if speed is not None:
        per_second = 1 / speed.token_s if speed.token_s else 0.0
        lines.append(
            f"measured: {per_second:.0f} training tokens and {_rate(speed.session_s)} sessions a "
            f"second, {speed.episode_s:.1f} s an episode, {speed.session_tokens:.0f} tokens a "
            "session"
        )
    lines.append(
        f"to keep {plan.budget_s / 60:.0f} minutes: {plan.sessions} sessions, "
        f"{plan.seeds} training seeds, {plan.rounds} rounds, {len(plan.ablations)} ablations; "
        f"about {plan.forecast_s / 60:.0f} minutes in all"
    )
    return [*lines, *plan.notes]


def _rate(seconds: float) -> str:
    return f"{1 / seconds:.0f}" if seconds else "any number of"
