"""The places of keys: panes, lists, screens over the panes, and which count at the same time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

Place = Literal[
    "global",
    "motion",
    "trajectories",
    "train",
    "eval",
    "replay",
    "runs",
    "log",
    "takeover",
    "shell",
    "live",
    "box",
    "queue",
    "engine",
    "compare",
    "rate",
    "worlds",
    "differences",
]

#: The panes in tab order, with the title their tab shows.
PANES: tuple[tuple[Place, str], ...] = (
    ("trajectories", "Trajectories"),
    ("train", "Train"),
    ("eval", "Eval"),
    ("replay", "Replay"),
    ("runs", "Runs"),
    ("log", "Log"),
)


class OverPanes(NamedTuple):
    """A screen over the panes: while it is open, the keys of the panes do nothing.

    Attributes:
        place: of the keys that only this screen has.
        title: of the screen.
        also: what else counts there: places, and ids of single keys that do on this screen what
            they do elsewhere.
        opener: the id of the key that opens the screen, where it closes it, too.
    """

    place: Place
    title: str
    also: tuple[str, ...] = ()
    opener: str = ""


#: Screens with keys of their own.
SCREENS: tuple[OverPanes, ...] = (
    OverPanes("takeover", "Take over", ("motion", "global.interrupt")),
    OverPanes("shell", "Watch a model", ("motion", "global.interrupt")),
    OverPanes("live", "Running episodes", ("motion", "global.help")),
    # Of all boxes, that of the last error has the most keys.
    OverPanes("box", "Boxes", ("motion", "global.copy", "global.help"), "global.details"),
    OverPanes("queue", "The job queue", ("motion", "box", "global.help"), "global.queue"),
    OverPanes("engine", "The engine", ("motion", "box", "global.help"), "global.engine"),
    OverPanes("compare", "Runs side by side", ("motion", "box", "global.help"), "runs.compare"),
    OverPanes(
        "rate",
        "Find a learning rate",
        ("box", "global.help", "global.interrupt"),
        "train.find-rate",
    ),
    OverPanes("worlds", "Choose a world", ("motion", "box", "global.help")),
    OverPanes("differences", "Not as recorded", ("motion", "global.help"), "takeover.differences"),
)

#: The title of each place, in the order of the table.
TITLES: dict[Place, str] = {
    "global": "In every pane",
    "motion": "In lists and texts",
    **dict(PANES),
    **{screen.place: screen.title for screen in SCREENS},
}

#: Keys of screens and widgets that are not in the table, and why. So are the answers of a
#: question: it shows them itself, and nothing else has a key while it is asked.
FIXED: dict[str, str] = {
    "tab": "goes to the next part, as in every program of a terminal",
    "shift+tab": "goes to the part before",
    "ctrl+q": "leaves, as in every program made with Textual; flow control may keep it",
}


def together() -> Iterator[tuple[str, ...]]:
    """Places, and ids of single keys, that count at the same time: none of these keys may do two
    things."""
    for name, _ in PANES:
        yield "global", "motion", name
    for screen in SCREENS:
        opener = (screen.opener,) if screen.opener else ()
        yield screen.place, *screen.also, *opener
