"""A run that is opened while another one runs is shown as what it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_tui.app import Workbench
from tests.tui.screen import until_gone, until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, training
from tests.tui.stored import stored_run

Make = Callable[[], Workbench]


async def test_a_finished_training_that_is_opened_has_not_the_status_of_the_running_one(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace
) -> None:
    stored_run(workspace, "001-train", training(9))
    async with make_app().run_test(size=(160, 48)) as pilot:
        await pilot.press("2", "s")
        engine.say(*training(60, upto=20, run="0003-train"))
        engine.say(events.Progress(job="train-1", done=2, total=8, label="measuring token losses"))
        await until_shown(pilot, "0003-train", "measuring token losses 2/8", "▸ running", "x stop")
        await pilot.press("5")
        await until_shown(pilot, "001-train", "done")
        await pilot.press("enter")
        await until_shown(pilot, " 001-train", "step 9/9", "from its journal")
        await until_gone(pilot, "▸ running")
        shown = await until_shown(pilot, "9/9")
        assert "measuring token losses" not in shown.split("\n", 1)[1]
        assert not [key for key in ("x stop", "p pause") if key in shown]
        await pilot.press("x")
        await until_shown(pilot, "another run is running; esc leaves this one")
        assert engine.cancelled == []
        await pilot.press("escape")
        await until_shown(pilot, "0003-train", "measuring token losses 2/8", "▸ running")


@pytest.mark.parametrize("key", ["x", "p"])
async def test_keys_do_not_reach_for_the_running_eval_beside_another_one(
    make_app: Make, engine: ScriptedEngine, workspace: Workspace, key: str
) -> None:
    stored_run(workspace, "001-eval", evaluation({"base": ["good"]}, 1), kind="eval")
    async with make_app().run_test(size=(160, 48)) as pilot:
        await pilot.press("3", "s")
        engine.say(*evaluation({"base": ["good", "run"]}, 2, run="0002-eval"))
        await until_shown(pilot, "0002-eval", "▸ running")
        await pilot.press("5")
        await until_shown(pilot, "001-eval", "done")
        await pilot.press("enter")
        await until_shown(pilot, " 001-eval", "1 of 1 episodes", "from its journal")
        await pilot.press(key)
        await until_shown(pilot, "another eval is running; esc leaves this one")
        assert engine.cancelled == []
        assert engine.orders == []
