"""What else the panes show: other views, prompts, a batch, runs and subjects side by side."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from tests.tui.conftest import Show, trajectory
from tests.tui.pictures.conftest import MIDDLE, SMALL, Make, Picture, Size, at, begin
from tests.tui.pictures.scenes import stored_eval
from tests.tui.screen import until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, training, watched
from tests.tui.stored import stored_run

THEMES = ("sekft-dark", "sekft-light", "sekft-colour-blind-dark", "sekft-colour-blind-light")


@pytest.mark.parametrize(
    ("presses", "name"),
    [
        (1, "token edges"),
        (2, "token ids"),
        (3, "control tokens"),
        (4, "labels"),
        (5, "certificate"),
    ],
    ids=lambda value: str(value).replace(" ", "-"),
)
def test_a_session_in_each_view_of_its_tokens(
    make_app: Make, picture: Picture, presses: int, name: str
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "12 trajectories", "✓ certified", "1 dropped")
        await pilot.press(*["v"] * presses)
        await until_shown(pilot, name)

    picture(make_app(), MIDDLE, steps)


@pytest.mark.parametrize("theme", THEMES)
def test_trained_and_masked_text_in_every_theme(
    make_app: Make, picture: Picture, theme: str
) -> None:
    begin("trajectories", theme)

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "12 trajectories", "✓ certified")
        await pilot.press("enter", ")")
        await until_shown(pilot, "turn 2/6")

    picture(make_app(), SMALL, steps)


def test_a_dropped_session_says_why(show: Show, picture: Picture) -> None:
    rows = [trajectory(number, "good") for number in range(3)]
    rows[1]["turns"] = rows[1]["turns"][:1]

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "3 trajectories", "✓ certified")
        await pilot.press("d")
        await until_shown(pilot, "no_command: ")

    picture(show(rows), SMALL, steps)


def test_a_filter_that_is_wrong_says_so_while_it_is_typed(make_app: Make, picture: Picture) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "12 trajectories", "✓ certified")
        await pilot.press("f", *"outcome:done")
        await until_shown(pilot, "not 'done'")

    picture(make_app(), SMALL, steps)


def test_the_recipe_on_a_small_terminal(make_app: Make, picture: Picture) -> None:
    begin("train")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "epochs")
        await pilot.press("j", "j", "enter", "x")
        await until_shown(pilot, "whole number")

    picture(make_app(), SMALL, steps)


def test_the_set_up_of_an_eval_on_a_small_terminal(make_app: Make, picture: Picture) -> None:
    begin("eval")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "2 held out", "[x] base")

    picture(make_app(), SMALL, steps)


def test_the_trajectories_of_the_step_in_training(
    make_app: Make, engine: ScriptedEngine, picture: Picture
) -> None:
    begin("train")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "epochs")
        await pilot.press("s")
        engine.say(*watched(60, upto=20))
        await until_shown(pilot, "step 20/60")
        await pilot.press("b")
        await until_shown(pilot, "step 21 in training")

    picture(make_app(), SMALL, steps)


@at(SMALL, MIDDLE)
def test_a_run_beside_another_one(
    make_app: Make, workspace: Workspace, picture: Picture, size: Size
) -> None:
    stored_run(workspace, "001-train", training(40, seed=2), recipe={"lr": 0.001})
    stored_run(workspace, "002-train", training(30, seed=3), recipe={"lr": 0.003})
    begin("runs")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "002-train")
        await pilot.press("P", "j", "enter")
        await until_shown(pilot, "A 002-train lr 0.003", "step 40/40")
        await until_gone(pilot, "is pinned")

    picture(make_app(), size, steps)


@at(SMALL, MIDDLE)
def test_two_subjects_in_the_same_world_side_by_side(
    make_app: Make, workspace: Workspace, picture: Picture, size: Size
) -> None:
    stored_eval(workspace)
    begin("replay")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "4 episodes", "verdict")
        await pilot.press("w", "d")
        await until_shown(pilot, "tuned", "≠")

    picture(make_app(), size, steps)


def test_a_final_world_against_that_of_the_reference(
    make_app: Make, workspace: Workspace, picture: Picture
) -> None:
    stored_eval(workspace)
    begin("replay")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "4 episodes", "verdict")
        await pilot.press("i")
        await until_shown(pilot, "+ ~/done2", "- ~/done ")

    picture(make_app(), SMALL, steps)
