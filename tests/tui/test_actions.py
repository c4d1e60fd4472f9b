"""One key table: no key does two things, every key does something, and all of them fit."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from sekft_tui.app import Workbench
from sekft_tui.input.actions import (
    KEYS,
    PANES,
    SCREENS,
    Place,
    action_of,
    bindings,
    footer,
    of,
    shown,
)
from sekft_tui.input.footer import FooterState, bar, items, last_items
from sekft_tui.panes import pane_type
from sekft_tui.screens.takeover import TakeOverScreen
from sekft_tui.screens.takeover.watch import WatchScreen
from sekft_tui.widgets.line_view import LineView

#: Lost or taken over by terminals in legacy mode, flow control, or other programs.
FORBIDDEN = {"ctrl+h", "ctrl+i", "ctrl+m", "ctrl+j", "ctrl+q", "ctrl+s"}
PLACES: list[Place] = [name for name, _ in PANES]
OVER_PANES: list[Place] = [name for name, _ in SCREENS]


@pytest.mark.parametrize("place", PLACES)
def test_no_two_keys_clash_in_a_pane(place: Place) -> None:
    names = [name for key in of("global", "motion", place) for name in key.keys]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("place", OVER_PANES)
def test_no_two_keys_clash_in_a_screen_over_the_panes(place: Place) -> None:
    names = [name for key in of("motion", place) for name in key.keys]
    assert sorted(names) == sorted(set(names))


def test_no_key_is_one_that_terminals_do_not_deliver() -> None:
    for key in KEYS:
        for name in key.keys:
            assert name not in FORBIDDEN
            assert not name.startswith("alt")
        assert any(name != "f1" for name in key.keys), "function keys alone do not do"


def test_every_key_has_an_action_where_it_says() -> None:
    targets: dict[str, type] = {"global": Workbench, "motion": LineView}
    targets |= {str(place): pane_type(place) for place in PLACES}
    targets |= {"takeover": TakeOverScreen, "shell": WatchScreen}
    for key in KEYS:
        method = key.action.split("(")[0]
        assert hasattr(targets[key.place], f"action_{method}"), key
        assert key.description
        assert key.label
    assert {key.place for key in KEYS} == {"global", "motion", *PLACES, *OVER_PANES}


def test_ids_are_unique() -> None:
    ids = [key.id for key in KEYS]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_footer_has_few_keys_and_ends_with_help_and_quit(place: Place, width: int) -> None:
    assert 3 <= len(footer(place)) <= 9
    made = bar(items(place, FooterState()), last_items(), width)
    text = "".join(part for part, _ in made.parts)
    assert cell_len(text) == width
    assert text.endswith(" ? help  q quit ")
    for _, start, end, action in made.clicks:
        key = next(key for key in of("global", place) if action_of(key) == action)
        assert text[start:end] == f" {shown(key.keys[0])} {key.label} "


def test_every_key_of_the_table_is_bound_once() -> None:
    assert sum(len(bindings(place)) for place in ("global", "motion", *PLACES, *OVER_PANES)) == len(
        KEYS
    )
