"""How the measures of an episode are called on the screen."""

from __future__ import annotations

from sekft_engine.episodes.verdict import MEASURES

#: The title of each measure, in the order of :data:`MEASURES`.
TITLES = {measure: measure for measure in MEASURES} | {"clean_termination": "clean end"}
#: Measures and titles as tables show them, the most important first: the last may be cut off.
BY_IMPORTANCE = tuple(
    (measure, TITLES[measure])
    for measure in ("clean_termination", "verified", "operates", "terminates")
)
