"""Keep a time budget: from measured speeds to the number of sessions, told in words."""

from __future__ import annotations

import re

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.experiment.presets import Preset
from sekft_engine.records.experiments import PlanFacts, Speed

#: Fewer sessions than this teach nothing; something else is left out before.
FEWEST = 64
#: The share of a budget that is planned; the rest is for what was measured too short.
PLANNED = 0.92
#: What a round of improvement adds to the data, at most.
GROWTH = 0.5
#: Checkpoints, loading, rendering and the end of a training run, in seconds.
OVERHEAD_S = 15.0

_TIME = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)


def seconds_of(text: str) -> float:
    """The seconds that ``90m``, ``1h30m`` or ``45s`` says; 0 for an empty text.

    Raises:
        BadInput: it is no such time, or none at all.
    """
    if not text:
        return 0.0
    match = _TIME.fullmatch(text.strip().lower())
    parts = [float(part or 0) for part in match.groups()] if match else []
    total = sum(part * scale for part, scale in zip(parts, (3600, 60, 1), strict=False))
    if not total:
        raise BadInput(f"{text!r} is no time", where="--budget", mend="say 60m, 2h or 1h30m")
    return total


def plan_of(preset: Preset, budget_s: float = 0.0) -> PlanFacts:
    """The plan of a preset without any measurement."""
    return PlanFacts(
        sessions=preset.sessions,
        worlds=dict(preset.worlds),
        seeds=preset.seeds,
        rounds=preset.rounds,
        ablations=list(preset.ablations),
        budget_s=budget_s,
    )


def training_s(preset: Preset, speed: Speed, sessions: float) -> float:
    """Seconds of one training run of so many sessions."""
    recipe = preset.recipe
    tokens = sessions * recipe.epochs * speed.session_tokens
    if recipe.max_steps:
        tokens = min(tokens, recipe.max_steps * recipe.batch * speed.session_tokens)
    return OVERHEAD_S + tokens * speed.token_s


def evaluating_s(plan: PlanFacts, speed: Speed, subjects: int) -> float:
    """Seconds of an eval of so many adapters in all worlds of the plan."""
    return subjects * sum(plan.worlds.values()) * speed.episode_s


def forecast(preset: Preset, plan: PlanFacts, speed: Speed) -> float:
    """Seconds that all of ``plan`` takes from the training data on."""
    n = plan.sessions
    training = plan.seeds * training_s(preset, speed, n)
    training += len(plan.ablations) * training_s(preset, speed, n)
    acting = evaluating_s(plan, speed, plan.seeds + len(plan.ablations) + plan.rounds)
    for number in range(1, plan.rounds + 1):
        training += training_s(preset, speed, n * (1 + GROWTH * number))
        acting += sampled_worlds(n) * preset.draws * speed.episode_s
    recorded = n * (2 if "archetypes" in plan.ablations else 1)
    return recorded * speed.session_s + training + acting


def sampled_worlds(sessions: int) -> int:
    """In how many training worlds a round of improvement acts."""
    return min(sessions, 200)


def fit(preset: Preset, budget_s: float, spent_s: float, speed: Speed) -> PlanFacts:
    """The largest experiment that keeps the budget.

    The number of sessions is scaled down first. Where even few do not fit, ablations are left out
    one by one, then rounds, then training seeds.

    Args:
        preset: what was asked for; nothing is made larger than that.
        budget_s: seconds for all of it.
        spent_s: seconds that are spent already.
        speed: what was measured.
    """
    room = budget_s * PLANNED - spent_s
    plan = plan_of(preset, budget_s)
    fewest = min(FEWEST, preset.sessions)
    notes = []
    while True:
        at_least = msgspec.structs.replace(plan, sessions=fewest)
        if forecast(preset, at_least, speed) <= room:
            break
        if plan.ablations:
            *rest, dropped = plan.ablations
            plan = msgspec.structs.replace(plan, ablations=rest)
            notes.append(f"the ablation {dropped} is left out")
        elif plan.rounds:
            plan = msgspec.structs.replace(plan, rounds=plan.rounds - 1)
            notes.append(f"{plan.rounds} rounds of improvement")
        elif plan.seeds > 1:
            plan = msgspec.structs.replace(plan, seeds=plan.seeds - 1)
            notes.append(f"{plan.seeds} training seeds")
        else:
            notes.append("the budget is too small for this base and machine: it will be exceeded")
            break
    sessions = _most_sessions(preset, plan, speed, fewest, room)
    if sessions < preset.sessions:
        notes.insert(0, f"{sessions} training sessions instead of {preset.sessions}")
    plan = msgspec.structs.replace(plan, sessions=sessions, speed=speed, notes=notes)
    expected = round(spent_s + forecast(preset, plan, speed), 1)
    return msgspec.structs.replace(plan, forecast_s=expected)


def _most_sessions(preset: Preset, plan: PlanFacts, speed: Speed, fewest: int, room: float) -> int:
    """The largest number of sessions that fits; a search, since a forecast need not be linear."""
    low, high = fewest, preset.sessions
    while low < high:
        middle = (low + high + 1) // 2
        tried = msgspec.structs.replace(plan, sessions=middle)
        if forecast(preset, tried, speed) <= room:
            low = middle
        else:
            high = middle - 1
    return low
