"""The tour: a few lines above the keys that say what to look at and what to press, pane by pane."""

from __future__ import annotations

from typing import NamedTuple

from sekft_tui.input.actions import Place
from sekft_tui.text import Parts, wrapped
from sekft_tui.widgets.lines import Lines


class Stop(NamedTuple):
    """One step of the tour: where it is, and what is said there."""

    place: Place
    title: str
    text: str


STOPS = (
    Stop(
        "trajectories",
        "Recorded sessions",
        "Each row is a session at a shell prompt. j and k walk, Enter goes to its tokens, escape "
        "comes back. Bold text with a bar at its left is trained; all else is only read.",
    ),
    Stop(
        "trajectories",
        "Every view of a token",
        "Press v a few times: token edges, ids, special tokens, labels, and the certificate that "
        "proves the mask. f filters the list (try outcome:panic), / finds text in all sessions.",
    ),
    Stop(
        "train",
        "A training run",
        "To the left is the recipe: Enter edits a line, its help is below. Set max steps to 8, and "
        "press s to start. The base is loaded once and stays in memory.",
    ),
    Stop(
        "train",
        "Watching it",
        "The curve is drawn as it comes. m shows other curves, h and l read it step by step, b "
        "shows the batch with its masks. p pauses, c saves, x stops after the step. Other panes "
        "work meanwhile.",
    ),
    Stop(
        "eval",
        "What it can do",
        "Space chooses the base and adapters, s lets them act in sandboxed worlds that "
        "training never saw. The rates below have 95 % intervals and a paired test. Enter "
        "replays an episode.",
    ),
    Stop(
        "replay",
        "What it did",
        "Space plays a session as it was typed, . steps through it, v goes to the verdict. s puts "
        "another subject in the same world beside it, t lets you type yourself from that turn on.",
    ),
    Stop(
        "runs",
        "Everything that was done",
        "Enter shows a run again from its journal, u resumes one that was stopped. m marks runs, C "
        "puts them side by side. r gives a title, t tags, d moves a run to the trash.",
    ),
    Stop(
        "log",
        "That is all",
        "? shows every key of a pane, ctrl+p finds a command by name, E writes what is shown to a "
        "file, q leaves and asks before anything is lost. ctrl+o has the settings.",
    ),
)


class Tour(Lines):
    """Hidden until it begins."""

    DEFAULT_CSS = """
    Tour { dock: bottom; height: 5; margin-bottom: 1; display: none; background: $surface; }
    Tour.-on { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(self._text, id="tour")
        self.at = -1

    @property
    def stop(self) -> Stop | None:
        return STOPS[self.at] if 0 <= self.at < len(STOPS) else None

    def step(self) -> Stop | None:
        """Go to the next stop, or begin; None = the tour is over."""
        self.at = self.at + 1 if self.at + 1 < len(STOPS) else -1
        self.set_class(self.at >= 0, "-on")
        self.update()
        return self.stop

    def end(self) -> None:
        self.at = -1
        self.remove_class("-on")

    def _text(self, width: int) -> tuple[Parts, ...]:
        stop = self.stop
        if stop is None:
            return ()
        last = self.at == len(STOPS) - 1
        head: Parts = (
            (f" Tour {self.at + 1}/{len(STOPS)}  ", "chip"),
            (f" {stop.title}", "strong"),
            ("   ctrl+g ", "key"),
            ("ends it" if last else "next", "quiet"),
            ("" if last else "   ctrl+x ", "key"),
            ("" if last else "ends it", "quiet"),
        )
        rows = wrapped(stop.text, max(20, width - 2))[:4]
        return (head, *(((f" {row}", "text"),) for row in rows))
