"""The list of sessions is sorted by one key, as the list of runs is, and stays so."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from sekft_engine.data.workspace import Workspace
from sekft_engine.sources import Index
from sekft_tui.app import Workbench
from sekft_tui.library import reader
from tests.tui.conftest import Show, trajectory
from tests.tui.screen import screen_text, until, until_shown
from tests.tui.scripted import ScriptedEngine, training
from tests.tui.stored import stored_run

SMALL, LARGE = (80, 24), (160, 48)
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "160x48"])
MANY = 100_000


def session(number: int, commands: int, kind: str = "tidy", name: str = "s") -> dict[str, Any]:
    """A session with so many commands, the last of which ends it."""
    raw = trajectory(number, kind) | {"id": f"{name}-{number:03}", "steps": commands}
    middle = raw["turns"][1:3] * (commands - 1)
    return raw | {"turns": [raw["turns"][0], *middle, raw["turns"][-1]]}


def listed(pilot: Pilot[int]) -> list[str]:
    """The ids in the list, from the top."""
    words = (line.split() for line in screen_text(pilot.app).splitlines())
    return [line[1] for line in words if len(line) > 1 and line[0] in "●○✗" and "-" in line[1]]


async def until_listed(pilot: Pilot[int], *names: str) -> None:
    """Wait until these are the first of the list."""
    await until(pilot, lambda: listed(pilot)[: len(names)] == list(names), f"the first: {names}")


@SIZES
async def test_a_row_has_its_turns_beside_its_commands(show: Show, size: tuple[int, int]) -> None:
    rows = [session(0, 3), session(1, 1200)]
    async with show(rows).run_test(size=size) as pilot:
        shown = await until_shown(pilot, "s-000", "s-001")
        first, second = (line for line in shown.splitlines() if line[2:].startswith("s-0"))
        if size == SMALL:
            assert "3 cmds" in first
            assert "6 turns" in first
            assert "1k+ cmds  2k+ turns" in second
        else:
            titles = next(line for line in shown.splitlines() if "session " in line)
            end = titles.index("turns") + len("turns")
            assert titles[:end].split() == ["session", "end", "cmds", "turns"]
            assert first[:end].split()[-3:] == ["exit", "3", "6"]
            assert second[:end].split()[-3:] == ["exit", "1k+", "2k+"]


async def test_a_list_without_room_for_turns_shows_commands_and_whole_names(show: Show) -> None:
    rows = [session(0, 3, name="a-name-of-some-28-letters")]
    async with show(rows).run_test(size=(110, 30)) as pilot:
        shown = await until_shown(pilot, "a-name-of-some-28-letters-000")
        assert "cmds" in shown
        assert "cmds turns" not in shown


@SIZES
async def test_sessions_are_sorted_and_the_cursor_stays_on_its_own(
    show: Show, size: tuple[int, int]
) -> None:
    kinds = ("Tidy", "count", "merge")
    rows = [session(n, 1 + n * 7 % 5, kinds[n % 3], "bca"[n % 3]) for n in range(5)]
    async with show(rows).run_test(size=size) as pilot:
        await until_listed(pilot, "b-000", "c-001", "a-002", "b-003", "c-004")
        await pilot.press("j", "S")
        await until_listed(pilot, "a-002", "b-000", "b-003", "c-001", "c-004")
        await until_shown(pilot, "by name", "c-001 ")
        await pilot.press("S")  # by kind, whatever the case
        await until_listed(pilot, "c-001", "c-004", "a-002", "b-000", "b-003")
        await pilot.press("S", "S")  # by end, and by commands: the most first
        await until_listed(pilot, "a-002", "c-004", "c-001", "b-003", "b-000")
        await pilot.press("L")
        await until_shown(pilot, " b-003  exit ✓  Tidy", "by commands")
        await pilot.press("S", "S", "S")
        await until_listed(pilot, "b-000", "c-001", "a-002", "b-003", "c-004")
        await until_shown(pilot, "› in the order of the data set")
        assert "by length" not in screen_text(pilot.app)


async def test_a_filter_a_search_and_a_jump_keep_the_order(show: Show) -> None:
    rows = [session(n, 1 + n % 7, ("tidy", "count")[n % 2]) for n in range(20)]
    rows[3]["turns"] = rows[3]["turns"][:1]  # dropped
    rows[4]["turns"][0]["content"] = "a needle\nuser@box:~$"
    async with show(rows).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "20 trajectories", "1 dropped")
        await pilot.press("S", "S", "S", "S")
        await until_listed(pilot, "s-006", "s-013", "s-005", "s-012")
        await pilot.press("f", *"arch:tidy", "enter")
        await until_shown(pilot, "10 of 20")
        await until_listed(pilot, "s-006", "s-012", "s-004", "s-018", "s-010")
        await pilot.press("g", "slash", *"needle", "enter")
        await until_shown(pilot, "1 session c", "a needle")
        await pilot.press("escape", "escape", "escape", "d")
        await until_shown(pilot, "20 trajectories", "no_command")
        await until_listed(pilot, "s-006", "s-013", "s-005", "s-012")


@pytest.mark.parametrize("pane", ["1", "5"])
async def test_the_order_is_the_same_in_the_next_session(
    make_app: Callable[[], Workbench], workspace: Workspace, pane: str
) -> None:
    stored_run(workspace, "001-train", training(3))
    wanted = "by name" if pane == "5" else "by kind"
    presses = ["S"] if pane == "5" else ["S", "S"]
    for again in (False, True):
        app = make_app()
        async with app.run_test(size=LARGE) as pilot:
            await pilot.press(pane)
            await until_shown(pilot, "1 run" if pane == "5" else "12 trajectories")
            if not again:
                await pilot.press(*presses)
            await until_shown(pilot, wanted)
            if pane == "1":
                await until_listed(pilot, "count-000", "count-003", "count-006")
            app.leave()


async def test_what_turns_up_is_sorted_in_and_the_cursor_stays(
    workspace: Workspace, engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "WATCH_S", 0.05)
    async with Workbench(engine, workspace).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "12 trajectories")
        await pilot.press("S")
        await until_listed(pilot, "count-000", "count-003")
        await pilot.press("j")
        raw = trajectory(99, "aaa")
        (workspace.trajectories / "later.json").write_text(json.dumps(raw))
        await until_listed(pilot, "aaa-099", "count-000", "count-003")
        await pilot.press("k")
        await until_shown(pilot, "line of [bold]count[/]", "count-000 ")


async def test_keys_are_answered_while_a_hundred_thousand_are_sorted(
    show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = (
        '{"id":"s-%06d","archetype":"tidy","outcome":"exit","turns":['
        '{"role":"user","content":"box %d\\nuser@box:~$"},{"role":"assistant","content":"exit"}]}\n'
    )
    path = tmp_path / "many.jsonl"
    with path.open("w") as file:
        file.writelines(line % (MANY - n, n) for n in range(MANY))
    sort, may_end, begun = Index.order, threading.Event(), threading.Event()

    def slowly(index: Index, name: str) -> object:
        begun.set()
        assert threading.current_thread() is not threading.main_thread()
        assert may_end.wait(60)
        return sort(index, name)

    monkeypatch.setattr(Index, "order", slowly)
    async with show(path).run_test(size=LARGE) as pilot:
        await until_shown(pilot, "100,000 trajectories", "box 0")
        await pilot.press("S")
        await until(pilot, begun.is_set, "the sorting has begun")
        await pilot.press("j", "j")
        await until_shown(pilot, "box 2\n")
        may_end.set()
        await until(pilot, lambda: listed(pilot) == sorted(listed(pilot)), "sorted")
        await pilot.press("g")
        await until_listed(pilot, "s-000001", "s-000002")
        await until_shown(pilot, "box 99999")
