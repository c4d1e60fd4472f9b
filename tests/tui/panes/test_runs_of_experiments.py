"""The runs of an experiment are listed under it, and open side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sekft_engine.data.workspace import Workspace
from sekft_tui.app import Workbench
from tests.tui.screen import screen_text, until_shown
from tests.tui.scripted import training
from tests.tui.stored import stored_run

Make = Callable[..., Workbench]


def rates(split: str, solved: int) -> dict[str, Any]:
    facts = {"name": "adapter", "n": 20, "kinds": {"doable": 16, "solved": solved, "blocked": 4}}
    return {"split": split, "kind": "adapter", "name": "adapter", "facts": facts}


async def test_the_runs_of_an_experiment_follow_it_and_its_curves_open_side_by_side(
    make_app: Make, workspace: Workspace
) -> None:
    whole = "001-experiment-laptop"
    stages = [{"name": "train-0", "kind": "train", "status": "done"}]
    stored_run(
        workspace, whole, (), kind="experiment",
        result={"rows": [rates("seen", 12), rates("primitives", 5)], "stages": stages},
    )  # fmt: skip
    for seed in (0, 1):
        stored_run(workspace, f"{whole}-train-{seed}", training(6), recipe={"seed": seed})
    rounds = [{"round": 1, "sampled": 40, "solved": 9}, {"round": 2, "sampled": 40, "solved": 17}]
    stored_run(workspace, f"{whole}-improve", (), kind="improve", result={"rounds": rounds})
    stored_run(workspace, f"{whole}-improve-r1-train", training(6))
    stored_run(workspace, "002-train", training(6))
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("5")
        await until_shown(pilot, whole, "1 of 1 stages  solved seen 12/16  primitives 5/16")
        await until_shown(pilot, "right 9/40 → 17/40")
        lines = [line.strip("│ ") for line in screen_text(pilot.app).splitlines()]
        names = [line.replace("└", " ").split()[1] for line in lines if line.startswith("✓")]
        assert names == ["002-train", whole, "improve", "r1-train", "train-0", "train-1"]
        await pilot.press("j", "enter")
        await until_shown(pilot, f"{whole}-train-0", f"{whole}-train-1")
