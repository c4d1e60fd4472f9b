"""What other processes write into the workspace is seen without a key, and nothing else moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.runs import RunInfo, Unreadable, read_folder
from sekft_engine.records.upkeep.trash import discard, restore
from sekft_tui.app import Workbench
from tests.tui.screen import screen_text, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, training
from tests.tui.stored import OpenJournal, stored_episode, stored_run

Make = Callable[[], Workbench]


async def test_the_row_of_the_running_run_says_its_newest_step(
    make_app: Make, workspace: Workspace, open_journal: OpenJournal
) -> None:
    stored_run(workspace, "001-train", training(9))
    journal = open_journal(stored_run(workspace, "002-train", training(9, upto=1), "running"))
    stored_run(workspace, "003-eval", evaluation({"base": ["good"]}, 1), kind="eval")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "3 runs", "step 1 of 9")
        await pilot.press("G", "f", *"kind:train", "enter")
        await until_shown(pilot, "2 of 3 runs")
        await pilot.press("G")
        under = app.screen.focused
        for event in training(9, upto=4):
            if isinstance(event, events.StepDone):
                journal.write(event)
        await until_shown(pilot, "step 4 of 9", "2 of 3 runs", "f: kind:train")
        assert app.screen.focused is under
        await pilot.press("d")
        await until_gone(pilot, "001-train")


async def test_a_run_that_another_process_resumes_is_no_longer_listed_as_died(
    make_app: Make, workspace: Workspace, open_journal: OpenJournal
) -> None:
    run = stored_run(
        workspace, "002-eval", evaluation({"base": ["run"]}, 1), "running", kind="eval"
    )
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "† ", "002-eval", "died")
        journal = open_journal(run)
        await until_shown(pilot, "▸  002-eval", "00:00 running")
        journal.close()
        await until_shown(pilot, "died")


async def test_runs_that_another_process_trashes_and_takes_back_go_and_come(
    make_app: Make, workspace: Workspace
) -> None:
    runs = [stored_run(workspace, f"00{n}-train", training(9)) for n in (1, 2, 3)]
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "3 runs", " 003-train  ")
        await pilot.press("j")
        await until_shown(pilot, " 002-train  /")
        discard(runs[2])
        await until_shown(pilot, "2 runs", " 002-train  /")
        restore("003-train", workspace.runs)
        await until_shown(pilot, "3 runs", " 002-train  /")
        discard(runs[1])  # the one under the cursor
        await until_shown(pilot, "2 runs", " 001-train  /")


async def test_a_title_given_in_another_workbench_is_shown(
    make_app: Make, workspace: Workspace
) -> None:
    run = stored_run(workspace, "001-train", training(9))
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "1 run", "001-train")
        (run / "notes.json").write_text(json.dumps({"title": "the good one"}))
        await until_shown(pilot, "the good one")


async def test_only_a_run_that_has_changed_is_read_again(
    make_app: Make, workspace: Workspace, open_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = open_journal(stored_run(workspace, "099-train", training(9, upto=1), "running"))
    for number in range(1, 39):
        stored_run(workspace, f"{number:03}-train", training(1))
    read: list[str] = []

    def read_and_note(folder: Path) -> RunInfo | Unreadable | None:
        read.append(folder.name)
        return read_folder(folder)

    monkeypatch.setattr("sekft_tui.panes.runs.shelf.read_folder", read_and_note)
    async with make_app().run_test(size=(120, 60)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "39 runs", "step 1 of 9")
        read.clear()
        journal.write(list(training(9, upto=2))[-1])
        await until_shown(pilot, "step 2 of 9")
        assert set(read) == {"099-train"}


async def test_the_list_of_episodes_follows_an_eval_that_another_process_records(
    make_app: Make, workspace: Workspace
) -> None:
    run = stored_run(workspace, "001-eval", evaluation({"base": ["good"]}, 1), kind="eval")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("4")
        await until_shown(pilot, "no episodes yet")
        stored_episode(run, "base", "held-004", ("ls", "notes"))
        await until_shown(pilot, "1 episode", "held-004", "notes")
        stored_episode(run, "base", "held-001", ("pwd", "/root"))
        await until_shown(pilot, "2 episodes", "held-001")
        assert "notes" in screen_text(app), "the episode that is played stays"
        await pilot.press("f", *"ls", "enter")
        await until_shown(pilot, "1 of 2 episodes")
        stored_episode(run, "base", "held-002", ("ls", "more"))
        await until_shown(pilot, "2 of 3 episodes", "f: ls", "notes")
        await pilot.press("k")
        await until_shown(pilot, "more")


async def test_the_running_episode_stays_while_others_are_listed_beside_it(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    run = stored_run(workspace, "001-eval", (), "running", kind="eval")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3", "s")
        engine.say(
            *(
                msgspec.structs.replace(event, run=run.name, path=str(run))
                if isinstance(event, events.RunCreated)
                else event
                for event in evaluation({"base": ["run"]}, 3)
            )
        )
        await until_shown(pilot, "0 of 3 episodes")
        await pilot.press("4")
        await until_shown(pilot, "no episodes yet", "the eval that is running has ended none")
        await pilot.press("3", "o", "enter")
        await until_shown(pilot, "live: ")
        await pilot.press("enter")
        await until_shown(pilot, "▸ base", "tidy-000", "warden --help")
        for number in (1, 2):
            stored_episode(run, "base", f"count-00{number}", ("ls", "notes"))
            await until_shown(pilot, f" {number} episode", f"count-00{number}", "▸ base")
            await pilot.press("tab" if number == 1 else "shift+tab")
        await until_shown(pilot, "▸ base", "tidy-000", "warden --help")
