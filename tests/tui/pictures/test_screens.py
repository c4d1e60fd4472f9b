"""Every screen that covers the panes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_tui.app import Workbench
from tests.tui.pictures.conftest import BOX_SIZES, SMALL, Make, Picture, Size, begin
from tests.tui.pictures.scenes import empty, rate_search, stored_eval, unlike_what_was_recorded
from tests.tui.screen import until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training


@pytest.mark.parametrize("pane", ["trajectories", "train", "eval", "replay", "runs", "log"])
def test_help_lists_the_keys_of_the_pane(
    tmp_path: Path, engine: ScriptedEngine, picture: Picture, pane: str
) -> None:
    begin(pane)

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "? help")
        await pilot.press("?")
        await until_shown(pilot, "close")

    picture(Workbench(engine, empty(tmp_path)), SMALL, steps)


@BOX_SIZES
def test_leaving_while_a_job_runs_is_asked_for(
    make_app: Make, engine: ScriptedEngine, picture: Picture, size: Size
) -> None:
    begin("train")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "epochs")
        await pilot.press("j", "j", "s")
        engine.say(*training(upto=2))
        await until_shown(pilot, "step 2/60")
        await pilot.press("q")
        await until_shown(pilot, "Training is still running")

    picture(make_app(), size, steps)


@BOX_SIZES
def test_the_queue_shows_what_runs_and_what_waits(
    make_app: Make, engine: ScriptedEngine, picture: Picture, size: Size
) -> None:
    begin("log")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "nothing logged yet")
        queued = [
            events.Queued(id="eval-2", kind="eval", label="001-train"),
            events.Queued(id="train-3", kind="train", label="second", held=True),
            events.Queued(id="train-4", kind="train", label="third", held=True, resumes=True),
        ]
        running = events.Queued(id="train-1", kind="train", label="first")
        engine.say(*training(upto=2), events.QueueChanged(job="", running=running, waiting=queued))
        await pilot.press("Q")
        await until_shown(pilot, "held", "third", "remove")

    picture(make_app(), size, steps)


@BOX_SIZES
def test_an_error_is_shown_with_all_that_is_known_of_it(
    make_app: Make, engine: ScriptedEngine, picture: Picture, size: Size
) -> None:
    begin("train")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "epochs")
        trace = 'Traceback (most recent call last):\n  File "job.py", line 7\nOSError: no space'
        await pilot.press("j", "j")
        engine.say(
            events.JobStarted(job="train-1", kind="train"),
            events.JobFailed(
                job="train-1", kind="train", error="no space left on the disk", trace=trace
            ),
        )
        await until_shown(pilot, "error · e shows details")
        pilot.app.clear_notifications()
        await until_gone(pilot, "error · e shows details")
        await pilot.press("e")
        await until_shown(pilot, "Traceback")

    picture(make_app(), size, steps)


def test_an_error_is_told_at_once_in_a_corner(
    tmp_path: Path, engine: ScriptedEngine, picture: Picture
) -> None:
    begin("runs")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "no runs yet")
        engine.say(
            events.JobStarted(job="export-1", kind="export"),
            events.JobFailed(job="export-1", kind="export", error="no space left on the disk"),
        )
        await until_shown(pilot, "no space left")

    picture(Workbench(engine, empty(tmp_path)), SMALL, steps)


@BOX_SIZES
def test_making_the_demo_workspace_is_shown_task_by_task(
    tmp_path: Path, engine: ScriptedEngine, picture: Picture, size: Size
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "making the demo workspace")
        engine.say(events.JobStarted(job="setup-1", kind="setup"))
        for label, done, total, detail in (
            ("fetch the base", 270, 270, "MB"),
            ("make worlds", 31, 48, "count-031"),
        ):
            engine.say(
                events.Progress(job="setup-1", label=label, done=done, total=total, detail=detail)
            )
            await until_shown(pilot, label)

    picture(Workbench(engine, empty(tmp_path), demo=True), size, steps)


@BOX_SIZES
def test_the_figures_of_a_data_set(make_app: Make, picture: Picture, size: Size) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "12 trajectories", "✓ certified")
        await pilot.press("i")
        await until_shown(pilot, "trained share", "archetypes")
        await until_gone(pilot, "of 12 certified")

    picture(make_app(), size, steps)


@BOX_SIZES
def test_the_figures_of_an_eval(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace, picture: Picture, size: Size
) -> None:
    run = stored_eval(workspace)
    begin("eval")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "2 held out")
        engine.say(
            events.JobStarted(job="eval-1", kind="eval"),
            events.RunCreated(job="eval-1", run=run.name, path=str(run), kind="eval"),
            events.EvalStarted(
                job="eval-1", subjects=["base", "tuned"], scenarios=["held-000", "held-001"],
                archetypes=["touch", "touch"],
            ),
        )  # fmt: skip
        await until_shown(pilot, "eval 0/4")
        await pilot.press("i")
        await until_shown(pilot, "rates [95 %]")

    picture(make_app(), size, steps)


@BOX_SIZES
def test_a_search_for_a_learning_rate_and_what_it_suggests(
    make_app: Make, engine: ScriptedEngine, picture: Picture, size: Size
) -> None:
    begin("train")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "epochs")
        await pilot.press("j", "j", "r", "enter")
        engine.say(*rate_search("find_rate-1"))
        await until_shown(pilot, "0.0021")
        await until_gone(pilot, "is found")

    picture(make_app(), size, steps)


def test_a_command_is_found_by_its_name(
    tmp_path: Path, engine: ScriptedEngine, picture: Picture
) -> None:
    begin("log")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "nothing logged yet")
        await pilot.press("ctrl+p")
        await until_shown(pilot, "Search")
        pilot.app.screen.query_one(Input).cursor_blink = False
        await pilot.press(*"workspace from disk")
        await until_shown(pilot, "Read the workspace from disk again")

    picture(Workbench(engine, empty(tmp_path)), SMALL, steps)


async def _typed(pilot: Pilot[int], *commands: str) -> None:
    """Begin in the first world that is offered, and type there."""
    await pilot.press("W")
    await until_shown(pilot, "held-001")
    await pilot.press("enter")
    await until_shown(pilot, "your turn", "history")
    for number, command in enumerate(commands, 1):
        await pilot.press(*_keys(command), "enter")
        await until_shown(pilot, "✓" if command == "exit" else f"{number} command")


def _keys(text: str) -> Sequence[str]:
    names = {" ": "space", "/": "slash"}
    return [names.get(letter, letter) for letter in text]


@BOX_SIZES
def test_the_worlds_in_which_one_may_type_by_hand(
    make_app: Make, picture: Picture, size: Size
) -> None:
    begin("log")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "nothing logged yet")
        await pilot.press("W")
        await until_shown(pilot, "held-001")

    picture(make_app(), size, steps)


@BOX_SIZES
def test_a_session_typed_by_hand(make_app: Make, picture: Picture, size: Size) -> None:
    begin("log")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "nothing logged yet")
        await _typed(pilot, "bin/warden", "touch done")
        await pilot.press(*"exi")

    picture(make_app(), size, steps)


def test_a_session_typed_by_hand_is_judged(make_app: Make, picture: Picture) -> None:
    begin("log")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "nothing logged yet")
        await _typed(pilot, "seq 40", "touch done", "exit")
        await until_shown(pilot, "worth training on", "keep in")
        await pilot.press("g")  # the end says how long it took
        await until_shown(pilot, "Ask warden.")

    picture(make_app(), SMALL, steps)


def test_leaving_what_was_typed_by_hand_is_asked_for(make_app: Make, picture: Picture) -> None:
    begin("log")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "nothing logged yet")
        await _typed(pilot, "touch done")
        await pilot.press("escape", "q")
        await until_shown(pilot, "is not kept")

    picture(make_app(), SMALL, steps)


@BOX_SIZES
def test_a_world_that_answers_not_as_recorded(
    make_app: Make, workspace: Workspace, picture: Picture, size: Size
) -> None:
    unlike_what_was_recorded(workspace)
    begin("replay")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "1 episode", "verdict")
        await pilot.press("c", ".", ".", "t")
        await until_shown(pilot, "not as recorded", "make the folder done", "your turn")

    picture(make_app(), size, steps)
