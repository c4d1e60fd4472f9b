"""What a workspace's forms and lists were is there again in the next session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_tui.app import Workbench
from sekft_tui.panes.eval import EvalPane
from sekft_tui.panes.train.recipe import RecipePart
from sekft_tui.panes.trajectories import TrajectoriesPane
from sekft_tui.process.remembered import Remembered
from sekft_tui.process.settings import load_state, state_path
from tests.tui.screen import until, until_shown
from tests.tui.scripted import ScriptedEngine

Make = Callable[..., Workbench]


async def test_an_edited_recipe_is_there_again_and_can_be_given_up(make_app: Make) -> None:
    app = make_app()
    default = app.recipe
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: bool(app.query(RecipePart)), "Train")
        part = app.query_one(RecipePart)
        part.put("rank", "4")
        part.put("device", "cpu")
        part.put("name", "mine")
        app.leave()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: app.recipe.rank == 4, "the recipe")
        part = app.query_one(RecipePart)
        assert part.run["device"] == "cpu"
        assert part.run["name"] == "", "a name is for one run"
        part.reset()
        assert app.recipe == default
        app.leave()
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "Recipe")
        assert pilot.app.query_one(RecipePart).recipe() == default


async def test_the_set_up_of_evals_is_there_again(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: bool(app.query(EvalPane)), "Eval")
        pane = app.query_one(EvalPane)
        pane._changed("step_cap", "7")
        pane._changed("userland", "debian")
        app.leave()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: bool(app.query(EvalPane)), "Eval")
        values = app.query_one(EvalPane).setup.values
        await until(pilot, lambda: values["step_cap"] == "7", "the set-up")
        assert values["userland"] == "debian"


async def test_filter_and_place_in_the_list_are_there_again(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("j")
        pane = app.query_one(TrajectoriesPane)
        await until(pilot, lambda: pane.list.cursor == 1, "the second one")
        current = pane.current
        assert current is not None
        name = current.id
        app.leave()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "certified")
        pane = app.query_one(TrajectoriesPane)
        await until(pilot, lambda: bool(pane.current and pane.current.id == name), "its place")


def test_what_is_not_valid_any_more_is_left_out(
    engine: ScriptedEngine, workspace: Workspace
) -> None:
    Remembered(workspace.root).keep_form("train", {"rank": "minus one", "gone": "1"})
    app = Workbench(engine, workspace)
    assert app.recipe == Recipe()
    assert app.remembered.form("train")["rank"] == "minus one", "the form judges it"


def test_two_workbenches_forget_nothing_of_each_others_workspaces(tmp_path: Path) -> None:
    one, two = Remembered(tmp_path / "one"), Remembered(tmp_path / "two")
    one.keep_form("train", {"lr": "0.1"})
    two.keep_form("train", {"lr": "0.2"})
    one.keep_form("eval", {"n": "3"})
    assert Remembered(tmp_path / "one").form("eval") == {"n": "3"}
    assert Remembered(tmp_path / "two").form("train") == {"lr": "0.2"}


def test_a_damaged_state_file_costs_what_was_remembered_and_nothing_else(tmp_path: Path) -> None:
    path = state_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"forms": 7}')
    Remembered(tmp_path).keep_form("train", {"lr": "0.1"})
    assert load_state().forms == {str(tmp_path): {"train": {"lr": "0.1"}}}
