"""An episode in a player, stored or still running; and the episodes to show beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from sekft_engine.records.events import EpisodeDone
from sekft_tui.model.episodes import Episode
from sekft_tui.model.evaluation import EvalView
from sekft_tui.model.recording import Cast, cast_of, cast_of_events
from sekft_tui.text import Parts, clip, visible
from sekft_tui.widgets.verdict_grid import Mark, mark_of

if TYPE_CHECKING:
    from sekft_engine.episodes.reference import StateDifference

UNJUDGED = Mark("·", "not judged", "quiet")


class PlayedEpisode:
    """A stored ``episode``, or a running one: a cell of the eval ``view``.

    ``difference`` is that of its final world; ``pending`` says what is being done to compute it.
    """

    def __init__(
        self,
        subject: str,
        scenario: str,
        run: str,
        *,
        episode: Episode | None = None,
        view: EvalView | None = None,
    ) -> None:
        self.subject = subject
        self.scenario = scenario
        self.run = run
        self.episode = episode
        self.view = view
        self.difference: StateDifference | None = None
        self.pending = ""
        self._known_turns = -1

    @classmethod
    def of(cls, episode: Episode) -> PlayedEpisode:
        return cls(episode.subject, episode.name, episode.run, episode=episode)

    @property
    def verdict(self) -> EpisodeDone | None:
        if self.episode is not None:
            return self.episode.verdict
        return self.view.cell(self.subject, self.scenario).verdict if self.view else None

    @property
    def running(self) -> bool:
        return self.view is not None and self.verdict is None

    @property
    def mark(self) -> Mark:
        if self.verdict is not None:
            return mark_of(self.verdict)
        return Mark("▸", "running", "key") if self.running else UNJUDGED

    def title(self, width: int = 400) -> Parts:
        """Subject, scenario and run; the scenario is shortened if there is little room."""
        mark = self.mark
        subject, run = visible(self.subject) or "unknown", visible(self.run)
        room = max(8, width - cell_len(f" {mark.glyph} {subject}    {run} "))
        return (
            (f" {mark.glyph} ", mark.style),
            (subject, "strong"),
            (f"  {clip_trial(visible(self.scenario), room)}", "text"),
            (f"  {run}", "quiet"),
        )

    def cast(self, idle_limit: float, *, with_difference: bool) -> Cast:
        if self.episode is not None:
            cast = cast_of(self.episode.trajectory, self.episode.verdict)
        elif self.view is not None:
            cell = self.view.cell(self.subject, self.scenario)
            cast = cast_of_events(cell.turn_events, cell.verdict)
        else:
            cast = Cast(())
        ending = cast.ending
        if with_difference:
            ending = ending._replace(difference=self.difference, pending=self.pending)
        return cast.changed(idle_limit=idle_limit, ending=ending)

    def has_grown(self) -> bool:
        """Whether a running episode has new turns since the last call."""
        if self.view is None:
            return False
        cell = self.view.cell(self.subject, self.scenario)
        turns = len(cell.turn_events) + (cell.verdict is not None)
        before, self._known_turns = self._known_turns, turns
        return turns != before

    @property
    def path(self) -> Path | None:
        """Where it is stored; None = nowhere yet."""
        return Path(self.episode.path) if self.episode is not None else self.unread_file()

    def unread_file(self) -> Path | None:
        """The file of an episode that was running and is stored by now; None = it is not."""
        if self.view is None:
            return None
        return file_of(self.view, self.subject, self.scenario)


def clip_trial(name: str, width: int) -> str:
    """``name`` in ``width`` cells; the number of its draw is never cut off."""
    scenario, at, draw = name.rpartition("@")
    if not at or not draw.isdigit():
        return clip(name, width)
    tail = at + draw
    return clip(scenario, max(1, width - len(tail))) + tail


def file_of(view: EvalView, subject: str, scenario: str) -> Path | None:
    """The file of a finished episode of the grid; None if there is none."""
    verdict = view.cell(subject, scenario).verdict
    if verdict is None or not verdict.path:
        return None
    path = Path(view.path) / verdict.path  # an absolute path stays as it is
    return path if path.is_file() else None


def partners(shown: PlayedEpisode, episodes: Sequence[Episode]) -> list[PlayedEpisode]:
    """Other episodes in the same world: those of the same run first, then the newest."""
    if shown.view is not None:
        view = shown.view
        return [
            PlayedEpisode(name, shown.scenario, shown.run, view=view)
            for name in view.subjects
            if name != shown.subject and view.cell(name, shown.scenario).status != "waiting"
        ]
    episode = shown.episode
    if episode is None or not episode.trajectory.scenario:
        return []
    found = [
        other for other in episodes if other.world == episode.world and other.path != episode.path
    ]
    # Another subject is more interesting than the same one once more.
    found.sort(key=lambda other: (other.run != episode.run, other.subject == episode.subject))
    return [PlayedEpisode.of(other) for other in found]
