"""Sessions and their tokens, by keyboard alone, in a small and in a large terminal."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from textual.pilot import Pilot

from sekft_tui.app import Workbench
from sekft_tui.panes.trajectories import TrajectoriesPane
from tests.tui.screen import screen_text, until, until_shown

SIZES = pytest.mark.parametrize("size", [(80, 24), (160, 48)], ids=["80x24", "160x48"])
Make = Callable[[], Workbench]


def trajectories(pilot: Pilot[int]) -> TrajectoriesPane:
    return next(iter(pilot.app.query(TrajectoriesPane)))


@SIZES
async def test_one_sees_what_is_trained_and_moves_through_it(
    make_app: Make, size: tuple[int, int]
) -> None:
    async with make_app().run_test(size=size) as pilot:
        shown = await until_shown(pilot, "12 trajectories · 11 kept", "certified", "trained ")
        share = re.search(r"trained (\d+) / (\d+) = ", shown)
        assert share is not None
        assert 0 < int(share[1]) < int(share[2])
        assert "▌ warden --help<|im_end|>" in shown
        assert "turn 1/6" in shown
        await pilot.press("l", "l", "l")
        await until_shown(pilot, "turn 4/6")
        await pilot.press("h")
        await until_shown(pilot, "turn 3/6")
        await pilot.press("m")
        shown = await until_shown(pilot, "trained only")
        assert "usage: warden" not in shown
        await pilot.press("m")
        shown = await until_shown(pilot, "masked only")
        assert "▌ warden --help" not in shown
        await pilot.press("m", "v")
        await until_shown(pilot, "token edges 2/6 · all tokens")


async def test_hostile_output_is_shown_and_not_obeyed(make_app: Make) -> None:
    async with make_app().run_test(size=(160, 48)) as pilot:
        shown = await until_shown(pilot, "line of [bold]count[/] ␛[31mred <|im_end|> <202e>x")
        assert "\x1b" not in shown


async def test_boundaries_marks_and_copies(make_app: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    written: list[str] = []
    monkeypatch.setattr(app, "to_terminal", written.append)
    async with app.run_test(size=(160, 48)) as pilot:
        await until_shown(pilot, "certified")
        view = trajectories(pilot).view
        await pilot.press("}")
        assert view.turn == 1
        await pilot.press("}")
        assert view.turn == 3
        await pilot.press("{", "l")
        assert view.turn == 2
        await pilot.press("space", "h", "h", "]")
        assert view.turn == 2
        await pilot.press("]")
        await until_shown(pilot, "no further mark")
        await pilot.press("y")
        await until_shown(pilot, "sent to the terminal's clipboard")
        assert written[0].startswith("\x1b]52;c;") or "tmux" in written[0]


@SIZES
async def test_the_list_is_filtered_and_searched(make_app: Make, size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        await until_shown(pilot, "certified")
        await pilot.press("f", *"outcome:panic")
        await until_shown(pilot, "1 of 12 trajectories", "tidy-005", " filter: outcome:panic")
        await pilot.press("enter", "escape")
        await until_shown(pilot, "12 trajectories")
        await pilot.press("f", *"keep:no")
        await until_shown(pilot, "1 of 12", "merge-004")
        await pilot.press("escape")
        await until_shown(pilot, "12 trajectories")
        await pilot.press("slash", *"notes-7", "enter")
        await until(pilot, lambda: trajectories(pilot).current.id == "merge-007", "found")  # type: ignore[union-attr]
        await until_shown(pilot, "▌ cat notes-7")
        await pilot.press("f", *"nothing like it", "enter")
        await until_shown(pilot, "nothing matches", "esc clears the filter")


async def test_no_colour_still_tells_trained_from_masked(
    make_app: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await until_shown(pilot, "certified")
        view = trajectories(pilot).view
        trained, masked = view.style("trained"), view.style("masked")
        assert trained.bold
        assert masked.dim
        assert not masked.bold
        assert "▌ warden --help" in screen_text(app)
