"""The line of keys at the bottom: what it shows in which state, as far as there is room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from sekft_tui.input.actions import action_of, footer, key_for, of, shown
from sekft_tui.input.places import Place
from sekft_tui.text import Parts, clip


class Item(NamedTuple):
    """A key, what it does now, and the action of a click; empty = none."""

    key: str
    label: str
    action: str = ""


class FooterState(NamedTuple):
    """How a pane's keys differ now from what the table says.

    Attributes:
        labels: by action, another label; empty = the key does nothing now, and is not shown.
        first: what stands before the keys of the table.
        only: what stands instead of them.
    """

    labels: Mapping[str, str] = {}
    first: tuple[Item, ...] = ()
    only: tuple[Item, ...] = ()


#: While a text is typed, letters are text.
TYPING = FooterState(only=(Item("⏎", "accept"), Item("esc", "cancel")))
#: Always at the right end.
_LAST = ("help", "quit")


def items(place: Place, state: FooterState) -> tuple[Item, ...]:
    """The keys of a pane in this state, most useful first."""
    if state.only:
        return state.only
    return (
        *state.first,
        *(
            Item(shown(key.keys[0]), label, action_of(key))
            for key in footer(place)
            if key.action not in _LAST and (label := state.labels.get(key.action, key.label))
        ),
    )


def last_items() -> tuple[Item, ...]:
    """Help and quit."""
    keys = {key.action: key for key in of("global")}
    return tuple(
        Item(shown(key.keys[0]), key.label, action_of(key))
        for key in (keys[action] for action in _LAST)
    )


def hints(wanted: Sequence[tuple[str, str]], width: int = 0) -> Parts:
    """The last line of a box: (ids of keys, with spaces between them, and what they do) each.

    Args:
        width: of the line. Where they do not fit they stand closer; then what comes before the
            last one, which closes the box, is left out. 0 = they fit.
    """
    chosen = [
        (" ".join(key_for(identity) for identity in ids.split()), label) for ids, label in wanted
    ]
    least, gap = sum(cell_len(keys) + cell_len(label) + 1 for keys, label in chosen), 3
    if width:
        while gap > 1 and least + gap * (len(chosen) - 1) > width:
            gap -= 1
        while len(chosen) > 1 and least + gap * (len(chosen) - 1) > width:
            keys, label = chosen.pop(-2)
            least -= cell_len(keys) + cell_len(label) + 1
    parts: list[tuple[str, str]] = []
    for number, (keys, label) in enumerate(chosen, 1):
        parts += [(keys, "key"), (f" {label}" + " " * gap * (number < len(chosen)), "quiet")]
    return tuple(parts)


class Bar(NamedTuple):
    """A line of keys, and where it can be clicked: line, first cell, cell after the last one, and
    the action."""

    parts: Parts
    clicks: tuple[tuple[int, int, int, str], ...] = ()


def bar(shown_first: Sequence[Item], last: Sequence[Item], width: int) -> Bar:
    """As many of ``shown_first`` as fit before ``last``, which stands at the right end."""
    room = width - sum(_size(item) for item in last)
    chosen = []
    for item in shown_first:
        if _size(item) > room:
            break
        chosen.append(item)
        room -= _size(item)
    parts: list[tuple[str, str]] = []
    clicks: list[tuple[int, int, int, str]] = []
    at = 0
    for number, item in enumerate((*chosen, *last)):
        if number == len(chosen) and room > 0:
            parts.append((" " * room, ""))
            at += room
        size = _size(item)
        parts += [(f" {item.key}", "key"), (clip(f" {item.label} ", size), "quiet")]
        if item.action:
            clicks.append((0, at, at + size, item.action))
        at += size
    return Bar(tuple(parts), tuple(clicks))


def _size(item: Item) -> int:
    return cell_len(f" {item.key} {item.label} ")
