"""While the demo is made: how far it is, from every pane; afterwards what is there is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sekft_engine.core.locks import take_lock
from sekft_engine.data.workspace import Workspace
from sekft_engine.demo import KEPT
from sekft_engine.records import events, jobs
from sekft_tui.app import Workbench
from tests.tui.conftest import trajectory
from tests.tui.screen import until_gone, until_shown
from tests.tui.scripted import ScriptedEngine

SMALL = (80, 24)
BEGUN = events.JobStarted(job="setup-1", kind="setup")
RECORDING = events.Progress(job="setup-1", label="scenarios", done=12, total=40)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A folder in which nothing has been made yet."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "here").mkdir()
    return Workspace(tmp_path / "here")


def fill(place: Workspace, base: Path) -> None:
    """Do what the job does."""
    place.create()
    (place.bases / "tiny").symlink_to(base)
    for number in range(3):
        path = place.trajectories / f"{number}.json"
        path.write_text(json.dumps(trajectory(number, "count")))


@pytest.mark.parametrize("pane", ["1", "3"])
async def test_what_was_made_is_shown_without_reading_again_wherever_one_looked_meanwhile(
    folder: Workspace, engine: ScriptedEngine, tiny_base: Path, pane: str
) -> None:
    async with Workbench(engine, folder).run_test(size=SMALL) as pilot:
        await until_shown(pilot, "no workspace here")
        await pilot.press("d")
        await until_shown(pilot, "making the demo workspace")
        engine.say(BEGUN)
        await pilot.press("escape", "2", "3", "4", "5", "1", pane)
        fill(folder, tiny_base)
        engine.say(events.JobDone(job="setup-1", kind="setup", result={}))
        await until_shown(pilot, "set-up done")
        await pilot.press("1")
        shown = await until_shown(pilot, "3 trajectories", "✓ certified")
        assert "no base" not in shown
        await pilot.press("2")
        await until_shown(pilot, "bases/tiny")


async def test_how_far_it_is_stands_at_the_top_and_in_the_panes_and_a_key_goes_back_to_it(
    folder: Workspace, engine: ScriptedEngine
) -> None:
    async with Workbench(engine, folder, demo=True).run_test(size=SMALL) as pilot:
        await until_shown(pilot, "making the demo workspace")
        engine.say(
            BEGUN,
            events.Progress(job="setup-1", label="downloading", done=100, total=100),
            RECORDING,
        )
        await until_shown(pilot, "making the demo workspace", "12/40")
        await pilot.press("escape")
        shown = await until_shown(
            pilot, "no trajectories yet", "the demo is being made: scenarios 12/40", "B shows it"
        )
        assert "12/40" in shown.split("\n")[0]
        assert "sekft tui --demo" not in shown, "that is what runs"
        await pilot.press("2", "s")
        shown = await until_shown(pilot, "no base yet; the demo is being made")
        assert "sekft base add" not in shown
        await pilot.press("B")
        await until_shown(pilot, "making the demo workspace", "✓ downloading", "12/40")
        await pilot.press("B")
        await until_gone(pilot, "making the demo workspace")
        engine.say(events.JobFailed(job="setup-1", kind="setup", error="no network"))
        await pilot.press("1")
        await until_shown(pilot, "sekft tui --demo makes a workspace")
        await pilot.press("B")
        await until_shown(pilot, "no demo is being made")


async def test_a_task_whose_end_nobody_knows_has_a_clock(
    folder: Workspace, engine: ScriptedEngine
) -> None:
    async with Workbench(engine, folder, demo=True).run_test(size=SMALL) as pilot:
        await until_shown(pilot, "making the demo workspace")
        engine.say(BEGUN, events.Progress(job="setup-1", label="writing safetensors", done=0))
        await until_shown(pilot, "writing safetensors", " s ")


async def test_of_bytes_the_share_is_said(folder: Workspace, engine: ScriptedEngine) -> None:
    async with Workbench(engine, folder, demo=True).run_test(size=SMALL) as pilot:
        await until_shown(pilot, "making the demo workspace")
        engine.say(
            BEGUN,
            events.Progress(job="setup-1", label="unpacking", done=64 << 20, total=128 << 20),
        )
        await until_shown(pilot, "unpacking", "50.0 %")


WIDE = (120, 36)


async def test_the_demo_that_an_empty_workspace_offers_is_trained_with_the_demos_recipe(
    folder: Workspace, engine: ScriptedEngine
) -> None:
    async with Workbench(engine, folder).run_test(size=WIDE) as pilot:
        await until_shown(pilot, "no workspace here")
        await pilot.press("d")
        await until_shown(pilot, "making the demo workspace")
        await pilot.press("escape", "2")
        await until_shown(pilot, "lr             0.002", "epochs         1")


async def test_what_was_changed_in_the_recipe_before_stays_when_the_demo_is_made(
    folder: Workspace, engine: ScriptedEngine
) -> None:
    async with Workbench(engine, folder).run_test(size=WIDE) as pilot:
        await until_shown(pilot, "no workspace here")
        await pilot.press("escape", "2")
        await until_shown(pilot, "lr             0.0002")
        await pilot.press("j", "j", "enter", "ctrl+u", "3", "2", "enter")
        await until_shown(pilot, "32  not 16")
        await pilot.press("q")
    async with Workbench(ScriptedEngine(), folder).run_test(size=WIDE) as pilot:
        await until_shown(pilot, "no workspace here")
        await pilot.press("d")
        await until_shown(pilot, "making the demo workspace")
        await pilot.press("escape")
        await until_shown(pilot, "32  not 16", "lr             0.002")


async def test_a_set_up_that_failed_offers_nothing_but_to_close(
    folder: Workspace, engine: ScriptedEngine
) -> None:
    async with Workbench(engine, folder, demo=True).run_test(size=SMALL) as pilot:
        await until_shown(pilot, "making the demo workspace", "close, and look around")
        failed = events.JobFailed(job="setup-1", kind="setup", error="the disk is full")
        engine.say(BEGUN, failed)
        await until_shown(pilot, "the disk is full", "esc close")
        await until_gone(pilot, "asks: stop or leave")


def begin_to_make(place: Workspace) -> Path:
    """What a process leaves that is killed while it records the demo's sessions; its mark."""
    mark = place.create().root / KEPT
    mark.write_text("")
    return mark


async def test_a_demo_whose_making_was_interrupted_says_so_and_a_key_goes_on_with_it(
    folder: Workspace, engine: ScriptedEngine, tiny_base: Path
) -> None:
    begin_to_make(folder)
    (folder.bases / "tiny").symlink_to(tiny_base)
    async with Workbench(engine, folder).run_test(size=SMALL) as pilot:
        await until_shown(
            pilot, "no trajectories yet", "making the demo here was interrupted; B goes on with it"
        )
        await pilot.press("2", "B")
        await until_shown(pilot, "making the demo workspace")
    assert [job.workspace for job in engine.jobs if isinstance(job, jobs.Setup)] == [
        str(folder.root)
    ]


async def test_a_demo_that_was_interrupted_before_it_had_a_base_is_offered_again(
    folder: Workspace, engine: ScriptedEngine
) -> None:
    begin_to_make(folder)
    async with Workbench(engine, folder).run_test(size=SMALL) as pilot:
        await until_shown(
            pilot, "Making the demo here was interrupted.", "go on making the demo here"
        )
        await pilot.press("escape", "2", "s")
        await until_shown(pilot, "no base yet; making the demo here was interrupted")
        await pilot.press("B")
        await until_shown(pilot, "making the demo workspace")


async def test_a_demo_that_another_process_makes_is_not_said_to_be_interrupted(
    folder: Workspace, engine: ScriptedEngine, tiny_base: Path
) -> None:
    with begin_to_make(folder).open("ab") as other:
        assert take_lock(other.fileno()) == "taken"
        (folder.bases / "tiny").symlink_to(tiny_base)
        async with Workbench(engine, folder).run_test(size=SMALL) as pilot:
            shown = await until_shown(pilot, "the demo is being made in another process")
            assert "interrupted" not in shown
            await pilot.press("B")
            assert not engine.jobs
