"""How the measures of an episode are called on the screen."""

from __future__ import annotations

from sekft_engine.episodes.verdict import MEASURES

#: The title of each measure, in the order of :data:`MEASURES`.
TITLES = {measure: measure for measure in MEASURES} | {
    "clean_termination": "clean termination",
    "terminates": "ends by itself",
}
#: Measures of worlds of all kinds, the most important first.
OVERALL = tuple(
    (measure, TITLES[measure])
    for measure in ("clean_termination", "verified", "operates", "terminates")
)
#: What one does in a world whose job cannot be done.
GIVEN_UP = "given up"
#: Measures and titles as the table of an eval shows them, the most important first: the last may be
#: cut off. What the checker says is told apart for doable worlds and for blocked ones.
BY_IMPORTANCE = (
    ("clean_termination", TITLES["clean_termination"]),
    ("solved", "solved"),
    ("rightly_given_up", f"rightly {GIVEN_UP}"),
    ("operates", TITLES["operates"]),
    ("terminates", TITLES["terminates"]),
)
#: What stands over the rates of controls.
CONTROLS = "controls, without a model"
#: What controls are called where their names have no room.
_SHORT = {"always-exit": "all exit", "always-panic": "all panic"}


def short_name(subject: str, room: int) -> str:
    """The name of a subject, for so many cells; it may still be too long."""
    return subject if len(subject) < room else _SHORT.get(subject, subject)
