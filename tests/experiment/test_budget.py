"""A budget is kept by scaling the data, then by leaving out what is not needed."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sekft_engine.core.errors import BadInput
from sekft_engine.experiment.budget import fit, forecast, seconds_of
from sekft_engine.experiment.presets import preset_of, presets
from sekft_engine.records import jobs
from sekft_engine.records.experiments import Speed

LAPTOP = presets()["laptop"]
SPEED = Speed(session_s=0.06, episode_s=1.5, token_s=1 / 400, session_tokens=440)


@pytest.mark.parametrize(
    ("text", "seconds"), [("60m", 3600), ("2h", 7200), ("1h30m", 5400), ("45s", 45), ("", 0)]
)
def test_a_time_is_read_as_it_is_said(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "60", "-5m", "1.5.2h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no time"):
        seconds_of(text)


@pytest.mark.parametrize("minutes", [60, 120, 300, 600])
def test_the_forecast_of_what_was_planned_is_within_the_budget(minutes: int) -> None:
    plan = fit(LAPTOP, minutes * 60, 300, SPEED)
    assert plan.forecast_s <= minutes * 60
    assert plan.sessions >= 64


def test_more_time_never_means_less_data() -> None:
    plans = [fit(LAPTOP, minutes * 60, 300, SPEED) for minutes in range(40, 900, 20)]
    sizes = [(plan.seeds, plan.rounds, len(plan.ablations), plan.sessions) for plan in plans]
    assert sizes == sorted(sizes)
    assert plans[-1].sessions == LAPTOP.sessions


def test_what_is_left_out_is_told() -> None:
    plan = fit(LAPTOP, 30 * 60, 300, SPEED)
    assert plan.ablations == []
    assert "64 training sessions instead of 1600" in plan.notes[0] or plan.sessions > 64
    assert any("ablation" in note for note in plan.notes)


def test_a_budget_that_nothing_fits_is_told_and_not_promised() -> None:
    plan = fit(LAPTOP, 60, 300, SPEED)
    assert plan.seeds == 1
    assert "it will be exceeded" in plan.notes[-1]


def test_a_forecast_grows_with_all_that_is_done() -> None:
    whole = fit(LAPTOP, 1e9, 0, SPEED)
    changes: list[dict[str, Any]] = [
        {"seeds": 1},
        {"rounds": 0},
        {"ablations": []},
        {"sessions": 800},
    ]
    for less in changes:
        smaller = msgspec.structs.replace(whole, **less)
        assert forecast(LAPTOP, smaller, SPEED) < forecast(LAPTOP, whole, SPEED)


def test_what_the_command_says_goes_before_the_preset() -> None:
    job = jobs.Experiment(preset="laptop", sessions=10, worlds=3, rounds=0, no_ablations=True)
    preset = preset_of(msgspec.structs.replace(job, flags={"lr": 3e-4}))
    assert (preset.sessions, preset.rounds, preset.ablations) == (10, 0, ())
    assert set(preset.worlds.values()) == {3}
    assert preset.recipe.lr == 3e-4
    assert preset.seeds == LAPTOP.seeds


def test_leaving_out_something_and_nothing_is_refused() -> None:
    job = jobs.Experiment(ablations=("mask",), no_ablations=True)
    with pytest.raises(BadInput, match="nothing is"):
        preset_of(job)
