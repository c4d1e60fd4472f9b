"""The episodes in the players: one, or two in the same world."""

from __future__ import annotations

from collections.abc import Sequence

from sekft_tui.model.episodes import Episode
from sekft_tui.model.recording import IDLE_LIMIT_S, Cast, in_step
from sekft_tui.panes.replay.played_episode import PlayedEpisode, partners


class Pair:
    """``main`` is played; ``beside``, if there is one, is played in step with it.

    ``differing``: the differences in their final worlds are shown under them.
    """

    def __init__(self) -> None:
        self.main: PlayedEpisode | None = None
        self.beside: PlayedEpisode | None = None
        self.differing = False
        self.idle_limit = IDLE_LIMIT_S

    @property
    def both(self) -> list[PlayedEpisode]:
        return [other for other in (self.main, self.beside) if other is not None]

    def put(self, shown: PlayedEpisode | None, episodes: Sequence[Episode]) -> None:
        """Play ``shown``; if there were two, beside it the same subject as before, else another."""
        self.main = shown
        if self.beside is not None:
            found = partners(shown, episodes) if shown is not None else []
            wanted = {self.beside.subject} - {shown.subject if shown is not None else ""}
            same = [other for other in found if other.subject in wanted]
            self.beside = next(iter(same or found), None)

    def take_next(self, episodes: Sequence[Episode]) -> bool:
        """Put the next episode in the same world beside it; after the last one, none. False if
        there is no other at all."""
        found = partners(self.main, episodes) if self.main is not None else []
        known = [_identity(shown) for shown in found]
        here = _identity(self.beside) if self.beside is not None else None
        at = known.index(here) + 1 if here in known else 0
        self.beside = found[at] if at < len(found) else None
        return bool(found)

    def casts(self) -> tuple[Cast | None, Cast | None]:
        """The recordings for the two players."""
        casts = [shown.cast(self.idle_limit, with_difference=self.differing) for shown in self.both]
        if len(casts) == 2:
            return in_step(*casts)
        return (casts[0] if casts else None), None


def _identity(shown: PlayedEpisode) -> tuple[str, str, str]:
    return shown.run, shown.subject, shown.episode.path if shown.episode else ""
