"""The first line says what goes on, from every pane; what small terminals show is whole."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events, jobs
from sekft_engine.records.runs import create_run
from sekft_tui.app import Workbench
from sekft_tui.widgets.bars import shortened
from tests.tui.screen import screen_text, until, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, training

Make = Callable[[], Workbench]


def header(app: Workbench) -> str:
    return screen_text(app).splitlines()[0]


def said_of_the_engine(app: Workbench) -> str:
    """What stands to the right of the tabs."""
    return header(app).partition("6 Log")[2].strip()


@pytest.mark.parametrize(
    ("width", "says"),
    [
        (160, "tiny on cpu · 0001-train ▸ train 9/60"),
        (120, "tiny on cpu · 0001-train ▸ train 9/60"),
        (100, "tiny on cpu ▸ train 9/60"),
        (90, "tiny ▸ train 9/60"),
        (80, "▸ train 9/60"),
        (60, "▸ 9/60"),
    ],
)
async def test_the_header_says_base_device_run_and_progress_as_far_as_there_is_room(
    make_app: Make, engine: ScriptedEngine, width: int, says: str
) -> None:
    """Progress first, then the base, the run, and where the base is."""
    app = make_app()
    async with app.run_test(size=(width, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        engine.say(*training(60, upto=9))
        await until(pilot, lambda: said_of_the_engine(app) == says, says)
        await pilot.press("6")
        await until(pilot, lambda: said_of_the_engine(app) == says, "in another pane, too")


@pytest.mark.parametrize(
    ("width", "done", "says"),
    [
        (80, ("rendering", 42, 448, 0.0), "▸ rendering 42/448"),
        (80, ("measuring memory", 269, 270, 0.0), "▸ measuring 269/270"),
        (80, ("loading", 89_600, 100_000, 0.1), "▸ loading 89.6 %"),
        (120, ("loading", 89_600, 100_000, 0.1), "▸ train loading 89.6 %, 0.1 s left"),
        (70, ("rendering", 42, 448, 0.0), "▸ rendering 42/448"),
    ],
)
async def test_a_number_in_the_header_says_what_it_counts(
    make_app: Make,
    engine: ScriptedEngine,
    width: int,
    done: tuple[str, int, int, float],
    says: str,
) -> None:
    label, so_far, total, left = done
    app = make_app()
    async with app.run_test(size=(width, 24)) as pilot:
        await until_shown(pilot, "12 traj")
        engine.say(
            events.JobStarted(job="train-1", kind="train", t=1.0),
            events.Progress(job="train-1", label=label, done=so_far, total=total, left=left),
        )
        await until(pilot, lambda: header(app).endswith(says), says)


@pytest.mark.parametrize(
    ("doing", "room", "says"),
    [
        ("▸ train 3/194 held-out 42/448", 21, "▸ held-out 42/448"),
        ("▸ train rendering 42/448", 17, "▸ renderi… 42/448"),
        ("▸ setup scenarios 12/40 +1", 22, "▸ scenarios 12/40 +1"),
        ("⇄ 12345 ▸ train rendering 42/448", 21, "▸ rendering 42/448"),
        ("⇄ ▸ train 3/194 held-out 42/448", 21, "⇄ ▸ held-out 42/448"),
        ("▸ find rate 12/40", 13, "▸ rate 12/40"),
        ("▸ train 3/194", 9, "▸ 3/194"),
    ],
)
def test_of_what_the_engine_does_the_count_stays_and_what_is_counted(
    doing: str, room: int, says: str
) -> None:
    assert shortened(doing, room) == says


@pytest.mark.parametrize(
    ("room", "says"),
    [
        (30, "▸ train preparing the adapter"),
        (24, "▸ preparing the adapter"),
        (18, "▸ preparing"),
    ],
)
def test_what_is_prepared_is_said_rather_than_for_which_job(room: int, says: str) -> None:
    assert shortened("▸ train preparing the adapter", room) == says


async def test_a_base_that_is_not_loaded_is_on_no_device_and_a_run_that_ended_is_not_named(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(160, 24)) as pilot:
        await until(pilot, lambda: said_of_the_engine(app) == "tiny idle", "nothing is loaded")
        engine.say(*training(5))
        await until(pilot, lambda: said_of_the_engine(app) == "tiny on cpu idle", "it is over")
        engine.say(*evaluation({"base": ["good", "run"]}, 2))
        await until(
            pilot,
            lambda: said_of_the_engine(app) == "tiny on cpu · 0002-eval ▸ eval 1/2",
            "an eval",
        )
        engine.say(events.JobCancelled(job="eval-1", kind="eval"))
        await until(pilot, lambda: header(app).endswith("  tiny on cpu idle"), "it was stopped")


async def test_a_run_that_another_process_writes_is_said_while_this_engine_does_nothing(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    """As of a workbench that was left, and still ends its step."""
    run = create_run(workspace.runs, "train", about={})
    app = make_app()
    async with app.run_test(size=(160, 24)) as pilot:
        says = "tiny · 001-train ▸ train elsewhere"
        await until(pilot, lambda: said_of_the_engine(app) == says, says)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: said_of_the_engine(app) == "▸ train elsewhere", "on 80 columns")
        engine.say(*training(60, upto=9))
        await until(pilot, lambda: header(app).endswith("▸ train 9/60"), "its own job comes first")
        engine.say(events.JobDone(job="train-1", kind="train", result={}))
        await until(pilot, lambda: header(app).endswith("▸ train elsewhere"), "still alive")
        run.close()
        await until(pilot, lambda: header(app).endswith("idle"), "it has ended")


async def test_a_job_that_waits_for_the_engine_is_counted_once(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(160, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        engine.submit(jobs.Train(base="tiny"))
        await until(pilot, lambda: said_of_the_engine(app) == "tiny … train", "it waits alone")
        engine.submit(jobs.Train(base="tiny"))
        await until(pilot, lambda: said_of_the_engine(app) == "tiny … train +1", "another waits")
        app.leave()
    assert app.farewell.startswith("2 unfinished: ")


async def test_tabs_stay_where_they_are_whatever_the_engine_does(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    tabs = " 1 Traj  2 Train  3 Eval  4 Replay  5 Runs  6 Log "
    async with app.run_test(size=(60, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        assert header(app).startswith(tabs)
        engine.say(*training(60, upto=9))
        await until(pilot, lambda: "9/60" in header(app), "it trains")
        await pilot.press("4")
        await until_shown(pilot, "no episodes yet")
        assert header(app).startswith(tabs)
        await pilot.resize_terminal(40, 24)
        await until(pilot, lambda: header(app).startswith(" 1  2  3  4 Replay  5  6 "), "numbers")
        assert header(app).endswith("9/60")


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("pane", ["1", "3", "4"])
async def test_what_help_says_is_wrapped_and_never_cut_off(
    make_app: Make, width: int, pane: str
) -> None:
    async with make_app().run_test(size=(width, 200)) as pilot:
        await pilot.press(pane, "question_mark")
        shown = await until_shown(pilot, "╭─ keys", "Everywhere")
        box = [line.split("│")[1] for line in shown.splitlines() if line.count("│") > 1]
        words = " ".join(" ".join(box).split())
        meaning = {
            "1": "a control or invisible character, made visible",
            "3": "ended by itself, the right way, and the check passed",
            "4": "To the verdict and the checker's output",
        }
        assert meaning[pane] in words


@pytest.mark.parametrize("width", [60, 80])
async def test_every_fact_of_the_statistics_stands_beside_its_name(
    make_app: Make, width: int
) -> None:
    async with make_app().run_test(size=(width, 60)) as pilot:
        await until_shown(pilot, "12 trajectories", "✓ certified")
        await pilot.press("i")
        shown = await until_shown(pilot, "what would be trained on", "longest")
        for fact in ("trajectories", "trained on", "dropped", "trained share", "p95", "longest"):
            assert re.search(rf" {fact} +[0-9]", shown), fact
