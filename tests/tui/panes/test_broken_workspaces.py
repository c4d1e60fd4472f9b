"""Whatever lies in a workspace, no pane hangs, and every list keeps its columns."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from rich.cells import cell_len

from sekft_engine.data.workspace import Workspace
from sekft_tui.app import Workbench
from tests.tui.conftest import trajectory
from tests.tui.screen import screen_text, until_shown
from tests.tui.scripted import evaluation, training
from tests.tui.stored import stored_episode, stored_run

Make = Callable[[], Workbench]
#: Wide, right to left, combining, joined, and plain.
NAMES = ("日本語の名前", "שלום עולם", "مرحبا", "e\u0301a\u0308o\u0302", "👩\u200d🚀 emoji", "plain")


async def test_pipes_endless_lines_and_foreign_files_hang_no_pane(
    make_app: Make, workspace: Workspace
) -> None:
    for folder in (workspace.trajectories, workspace.holdout_scenarios, workspace.runs):
        os.mkfifo(folder / "pipe.json")
        (folder / "photo.jpg").write_bytes(bytes(range(256)) * 50)
        (folder / "loop").symlink_to(folder)
    (workspace.trajectories / "endless.jsonl").write_bytes(b'{"id": "' + b"x" * 8_000_000)
    run = stored_run(workspace, "001-eval", evaluation({"base": ["good"]}, 1), kind="eval")
    stored_episode(run, "base", "held-000", ("ls", "a"))
    os.mkfifo(run / "episodes" / "pipe.json")
    (run / "episodes" / "endless.json").write_bytes(b"[" * 3_000_000)
    with (run / "events.jsonl").open("ab") as journal:
        journal.write(b"\xff" * 5_000_000)
    async with make_app().run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("2")
        await until_shown(pilot, "max steps")
        await pilot.press("3")
        await until_shown(pilot, "held out")
        await pilot.press("4")
        await until_shown(pilot, "1 episode", "held-000")
        await pilot.press("5")
        await until_shown(pilot, "001-eval")
        await pilot.press("enter")
        await until_shown(pilot, "from its journal")
        await pilot.press("6")
        await until_shown(pilot, "entries")


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
async def test_wide_and_right_to_left_text_leaves_columns_in_their_place(
    make_app: Make, workspace: Workspace, size: tuple[int, int]
) -> None:
    for path in workspace.trajectories.glob("*.json"):
        path.unlink()
    for number, name in enumerate(NAMES):
        raw = trajectory(number, name) | {"id": name}
        (workspace.trajectories / f"{number}.json").write_text(json.dumps(raw))
        folder = stored_run(workspace, f"00{number}-train", training(3))
        (folder / "notes.json").write_text(json.dumps({"title": name}))
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, "6 trajectories", "certified")
        assert len(places(screen_text(app), " exit", 6)) == 1
        await pilot.press("5")
        await until_shown(pilot, "6 runs")
        assert len(places(screen_text(app), " done", 6)) == 1


def places(text: str, word: str, rows: int) -> set[int]:
    """In which cells ``word`` first begins, in the first lines below the head that have it."""
    lines = [line for line in text.splitlines()[2:] if word in line][:rows]
    assert len(lines) == rows
    return {cell_len(line[: line.index(word)]) for line in lines}


@pytest.mark.parametrize("noted", ["/where/it/was", "\0"], ids=["moved", "no path at all"])
async def test_the_figures_of_a_run_are_those_of_the_folder_in_which_it_lies(
    make_app: Make, workspace: Workspace, noted: str
) -> None:
    run = stored_run(workspace, "001-eval", evaluation({"base": ["good"]}, 1), kind="eval")
    stored_episode(run, "base", "held-000", ("ls", "a"))
    journal = run / "events.jsonl"
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    for line in lines:
        if line["event"] == "RunCreated":
            line["path"] = noted
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with make_app().run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "rightly")
        await pilot.press("i")
        await until_shown(pilot, "001-eval", "how episodes ended")
