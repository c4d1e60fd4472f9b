"""Runs: what a key says where it can do nothing, and where it leads to another pane."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from sekft_engine.data.workspace import Workspace
from sekft_engine.records.upkeep.run_notes import RunNotes, write_notes
from sekft_tui.app import Workbench
from sekft_tui.panes.runs import RunsPane
from tests.tui.panes.test_runs_pane import filled
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import training
from tests.tui.stored import stored_run

__all__ = ["filled"]

Make = Callable[[], Workbench]
SIZE = (120, 40)


async def test_keys_that_do_not_fit_the_run_say_so_and_change_nothing(
    filled: Workspace, make_app: Make
) -> None:
    stored_run(filled, "006-sweep", training(0), kind="sweep")
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "8 runs")
        await pilot.press("slash", *"003-eval", "enter", "P")
        await until_shown(pilot, "only training runs have curves")
        await pilot.press("a")
        await until_shown(pilot, "this run has no adapter")
        await pilot.press("C")
        await until_shown(pilot, "mark two or more runs with m, then C shows them side by side")
        await pilot.press("U")
        await until_shown(pilot, "nothing to take back: the workspace's trash is empty")
        await pilot.press("slash", *"006-sweep", "enter", "enter")
        await until_shown(pilot, "this sweep has no training runs yet")
        assert app.pane == "runs"


async def test_marks_are_taken_away_again_and_only_as_many_as_fit_are_set(
    filled: Workspace, make_app: Make
) -> None:
    async with make_app().run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("g", "m")
        await until_shown(pilot, "1 marked")
        await pilot.press("g", "m")
        await until_gone(pilot, "1 marked")
        await pilot.press("g", *"mj" * 7)
        await until_shown(pilot, "6 runs are marked; more do not fit side by side")


async def test_the_adapter_of_a_run_is_chosen_in_the_eval_pane(
    filled: Workspace, make_app: Make
) -> None:
    adapter = filled.runs / "002-train" / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 4}')
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"002-train", "enter", "a")
        await until(pilot, lambda: app.pane == "eval", "the eval pane")
        await until_shown(pilot, "[x] 002-train")


async def test_what_was_deleted_and_cannot_come_back_says_why(
    filled: Workspace, make_app: Make
) -> None:
    async with make_app().run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("slash", *"003-eval", "enter", "d")
        await until_shown(pilot, "6 runs")
        shutil.rmtree(filled.root / "trash" / "003-eval")
        await pilot.press("U")
        await until_shown(pilot, "6 runs", "003-eval", "no such")


async def test_after_the_last_row_is_deleted_the_cursor_is_on_the_one_above(
    workspace: Workspace, make_app: Make
) -> None:
    for number in (1, 2, 3):
        name = f"{number:03}-train"
        stored_run(workspace, name, training(2, run=name))
    app = make_app()
    async with app.run_test(size=(160, 48)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "3 runs")
        pane = app.query_one(RunsPane)
        await pilot.press("G", "d")
        await until_shown(pilot, "2 runs")
        assert pane.row is not None
        assert pane.row.id == "002-train"
        await pilot.press("g", "d")
        await until_shown(pilot, "1 run")
        assert pane.row is not None
        assert pane.row.id == "002-train"


async def test_a_filter_without_its_number_is_refused_when_it_is_accepted(
    workspace: Workspace, make_app: Make
) -> None:
    stored_run(workspace, "001-train", training(2, run="001-train"))
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "1 run")
        await pilot.press("f", *"loss<", "enter")
        await until_shown(pilot, "loss< is without a value (as loss<1.5)")
        await pilot.press("a", "enter")
        await until_shown(pilot, "loss is a number, not 'a' (as in loss<1.5)")
        await pilot.press("backspace", "9", "enter")
        await until_shown(pilot, "f: loss<9")
        await pilot.press("f", "ctrl+u", *"kind:foo", "enter")
        await until_shown(pilot, "kind is train, eval, sweep")
        await pilot.press("ctrl+u", *"status:died", "enter")
        await until_shown(pilot, "0 of 1 run")


async def test_what_is_left_out_of_a_result_and_its_tags_is_told_once(
    filled: Workspace, make_app: Make
) -> None:
    write_notes(filled.runs / "002-train", RunNotes(tags=("a-rather-long-tag", "another-long-tag")))
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        shown = await until_shown(pilot, "002-train  ", "→ 0.40")
    line = next(line for line in shown.splitlines() if "002-train  " in line)
    assert "loss" in line
    assert line.count("…") == 1


async def test_an_empty_list_names_the_keys_that_start_a_training_and_an_eval(
    workspace: Workspace, make_app: Make
) -> None:
    (workspace.root / "keys.toml").write_text('"train.start" = "ctrl+r"')
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "2 then ^r starts a training, 3 then s starts an eval")
        await pilot.press("Q")
        await until_shown(pilot, "^r in Train or s in Eval starts one")


async def test_comparing_runs_shows_both_keys_of_the_curves(
    workspace: Workspace, make_app: Make
) -> None:
    for number in (1, 2):
        name = f"{number:03}-train"
        stored_run(workspace, name, training(2, run=name))
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "2 runs")
        await pilot.press("m", "j", "m", "C")
        await until_shown(pilot, "⏎ c curves in one chart")


async def test_the_reason_why_a_prompt_refuses_is_read_to_its_end(
    filled: Workspace, make_app: Make
) -> None:
    """Also where the path is long, and the way out is."""
    for run in filled.runs.iterdir():
        (run / "notes.json").mkdir()  # so that no notes can be written, whoever tries
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "7 runs")
        await pilot.press("f", *"bogus:1", "enter")
        shown = await until_shown(pilot, "no field 'bogus'")
        assert shown.splitlines()[-2].rstrip().endswith("no field 'bogus'"), shown
        await pilot.press("escape", "c", *"a note of some length", "enter")
        await until_shown(pilot, "note: ", "cannot be written: Is a directory")


async def test_of_a_manifest_that_cannot_be_read_the_list_says_where_it_leaves_something_out(
    filled: Workspace, make_app: Make
) -> None:
    for number in range(20):  # of some length the cut would fall to the last cell
        folder = filled.runs / f"1{number:02}-train"
        folder.mkdir()
        (folder / "run.json").write_text('{"id": "' + "x" * number)
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "20 folders cannot be read")
        await pilot.press("G")
        shown = await until_shown(pilot, "119-train")
        rows = [line for line in shown.splitlines() if "unreadable " in line]
        assert rows
        assert all("…" in line.split("unreadable")[1] for line in rows), shown
