"""The lines around the tokens: the trajectory, whether it is trained on, and the search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

from sekft_engine.data.filters import Filter
from sekft_engine.data.reasons import as_shown
from sekft_tui.input.actions import key_for
from sekft_tui.library import Library, ListState, Rendered
from sekft_tui.panes.trajectories.listing import OUTCOMES
from sekft_tui.text import Parts, clip, visible
from sekft_tui.widgets.token_view import TokenView

if TYPE_CHECKING:
    from sekft_engine.sources import Facts

#: Cells for a trajectory's name below which other words make room.
_LEAST_NAME = 16


def head(
    facts: Facts | None, view: TokenView, rendered: Rendered | None, width: int
) -> tuple[Parts, ...]:
    """The trajectory's name, how it ended, as many facts as there is room for, and the turn under
    the cursor."""
    if facts is None:
        return ((),)
    count = facts.turns
    if rendered is not None and rendered.whole and view.doc is not None:
        count = view.doc.turn_count
    turns = f" turn {view.turn + 1:,}/{count:,} "
    verdict, style = _verdict(facts, rendered)
    ending = f"  {clip(visible(facts.outcome) or 'no ending', 9)}"
    mark = (" ✓ ", "good") if facts.verified else (" ✗ ", "bad")
    room = width - cell_len(ending + mark[0] + verdict + turns)
    if room < _LEAST_NAME:
        verdict = verdict[:3]  # its sign alone
        room = width - cell_len(ending + mark[0] + verdict + turns)
    name = clip(f" {visible(facts.id)}", max(0, room))
    about = _as_many([facts.archetype, facts.provider, facts.announcement], room - cell_len(name))
    return (
        (
            (name, "strong"),
            (ending, OUTCOMES.get(facts.outcome, "quiet")),
            mark,
            (about + " " * max(0, room - cell_len(name + about)), "quiet"),
            (verdict, style),
            (turns, "text"),
        ),
    )


def _as_many(facts: Sequence[str], width: int) -> str:
    """As many of the first facts as fit whole."""
    text = ""
    for fact in (visible(fact) for fact in facts if fact):
        longer = f"{text} · {fact}" if text else f" {fact}"
        if cell_len(longer) > width:
            break
        text = longer
    return text


def _verdict(facts: Facts, rendered: Rendered | None) -> tuple[str, str]:
    """Whether it is trained on."""
    if rendered is None or not rendered.whole or rendered.trouble:
        return "", ""
    if rendered.dropped:
        return " ✗ dropped ", "bad"
    if facts.left_out:
        return " ○ not kept ", "quiet"
    return " ✓ certified ", "good"


def empty_list(
    listed: ListState,
    trouble: str,
    filtered: Filter,
    library: Library | None,
    data: str,
    demo_made: str = "",
) -> str:
    """What stands in place of the rows of a list that has none (yet)."""
    if demo_made and not listed.total:
        return f"no trajectories yet\n\n{demo_made}"
    if trouble:
        return nothing_to_show(trouble)
    if not listed.done:
        return "reading trajectories …" if listed.reading else "filtering …"
    if filtered and listed.total:
        return f"nothing matches {filtered}\n{key_for('trajectories.back')} clears the filter"
    problems = library.index.problems if library else ()
    return nothing_to_show(str(problems[0]) if problems else f"no trajectories in {data}")


def nothing_to_show(why: str) -> str:
    """Why the list is empty, and what the user can do."""
    again = key_for("global.reload")
    return f"{why}\n\nsekft tui --demo makes a workspace to try\n{again} reads this one again"


def waiting(preparing: bool, library: Library | None) -> str:
    """The text in place of the tokens until they are rendered."""
    if preparing:
        return "preparing the base …\n\nThe engine fetches or converts it, once."
    ready = library is not None and library.renderer.ready
    return "rendering …" if ready else "loading the tokenizer …"


def state(view: TokenView, rendered: Rendered | None, needle: str, width: int) -> tuple[Parts, ...]:
    """Why it is not trained on, or that it is being rendered; else the token at the cursor."""
    if rendered is None:
        return ((),)
    right = f" {visible(needle)!s}: {view.found} " if needle else ""
    right = clip(right, width // 2)
    room = width - cell_len(right)
    left: Parts
    if not rendered.whole:
        left = (
            (" … ", "warn"),
            (clip("the beginning; the rest is being rendered", room - 4), "warn"),
        )
    elif rendered.dropped or rendered.trouble:
        text = clip(visible(as_shown(rendered.dropped) or rendered.trouble), room - 4)
        left = ((" ✗ ", "bad"), (text, "bad"))
    else:
        left = view.readout(room)
    used = sum(cell_len(text) for text, _ in left)
    return ((*left, (" " * max(0, room - used), ""), (right, "accent")),)
