"""What the clocks of the workbench count: what they stand beside, and not the time of a pause."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from sekft_engine.records import events
from sekft_engine.takeover.view import CurrentView
from sekft_tui.app import Workbench
from sekft_tui.model.job_text import hint
from sekft_tui.model.reducer import replayed
from tests.tui.screen import until_shown
from tests.tui.scripted import ScriptedEngine

Make = Callable[..., Workbench]
JOB = "train-1"
BEGUN: list[events.Event] = [
    events.JobStarted(job=JOB, kind="train", t=1000.0),
    events.RunCreated(job=JOB, run="0001-train", path="/runs/0001-train", kind="train", t=1001.0),
    events.StepBegan(job=JOB, step=1, batch=[], t=1120.0),
]


def stopped_at(monkeypatch: pytest.MonkeyPatch, now: list[float]) -> None:
    """Have the texts about jobs read the time from ``now``."""
    monkeypatch.setattr("sekft_tui.model.job_text.time", SimpleNamespace(time=lambda: now[0]))


def test_the_clock_of_a_step_counts_from_the_step_and_not_from_the_start_of_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopped_at(monkeypatch, [1185.0])
    job = replayed(BEGUN).jobs[JOB]
    assert hint(job, (), "step 1 is in training", 1120.0) == "step 1 is in training  1:05"


def test_the_time_of_a_pause_is_not_counted() -> None:
    paused = replayed([*BEGUN, events.JobPaused(job=JOB, kind="train", t=1130.0)]).jobs[JOB]
    assert paused.worked(1120.0, 1200.0) == paused.worked(1120.0, 9000.0) == 10.0
    script = [
        *BEGUN,
        events.JobPaused(job=JOB, kind="train", t=1130.0),
        events.JobResumed(job=JOB, kind="train", t=1190.0),
    ]
    resumed = replayed(script).jobs[JOB]
    assert resumed.worked(1120.0, 1200.0) == 20.0
    assert resumed.worked(1195.0, 1200.0) == 5.0, "what began later"


async def test_the_clock_goes_on_while_a_run_stops(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1221.0]
    stopped_at(monkeypatch, now)
    async with make_app().run_test(size=(100, 30)) as pilot:
        await pilot.press("2", "s")
        engine.say(*BEGUN)
        await until_shown(pilot, "step 1 is in training  1:41")
        await pilot.press("x")
        await until_shown(pilot, "■ stopping")
        now[0] += 18
        await until_shown(pilot, "step 1 is in training  1:59")


def test_what_a_model_is_at_in_a_take_over_is_timed_without_the_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(
        "sekft_engine.takeover.view.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    current = CurrentView(lambda: None)
    current.update(state="model", phase="thinks")
    now[0] = 105.0
    current.update(paused=True)
    assert current.view.waited(105.0) == current.view.waited(500.0) == 5.0
    now[0] = 500.0
    current.update(paused=False)
    assert current.view.waited(502.0) == 7.0
