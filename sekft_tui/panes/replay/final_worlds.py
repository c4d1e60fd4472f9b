"""What the episodes in the players have left in their worlds, against the reference solution."""

from __future__ import annotations

from functools import partial

from sekft_tui.model.episodes import Episode, final_difference
from sekft_tui.panes.replay.played_episode import PlayedEpisode
from sekft_tui.panes.replay.players import Players
from sekft_tui.process.workers import Later, run_on_thread


class FinalWorlds:
    """Shows or hides the differences under the sessions; each is computed once, on a thread."""

    def __init__(self, players: Players) -> None:
        self._players = players
        self._pair = players.pair

    def toggle(self) -> None:
        """Show the differences, at the end of the sessions; or hide them."""
        self._pair.differing = not self._pair.differing
        view = self._players.view
        view.playing = False
        self.compare()
        self._players.rebuild()
        if self._pair.differing:
            view.seek(view.cast.length if view.cast else 0.0)
            self._players.reveal()

    def compare(self) -> None:
        """Compute the differences that are to be shown and are not known yet."""
        if not self._pair.differing:
            return
        for shown in self._pair.both:
            if shown.episode is not None and shown.difference is None and not shown.pending:
                shown.pending = "typing the reference solution into a world of its own"
                comparing = partial(self._compare, shown, shown.episode)
                self._players.run_worker(Later(comparing), group="difference")

    async def _compare(self, shown: PlayedEpisode, episode: Episode) -> None:
        shown.difference = await run_on_thread(lambda: final_difference(episode))
        shown.pending = ""
        if shown in self._pair.both and self._pair.differing:
            self._players.rebuild()
            self._players.reveal()
