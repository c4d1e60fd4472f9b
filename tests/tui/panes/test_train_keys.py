"""Train: keys without a run, and the view of a long curve."""

from __future__ import annotations

from collections.abc import Callable

from sekft_tui.app import Workbench
from sekft_tui.panes.train import TrainPane
from tests.tui.screen import until, until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training

Make = Callable[[], Workbench]


async def test_without_a_run_the_keys_of_a_run_say_so(make_app: Make) -> None:
    async with make_app().run_test(size=(120, 40), notifications=True) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2")
        await until_shown(pilot, "epochs")
        for key, said in (
            ("x", "no run to stop"), ("p", "no run to pause"), ("c", "no run to save"),
            ("right_square_bracket", "no further mark"), ("v", "no step yet"),
        ):  # fmt: skip
            await pilot.press(key)
            await until_shown(pilot, said)


async def test_one_key_leads_back_from_the_curve_to_the_recipe(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2")
        await until_shown(pilot, "epochs")
        await pilot.press("s")
        engine.say(*training(60, upto=4))
        await until_shown(pilot, "step 4/60")
        form = app.query_one(TrainPane).form
        assert app.focused is not form
        await pilot.press("o")
        await until(pilot, lambda: app.focused is form)
        await until_shown(pilot, " Recipe")
        await pilot.press("o")
        await until_gone(pilot, " Recipe")
        await pilot.press("o")
        assert form.has_focus


async def test_what_is_wrong_with_a_value_is_said_below_the_names(make_app: Make) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2")
        await until_shown(pilot, "max steps")
        await pilot.press("j", "j", "enter", "x")
        shown = await until_shown(pilot, "enter a whole number")
        lines = shown.splitlines()
        problem = next(line for line in lines if "enter a whole number" in line)
        name = next(line for line in lines if line.strip().startswith("rank"))
        assert problem.index("✗") == name.index("rank")


async def test_a_curve_is_zoomed_moved_and_followed_again(
    make_app: Make, engine: ScriptedEngine
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2")
        engine.say(*training(60, upto=40))
        await until_shown(pilot, "step 40/60")
        chart = app.query_one(TrainPane).chart
        await pilot.press("L")
        await until_shown(pilot, "all of it is in view; + zooms in")
        await pilot.press("plus")
        await until(pilot, lambda: chart.view.span > 0, "a part is in view")
        near = chart.view.span
        await pilot.press("minus")
        await until(pilot, lambda: chart.view.span != near, "more is in view")
        await pilot.press("plus", "H", "left")
        await until(pilot, lambda: chart.view.cursor > 0, "a cursor")
        await pilot.press("F")
        await until(pilot, lambda: chart.view.follow and not chart.view.cursor, "the newest step")
