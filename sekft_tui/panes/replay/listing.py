"""The list of episodes: read from disk, filtered, drawn."""

from __future__ import annotations

from pathlib import Path

from sekft_engine import filters
from sekft_tui.episodes import Episode, EpisodeShelf
from sekft_tui.panes.replay.shown import UNJUDGED, clip_trial
from sekft_tui.text import Parts, clip, fit, visible
from sekft_tui.widgets.verdict_grid import mark_of

#: From so many columns on a row names its run too, in so many.
_ROOMY, _RUN = 70, 16
HINT = "words -not run:… subject:… outcome:panic verified:yes clean:no"


class Listing:
    """Episodes, and those of them that match a filter."""

    def __init__(self) -> None:
        self.shelf = EpisodeShelf()
        self.all: list[Episode] = []
        self.rows: list[Episode] = []
        self.filter = ""
        self._texts: dict[str, str] = {}

    def read(self, runs: Path) -> list[str]:
        """Read the runs again; returns what could not be read. For a thread."""
        found, broken = self.shelf.find(runs)
        self.all, self._texts = found, {}
        return broken

    def sift(self) -> None:
        wanted = filters.parse(self.filter, filters.EPISODE)
        self.rows = [one for one in self.all if self._matches(one, wanted)]

    def row_of(self, path: str) -> int | None:
        return next((y for y, one in enumerate(self.rows) if one.path == path), None)

    def _matches(self, one: Episode, wanted: filters.Filter) -> bool:
        def ask(field: str) -> filters.Value:
            if field in ("run", "subject"):
                return str(getattr(one, field))
            if field == "invalid":
                return one.verdict is not None and bool(one.verdict.invalid)
            found: filters.Value = getattr(one.trajectory, field)
            return found

        return filters.matches(wanted, ask, lambda: self._text(one))

    def _text(self, one: Episode) -> str:
        found = self._texts.get(one.path)
        if found is None:
            turns = (turn.content for turn in one.trajectory.turns)
            found = "\n".join((one.trajectory.id, one.subject, one.run, *turns)).lower()
            self._texts[one.path] = found
        return found

    # --- drawing ----------------------------------------------------------------------------

    def head(self, width: int) -> tuple[Parts, ...]:
        total = len(self.all)
        count = f"{len(self.rows)} of {total}" if self.filter else str(total)
        parts = [(f" {count}", "strong"), (f" episode{'s' * (total != 1)}", "quiet")]
        if self.filter:
            parts.append((clip(f"  f: {self.filter}", max(0, width - 22)), "accent"))
        return (tuple(parts),)

    def row(self, y: int, width: int) -> Parts:
        one = self.rows[y]
        mark = mark_of(one.verdict) if one.verdict else UNJUDGED
        run = _RUN if width >= _ROOMY else 0
        room = max(10, width - 12 - run)
        name = max(8, room * 3 // 5)
        return (
            (f" {mark.glyph} ", mark.style),
            (fit(clip_trial(visible(one.name), name), name), "text"),
            (" " + fit(visible(one.subject), room - name - 1), "quiet"),
            *(((" " + fit(visible(one.run), run - 1), "quiet"),) if run else ()),
            (" " + fit(mark.word, 8), mark.style),
        )
