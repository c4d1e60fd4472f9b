"""Replay: finding episodes, files that are damaged, and keys that have nothing to do."""

from __future__ import annotations

from collections.abc import Callable

from sekft_engine.data.workspace import Workspace
from sekft_tui.app import Workbench
from tests.tui.panes.test_replay import episodes, opened, pane_of
from tests.tui.screen import until, until_gone, until_shown

__all__ = ["episodes"]

Make = Callable[[], Workbench]
SIZE = (160, 48)


def listed(app: Workbench) -> list[str]:
    """Who acted in the episodes of the list."""
    return [episode.subject for episode in pane_of(app).listing.rows]


async def test_episodes_are_filtered_by_facts_and_words_and_escape_shows_all_again(
    make_app: Make, episodes: Workspace
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("f", *"subject:tuned", "enter")
        await until(pilot, lambda: listed(app) == ["tuned", "tuned"], "the tuned ones")
        await pilot.press("f", "ctrl+u", *"nosuch", "enter")
        await until(pilot, lambda: listed(app) == ["base", "base"], "who typed nosuch")
        await pilot.press("f", "ctrl+u", *"verified:yes", "enter")
        await until(pilot, lambda: listed(app) == ["tuned", "tuned"], "the verified ones")
        await pilot.press("f", "ctrl+u", *"invalid:yes", "enter")
        await until(pilot, lambda: listed(app) == [], "none is invalid")
        await pilot.press("escape")
        await until(pilot, lambda: len(listed(app)) == 4, "all")


async def test_a_filter_that_is_cancelled_leaves_the_episode_that_was_shown(
    make_app: Make, episodes: Workspace
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("G")
        pane = pane_of(app)
        last = pane.listing.rows[-1]
        await until(pilot, lambda: pane.main and pane.main.episode is last, "the last one")
        others = {"base": "tuned", "tuned": "base"}[last.subject]
        await pilot.press("f", *f"model:{others}")
        await until(pilot, lambda: listed(app) == [others] * 2, "those of the other")
        assert pane.main is not None
        assert pane.main.episode is not last
        await pilot.press("escape")
        await until(pilot, lambda: pane.list.cursor == 3, "the row from before")
        await until(pilot, lambda: pane.main and pane.main.episode is last, "its episode")


async def test_text_is_found_in_what_was_typed_and_answered(
    make_app: Make, episodes: Workspace
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("o", "slash", *"nosuch", "enter")  # the hidden list comes back
        await until_shown(pilot, "4 episodes")
        first = pane_of(app).list.cursor
        assert listed(app)[first] == "base"
        await pilot.press("n")
        await until(pilot, lambda: pane_of(app).list.cursor != first, "the next one")
        assert listed(app)[pane_of(app).list.cursor] == "base"


async def test_with_nobody_beside_it_the_parting_key_brings_the_other_one(
    make_app: Make, episodes: Workspace
) -> None:
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await pilot.press("d")
        await until(pilot, lambda: pane_of(app).beside is not None, "another one beside it")
        await pilot.press("escape")
        await until(pilot, lambda: pane_of(app).beside is None, "one player")


async def test_without_episodes_no_key_does_harm(make_app: Make) -> None:
    app = make_app()
    async with app.run_test(size=SIZE, notifications=True) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: app.pane == "replay", "replay")
        await pilot.press(*"t.,wdi0!$v]yL", "space", "E")
        await until_shown(pilot, "export to")
        await pilot.press("escape")
        await until_gone(pilot, "export to")
        assert app.pane == "replay"
        assert pane_of(app).file() is None
