"""One key table: no key does two things, every key does something, and all of them fit."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import _character_to_key
from textual.screen import Screen

import sekft_tui
from sekft_tui.app import Workbench
from sekft_tui.input.actions import KEYS, action_of, all_keys, footer, of, shown
from sekft_tui.input.footer import FooterState, bar, items, last_items
from sekft_tui.input.places import FIXED, PANES, TITLES, Place, together
from sekft_tui.input.tour import STOPS
from sekft_tui.panes.eval.setup import EvalSetup
from sekft_tui.screens.question import QuestionScreen

#: Lost or taken over by terminals in legacy mode, flow control, or other programs.
FORBIDDEN = {"ctrl+h", "ctrl+i", "ctrl+m", "ctrl+j", "ctrl+q", "ctrl+s"}
PLACES: list[Place] = [name for name, _ in PANES]


def classes() -> Iterator[type[DOMNode]]:
    """Every app, screen and widget of the project."""
    for module in pkgutil.walk_packages(sekft_tui.__path__, "sekft_tui."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: list[type[DOMNode]] = [DOMNode]
    for each in found:
        found += [one for one in each.__subclasses__() if one not in found]
    yield from (one for one in found if one.__module__.startswith("sekft_tui."))


def own_bindings(of_class: type[DOMNode]) -> list[Binding]:
    """The bindings that a class adds to those of its bases."""
    return list(Binding.make_bindings(vars(of_class).get("BINDINGS", ())))


@pytest.mark.parametrize("names", together(), ids=lambda names: names[0] + "-" + names[-1])
def test_no_key_does_two_things_where_it_counts(names: tuple[str, ...]) -> None:
    counting = [key for key in all_keys() if key.place in names or key.id in names]
    assert {key.id for key in counting} >= {name for name in names if "." in name}
    bound = [name for key in counting for name in key.keys]
    assert sorted(bound) == sorted(set(bound))


def test_every_binding_of_every_screen_and_widget_comes_from_the_table() -> None:
    table = {key.id: key for key in KEYS}
    bound = set()
    for each in classes():
        for binding in own_bindings(each):
            if binding.id:
                names = table[binding.id].keys
                assert binding.key in {_character_to_key(n) if len(n) == 1 else n for n in names}
                bound.add(binding.id)
            elif not issubclass(each, QuestionScreen):  # which shows the keys of its answers
                assert binding.key in FIXED, f"{each.__name__}: {binding.key} is in no table"
    assert bound == set(table)


async def test_no_widget_of_a_pane_has_keys_beside_those_of_the_table(
    make_app: Callable[[], Workbench],
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        for number, _ in enumerate(PANES, 1):
            await pilot.press(str(number))
            assert app.focused is not None
            for key, active in app.screen.active_bindings.items():
                if not isinstance(active.node, Screen):
                    assert active.binding.id or key in FIXED, (app.focused, key)


def test_no_key_is_one_that_terminals_do_not_deliver() -> None:
    for key in KEYS:
        for name in key.keys:
            assert name not in FORBIDDEN
            assert not name.startswith("alt")
        assert any(name != "f1" for name in key.keys), "function keys alone do not do"


def test_every_key_has_an_action_where_it_says() -> None:
    table = {key.id: key for key in KEYS}
    for each in classes():
        for binding in own_bindings(each):
            action = binding.action.partition("(")[0]
            method = f"action_{action.removeprefix('app.')}"
            app = action.startswith("app.")
            targets = [Workbench] if app else [each, *each.__subclasses__()]
            assert any(hasattr(target, method) for target in targets), (each, binding)
            key = table.get(binding.id or "")
            assert key is None or (key.description and key.label)
    assert {key.place for key in KEYS} == set(TITLES)


def test_who_is_evaluated_is_called_a_model_in_keys_forms_and_the_tour() -> None:
    keys = {key.id: key.description for key in KEYS}
    assert keys["eval.differing"] == "To the next world where the models differ"
    said = [text for key in KEYS for text in (key.label, key.description)]
    said += [stop.text for stop in STOPS]
    for field in EvalSetup().fields(Path("scenarios")):
        said += [field.name, field.label, field.help]
    assert [text for text in said if re.search(r"\bsubjects?\b", text)] == []


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
