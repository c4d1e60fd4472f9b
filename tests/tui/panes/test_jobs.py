"""Jobs from their form to what they leave: a run, an error, an eval and its episodes."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from sekft_engine.records import events, jobs
from sekft_tui.app import Workbench
from sekft_tui.input.clipboard import requests
from sekft_tui.panes.replay import ReplayPane
from tests.tui.screen import until, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, training

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
Make = Callable[[], Workbench]


@SIZES
async def test_a_recipe_is_edited_checked_and_run(
    make_app: Make, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "max steps")
        await pilot.press("j", "j", "enter", "x")
        await until_shown(pilot, "enter a whole number")
        await pilot.press("enter")
        assert app.recipe.rank == 16
        await pilot.press("backspace", "1", "8", "enter")
        await until(pilot, lambda: app.recipe.rank == 18, "rank 18")
        await pilot.press("s")
        await until(pilot, lambda: bool(engine.jobs), "a job")
        job = engine.jobs[0]
        assert isinstance(job, jobs.Train)
        assert job.recipe.rank == 18
        assert job.data == str(app.workspace.trajectories)
        engine.say(*training(steps=60, upto=20))
        shown = await until_shown(pilot, "train 20/60", "step 20/60", "0001-train", "running")
        assert "◆" in shown
        assert re.search("[\u2801-\u28ff]{3}", shown), "a curve in Braille"
        await pilot.press("left", "left")
        await until_shown(pilot, "loss at step 1")
        await pilot.press("A")
        await until_shown(pilot, "  log")
        await pilot.press("p")
        assert engine.paused
        await pilot.press("x")
        assert engine.cancelled == [("train-1", True)]
        await until_shown(pilot, "■ stopping")
        engine.say(events.JobCancelled(job="train-1", kind="train", detail="saved at step 21"))
        await until_shown(pilot, "saved at step 21", "idle")


async def test_a_failed_job_is_a_toast_and_a_screen_never_an_exit(
    make_app: Make, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMUX", "/tmp/tmux")
    app, sent = make_app(), list[str]()
    monkeypatch.setattr(app, "to_terminal", sent.append)
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("2", "s")
        engine.say(
            events.JobStarted(job="train-1", kind="train"),
            events.JobFailed(
                job="train-1", kind="train", error="no space [left] on disk", trace="Traceback: x"
            ),
        )
        await until_shown(pilot, "no space [left] on disk")
        await pilot.press("e")
        await until_shown(pilot, "Traceback: x")
        await pilot.press("y")
        await until(pilot, lambda: bool(sent), "the error is copied, also from within tmux")
        assert sent == [requests("no space [left] on disk\nTraceback: x")]
        await pilot.press("escape", "6")
        await until_shown(pilot, "training failed: no space [left] on disk")


async def test_the_answer_to_a_key_is_read_beside_an_error(
    make_app: Make, engine: ScriptedEngine
) -> None:
    async with make_app().run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "12 trajectories")
        engine.say(
            events.JobStarted(job="train-1", kind="train"),
            events.JobFailed(job="train-1", kind="train", error="no space left " * 8, trace=""),
        )
        await until_shown(pilot, "error · e shows details")
        await pilot.press("2", "right_square_bracket")
        shown = await until_shown(pilot, "› no further mark")
        answer = next(line for line in shown.splitlines() if "› no further" in line)
        assert answer.strip() == "› no further mark"
        error = [line for line in shown.splitlines() if "no space left" in line]
        assert all(line.endswith(("left", "space")) for line in error), "nothing shows beside it"


@SIZES
async def test_verdicts_fill_the_grid_and_open_in_replay(
    make_app: Make, engine: ScriptedEngine, size: tuple[int, int]
) -> None:
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "2 held out", "[x] base")
        await pilot.press("s")
        job = engine.jobs[0]
        assert isinstance(job, jobs.Evaluate)
        assert job.with_base
        assert job.n == 2
        hows = ["prose", "cap", "wrong", "invalid", "unverified", "good", "run"]
        engine.say(*evaluation({"base": hows}, 8))
        shown = await until_shown(
            pilot, "✎ prose", "□ cap", "◐ panic", "! invalid", "● exit", "✓ exit", "▸ 8", "6 of 8"
        )
        assert "n=5 +1!" in shown
        assert "2/5" in shown
        await pilot.press("j", "enter")
        await until_shown(pilot, "count-001", "warden --help", "was cut off")
        pane = next(iter(app.query(ReplayPane)))
        assert pane.view.cast is not None
        await pilot.press(",", ",", ",")  # the verdict is a step of its own
        await until_shown(pilot, "turn 6/8")
        await pilot.press("]")
        await pilot.press("]")
        await until_shown(pilot, "no further marker")
        await pilot.press("home")
        assert pane.view.position == 0
        await pilot.press("S", ">", "space")
        await until_shown(pilot, "waits as recorded", "2×")
        assert pane.view.playing
        await pilot.press("end")
        await until(pilot, lambda: not pane.view.playing, "played to its end")


async def test_a_running_episode_is_followed_live(make_app: Make, engine: ScriptedEngine) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3", "s")
        script = list(evaluation({"base": ["good"]}, 1))
        cut = next(n for n, e in enumerate(script) if isinstance(e, events.TurnDone)) + 3
        engine.say(*script[:cut])
        await until_shown(pilot, "▸ 3")
        await pilot.press("enter")
        await until_shown(pilot, "usage: warden", "live: 0002-eval", "1 running")
        engine.say(*script[cut:])
        await until_shown(pilot, "verified", "0 running")
        await pilot.press("enter")
        await until_shown(pilot, "── verdict", "commands only")
