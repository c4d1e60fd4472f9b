"""What a workspace's forms and lists were is there again in the next session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_tui.app import Workbench
from sekft_tui.panes.eval import EvalPane
from sekft_tui.panes.eval.setup import EvalSetup
from sekft_tui.panes.replay import ReplayPane
from sekft_tui.panes.train import TrainPane
from sekft_tui.panes.train.recipe import RecipePart
from sekft_tui.panes.trajectories import TrajectoriesPane
from sekft_tui.process.remembered import Remembered
from sekft_tui.process.settings import load_state, state_path
from tests.tui.screen import until, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, training
from tests.tui.stored import stored_episode, stored_run

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


async def test_the_models_that_were_ticked_are_ticked_again(
    make_app: Make, workspace: Workspace, engine: ScriptedEngine
) -> None:
    def trained(number: int) -> Path:
        name = f"{number:03}-train"
        run = stored_run(workspace, name, training(steps=2, upto=2, run=name))
        (run / "adapter").mkdir(exist_ok=True)
        (run / "adapter" / "adapter_config.json").write_text("{}")
        return run / "adapter"

    trained(1)
    trained(2)
    async with make_app().run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        shown = await until_shown(pilot, "[x] base", "[x] 002-train", "[ ] 001-train")
        assert "Set-up" in shown
        await pilot.press("home", "space", "j", "space", "j", "space")
        await until_shown(pilot, "[ ] base", "[ ] 002-train", "[x] 001-train")
    async with make_app().run_test(size=(80, 24)) as pilot:  # nobody left the first in order
        await pilot.press("3")
        await until_shown(pilot, "[ ] base", "[ ] 002-train", "[x] 001-train")
        saved = events.AdapterSaved(
            job="train-3", name="3", path=str(trained(3)), digest="", step=2
        )
        engine.say(saved)  # an adapter that is trained meanwhile is no choice of the user's
        await until_shown(pilot, "[ ] 003-train", "[ ] 002-train", "[x] 001-train")


def test_a_workbench_that_changed_nothing_overwrites_nothing_of_another(tmp_path: Path) -> None:
    mine, other = Remembered(tmp_path), Remembered(tmp_path)
    mine.keep_form("eval", {"n": "3", "step_cap": "4", "turn_tokens": "32"})
    other.keep_form("pane", {"name": "eval"})
    other.keep_form("eval", {"seed": "1"})
    assert Remembered(tmp_path).form("eval") == {
        "n": "3",
        "step_cap": "4",
        "turn_tokens": "32",
        "seed": "1",
    }
    mine.keep_form("eval", {"n": "3", "turn_tokens": "32"})
    assert Remembered(tmp_path).form("eval") == {"n": "3", "turn_tokens": "32", "seed": "1"}


async def test_pinned_runs_and_theme_of_another_workbench_stay(
    make_app: Make, workspace: Workspace
) -> None:
    stored_run(workspace, "001-train", training(steps=2, upto=2, run="001-train"))
    idle, busy = make_app(), make_app()
    async with busy.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, "001-train")
        await pilot.press("P")
        busy.theme = "textual-light"
        busy.remember()
    async with idle.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "certified")
        idle.state = msgspec.structs.replace(idle.state, tmux_hint_shown=True)
        idle.remember()
    state = load_state()
    assert state.tmux_hint_shown
    assert state.theme == "textual-light"
    assert state.pinned == {str(workspace.root): ("001-train",)}


def test_a_number_lowered_to_the_worlds_there_are_is_not_the_users(tmp_path: Path) -> None:
    setup = EvalSetup()
    start = dict(setup.values)
    setup.set_choices((), 3)
    setup.change("seed", "7")
    assert setup.values["n"] == "3"
    assert setup.changed(start) == {"seed": "7"}


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


async def test_view_and_kind_of_tokens_are_there_again(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("v", "v", "m")
        view = app.query_one(TrajectoriesPane).view
        chosen = view.view_name, view.mode
        assert chosen == ("ids", "trained")
        app.leave()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "certified")
        view = app.query_one(TrajectoriesPane).view
        assert (view.view_name, view.mode) == chosen


async def test_train_and_eval_open_on_the_newest_run_and_later_on_the_one_shown(
    make_app: Make, workspace: Workspace
) -> None:
    for number in range(1, 3):
        name = f"{number:03}-train"
        stored_run(workspace, name, training(steps=20 * number, upto=20 * number, run=name))
    evaluated = evaluation({"base": ["good", "cap"]}, 2, run="003-eval")
    stored_run(workspace, "003-eval", evaluated, kind="eval")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("2")
        await until_shown(pilot, "002-train", "from its journal")
        await pilot.press("A", "S")
        await pilot.press("3")
        await until_shown(pilot, "003-eval", "2 of 2 episodes")
        await pilot.press("5")
        await until_shown(pilot, "001-train")
        await pilot.press("G", "enter")
        await until_shown(pilot, "001-train", "from its journal")
        app.remember()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "001-train", "from its journal")
        chart = app.query_one(TrainPane).chart
        assert chart.view.log
        assert chart.view.smoothing == 0.9
        await pilot.press("5")
        await until_shown(pilot, " 001-train")


async def test_the_episode_that_was_replayed_and_the_large_part_are_there_again(
    make_app: Make, workspace: Workspace
) -> None:
    run = stored_run(workspace, "001-eval", (), kind="eval")
    for world in ("held-000", "held-001"):
        stored_episode(run, "base", world, ("warden", "go\nuser@box:~$"), ("exit", ""))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("4")
        await until_shown(pilot, "2 episodes")
        await pilot.press("j", "z")
        await until(pilot, lambda: app.screen.maximized is not None, "large")
        app.remember()
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.maximized is not None, "large again")
        pane = app.query_one(ReplayPane)
        await until(pilot, lambda: pane.current is not None, "read")
        assert pane.current is not None
        assert pane.current.path.endswith("held-001.json")


async def test_a_workbench_that_is_killed_has_kept_what_it_showed(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("T", "3")
        await until_shown(pilot, "Set-up")
        theme = app.theme
        app.remember()  # done every few seconds; nothing is done at the end
        assert load_state().theme == theme
    assert make_app().pane == "eval"


async def test_data_that_is_named_is_what_is_shown_first(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    app = make_app()
    async with app.run_test() as pilot:
        await pilot.press("6")
        await pilot.press("q")
    again = Workbench(engine, workspace)
    assert again.pane == "log"
    named = Workbench(engine, workspace, hub="nobody/nothing", named=True)
    assert named.pane == "trajectories"
