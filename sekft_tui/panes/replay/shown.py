"""What a player shows: a stored episode, or one that still runs; and whom to show beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.cells import cell_len

from sekft_engine.events import EpisodeDone
from sekft_tui.cast import Cast, cast_of, cast_of_events
from sekft_tui.episodes import Episode
from sekft_tui.eval_view import EvalView
from sekft_tui.text import Parts, clip, visible
from sekft_tui.widgets.verdict_grid import Mark, mark_of

if TYPE_CHECKING:
    from sekft_engine.evaluate.reference import StateDifference

UNJUDGED = Mark("·", "not judged", "quiet")


class Shown:
    """One of the two: ``episode``, or ``view`` with the names of its cell.

    ``difference`` is that of its final world; ``pending`` says what is done to know it.
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
        self._told = -1

    @classmethod
    def of(cls, episode: Episode) -> Shown:
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
        """Who, where, and in which run; where there is little room, less of where."""
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
            cast = cast_of_events(cell.said, cell.verdict)
        else:
            cast = Cast(())
        ending = cast.ending
        if with_difference:
            ending = ending._replace(difference=self.difference, pending=self.pending)
        return cast.changed(idle_limit=idle_limit, ending=ending)

    def has_grown(self) -> bool:
        """Whether a running episode went on since this was last asked."""
        if self.view is None:
            return False
        cell = self.view.cell(self.subject, self.scenario)
        told = len(cell.said) + (cell.verdict is not None)
        before, self._told = self._told, told
        return told != before

    def file(self) -> Path | None:
        """Where a running episode was stored by now."""
        if self.view is None:
            return None
        return file_of(self.view, self.subject, self.scenario)


def clip_trial(name: str, width: int) -> str:
    """``name`` in so many cells; the number of its draw stays, for it tells many apart."""
    scenario, at, draw = name.rpartition("@")
    if not at or not draw.isdigit():
        return clip(name, width)
    tail = at + draw
    return clip(scenario, max(1, width - len(tail))) + tail


def file_of(view: EvalView, subject: str, scenario: str) -> Path | None:
    """The file of a finished episode of the grid, where it is there."""
    verdict = view.cell(subject, scenario).verdict
    if verdict is None or not verdict.path:
        return None
    path = Path(view.path) / verdict.path  # an absolute one stays what it is
    return path if path.is_file() else None


def partners(shown: Shown, episodes: Sequence[Episode]) -> list[Shown]:
    """Who else was in the same world: in the same run first, then in the newest."""
    if shown.view is not None:
        view = shown.view
        return [
            Shown(name, shown.scenario, shown.run, view=view)
            for name in view.subjects
            if name != shown.subject and view.cell(name, shown.scenario).status != "waiting"
        ]
    one = shown.episode
    if one is None or not one.trajectory.scenario:
        return []
    found = [other for other in episodes if other.world == one.world and other.path != one.path]
    # Somebody else says more than the same one another time.
    found.sort(key=lambda other: (other.run != one.run, other.subject == one.subject))
    return [Shown.of(other) for other in found]
