"""A run that another process resumes is followed in the pane that shows runs of its kind."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_tui.app import Workbench
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training
from tests.tui.stored import OpenJournal, stored_run

Make = Callable[..., Workbench]


def steps(first: int, last: int) -> list[Event]:
    """What is added to the journal of a training run of nine steps."""
    done = [event for event in training(9) if isinstance(event, events.StepDone)]
    return [event for event in done if first <= event.step <= last]


async def test_the_run_that_is_shown_is_followed_once_another_workbench_resumes_it(
    make_app: Make, workspace: Workspace, open_journal: OpenJournal
) -> None:
    run = stored_run(workspace, "006-train", training(9, upto=5), "stopped")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "006-train", "step 5/9")
        other = open_journal(run)
        for event in steps(6, 6):
            other.write(event)
        await until_shown(pilot, "step 6/9")
        for event in steps(7, 9):
            other.write(event)
        await until_shown(pilot, "step 9/9")


async def test_a_run_of_this_workbench_that_another_one_resumes_is_followed_too(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace, open_journal: OpenJournal
) -> None:
    run = stored_run(workspace, "006-train", training(9, upto=5), "stopped")
    here = [
        msgspec.structs.replace(event, run=run.name, path=str(run))
        if isinstance(event, events.RunCreated)
        else event
        for event in training(9, upto=5)
    ]
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2", "s")
        engine.say(*here, events.JobCancelled(job="train-1", kind="train"))
        await until_shown(pilot, "step 5/9", "■ stopped")
        other = open_journal(run)
        for event in steps(6, 8):
            other.write(event)
        await until_shown(pilot, "step 8/9", "▸ in another process")
        await until(pilot, lambda: app.run_elsewhere is not None, "the header knows it")
        other.close()
        await until_gone(pilot, "▸ in another process")


async def test_another_run_that_is_resumed_takes_the_place_of_the_one_shown_unasked(
    make_app: Make, workspace: Workspace, open_journal: OpenJournal
) -> None:
    earlier = stored_run(workspace, "006-train", training(9, upto=5), "stopped")
    stored_run(workspace, "007-train", training(9))
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "007-train", "step 9/9")
        other = open_journal(earlier)
        for event in steps(6, 7):
            other.write(event)
        await until_shown(pilot, "006-train", "step 7/9")


async def test_a_run_that_was_opened_stays_while_another_one_is_resumed(
    make_app: Make, workspace: Workspace, open_journal: OpenJournal
) -> None:
    earlier = stored_run(workspace, "006-train", training(9, upto=5), "stopped")
    stored_run(workspace, "007-train", training(9))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "007-train")
        await pilot.press("enter")
        await until_shown(pilot, "step 9/9")
        open_journal(earlier).write(steps(6, 6)[0])
        await until(pilot, lambda: app.run_elsewhere is not None, "it is known")
        await until_shown(pilot, "007-train", "step 9/9")
