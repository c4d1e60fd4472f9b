"""The list of episodes: read from disk, filtered, drawn."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.data import filters
from sekft_tui.model.episodes import Episode, EpisodeShelf
from sekft_tui.panes.replay.played_episode import UNJUDGED, clip_trial
from sekft_tui.text import Parts, clip, fit, visible
from sekft_tui.widgets.verdict_grid import mark_of

#: From this width on, a row shows its run too, in this many cells.
_ROOMY, _RUN = 70, 16
HINT = "words -not run:… model:… outcome:panic verified:yes clean:no"


class Listing:
    """All episodes, and those that match the filter."""

    def __init__(self) -> None:
        self.shelf = EpisodeShelf()
        self.all: list[Episode] = []
        self.rows: list[Episode] = []
        self.filter = ""
        #: Whether an eval is at work, so that there will be more.
        self.recording = False
        #: Whether it is being read, so that what is not in it may be there.
        self.reading = True
        self._texts: dict[str, tuple[Episode, str]] = {}
        self._broken: list[str] = []
        self._stamps: tuple[tuple[str, int, int], ...] = ()

    def read(self, runs: Path) -> list[str]:
        """Read the runs again, on a thread; returns a line for each file that could not be read."""
        self._stamps = self.shelf.stamps(runs)  # what changes meanwhile is read at the next time
        self.all, self._broken = self.shelf.find(runs)
        return self._broken

    def follow(self, runs: Path) -> list[str] | None:
        """Read the runs if an episode came or went, on a thread; returns a line for each file that
        could not be read and was not told yet, or None where nothing has changed."""
        if self.shelf.stamps(runs) == self._stamps:
            return None
        known = set(self._broken)
        return [line for line in self.read(runs) if line not in known]

    def apply_filter(self) -> None:
        wanted = filters.parse(self.filter, filters.EPISODE, typing=True)
        self.rows = [episode for episode in self.all if self._matches(episode, wanted)]

    def row_of(self, path: str) -> int | None:
        return next((y for y, episode in enumerate(self.rows) if episode.path == path), None)

    def _matches(self, episode: Episode, wanted: filters.Filter) -> bool:
        def ask(field: str) -> filters.Value:
            if field == "run":
                return episode.run
            if field == "model":
                return episode.subject
            if field == "invalid":
                return episode.verdict is not None and bool(episode.verdict.invalid)
            found: filters.Value = getattr(episode.trajectory, field)
            return found

        return filters.matches(wanted, ask, lambda: self.text(episode))

    def text(self, episode: Episode) -> str:
        """All that is written in an episode, in small letters."""
        of, found = self._texts.get(episode.path, (None, ""))
        if of is not episode:
            turns = (turn.content for turn in episode.trajectory.turns)
            found = "\n".join((episode.trajectory.id, episode.subject, episode.run, *turns)).lower()
            self._texts[episode.path] = episode, found
        return found

    # --- drawing ----------------------------------------------------------------------------

    def head(self, width: int) -> tuple[Parts, ...]:
        total = len(self.all)
        if self.reading and not total:
            return (((" Episodes", "strong"),),)
        count = f"{len(self.rows)} of {total}" if self.filter else str(total)
        parts = [(f" {count}", "strong"), (f" episode{'s' * (total != 1)}", "quiet")]
        if self.filter:
            room = width - sum(len(text) for text, _ in parts)
            parts.append((clip(f"  f: {self.filter}", max(0, room)), "accent"))
        return (tuple(parts),)

    def row(self, y: int, width: int) -> Parts:
        episode = self.rows[y]
        mark = mark_of(episode.verdict) if episode.verdict else UNJUDGED
        run = _RUN if width >= _ROOMY else 0
        room = max(10, width - 12 - run)
        name = max(8, room * 3 // 5)
        return (
            (f" {mark.glyph} ", mark.style),
            (fit(clip_trial(visible(episode.name), name), name), "text"),
            (" " + fit(visible(episode.subject), room - name - 1), "quiet"),
            *(((" " + fit(visible(episode.run), run - 1), "quiet"),) if run else ()),
            (" " + fit(visible(mark.word), 8), mark.style),
        )
