"""Every pane, as it looks with something in it, and with nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_tui.app import Workbench
from tests.tui.pictures.conftest import PANE_SIZES, SMALL, Make, Picture, Size, begin
from tests.tui.pictures.scenes import empty, stored_eval
from tests.tui.screen import until_shown
from tests.tui.scripted import ScriptedEngine, evaluation, training, watched
from tests.tui.stored import stored_run


@PANE_SIZES
def test_trajectories_shows_what_of_a_session_is_trained(
    make_app: Make, picture: Picture, size: Size
) -> None:
    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "12 trajectories", "✓ certified")
        if size != SMALL:
            await until_shown(pilot, "1 dropped")

    picture(make_app(), size, steps)


@PANE_SIZES
def test_train_shows_curves_marks_and_gauges_of_a_run(
    make_app: Make, engine: ScriptedEngine, picture: Picture, size: Size
) -> None:
    begin("train")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "epochs")
        await pilot.press("j", "j", "s")
        engine.say(*watched(60, upto=45, nan=33, spike=21))
        await until_shown(pilot, "step 45/60")

    picture(make_app(), size, steps)


@PANE_SIZES
def test_eval_shows_a_verdict_for_each_world_and_subject(
    make_app: Make, engine: ScriptedEngine, picture: Picture, size: Size
) -> None:
    begin("eval")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "2 held out")
        await pilot.press("s")
        base = ["prose", "cap", "wrong", "invalid", "unverified", "good", "cap", "cap", "run"]
        engine.say(*evaluation({"base": base, "tuned": ["good"] * 8}, 12))
        await until_shown(pilot, "16 of 24")

    picture(make_app(), size, steps)


@PANE_SIZES
def test_replay_shows_an_episode_up_to_its_verdict(
    make_app: Make, workspace: Workspace, picture: Picture, size: Size
) -> None:
    stored_eval(workspace)
    begin("replay")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "4 episodes", "verdict")
        await pilot.press("v")
        await until_shown(pilot, "done is not there")

    picture(make_app(), size, steps)


@PANE_SIZES
def test_runs_shows_what_came_of_each_run(
    make_app: Make, workspace: Workspace, picture: Picture, size: Size
) -> None:
    stored_eval(workspace)
    loss = {"first": 2.9, "last": 0.41, "heldout": 0.52}
    trained = {"steps": 40, "loss": loss}
    stored_run(workspace, "002-train", training(40), recipe={"lr": 0.001}, result=trained)
    stored_run(workspace, "003-train", training(9, upto=4), "running", recipe={"rank": 8})
    begin("runs")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "003-train", "died", "Log (1)")
        await pilot.press("j")
        await until_shown(pilot, "0.001")

    picture(make_app(), size, steps)


@PANE_SIZES
def test_log_shows_what_the_engine_said(
    make_app: Make, engine: ScriptedEngine, picture: Picture, size: Size
) -> None:
    begin("log")

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, "nothing logged yet")
        noon = 12 * 3600.0
        base = events.BaseLoaded(
            job="train-1", t=noon + 1, base="tiny", digest="0", parameters=1, dtype="float32",
            device="cpu", seconds=1.5,
        )  # fmt: skip
        said = (
            ("info", "12 trajectories, of which 11 are trained on"),
            ("warning", "one trajectory is longer than the limit of 2,048 tokens"),
            ("error", "a line with \x1b[31mcolours\x1b[0m, which are shown and not obeyed"),
            ("info", "a long line " * 20),
        )
        engine.say(
            events.JobStarted(job="train-1", t=noon, kind="train", label="trajectories"),
            base,
            *(
                events.Log(job="train-1", t=noon + 2 + number, level=level, text=text)
                for number, (level, text) in enumerate(said)
            ),
        )
        await until_shown(pilot, "a long line")

    picture(make_app(), size, steps)


@pytest.mark.parametrize(
    ("pane", "hint"),
    [
        ("trajectories", "no trajectories"),
        ("train", "epochs"),
        ("eval", "[x] base"),
        ("replay", "no episodes yet"),
        ("runs", "no runs yet"),
        ("log", "nothing logged yet"),
    ],
    ids=("trajectories", "train", "eval", "replay", "runs", "log"),
)
def test_a_pane_with_nothing_in_it_says_what_to_do(
    tmp_path: Path, engine: ScriptedEngine, picture: Picture, pane: str, hint: str
) -> None:
    begin(pane)

    async def steps(pilot: Pilot[int]) -> None:
        await until_shown(pilot, hint)

    picture(Workbench(engine, empty(tmp_path)), SMALL, steps)
