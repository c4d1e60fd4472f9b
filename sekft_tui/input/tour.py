"""The tour: a few lines above the keys that say what to look at and what to press, pane by pane."""

from __future__ import annotations

import re
from typing import NamedTuple

from sekft_tui.input.actions import key_for
from sekft_tui.input.places import Place
from sekft_tui.text import Parts, wrapped
from sekft_tui.widgets.lines import Lines


class Stop(NamedTuple):
    """One step of the tour: where it is, and what is said there, with ids of keys in braces; what
    is said first depends on whether a pane shows one part at a time, as in a narrow terminal.
    ``empty`` is said instead where there is no session to look at."""

    place: Place
    title: str
    text: str
    wide: str = ""
    narrow: str = ""
    empty: str = ""

    def said(self, *, narrow: bool, empty: bool = False) -> str:
        """The text with the keys that are in use."""
        first = self.narrow if narrow else self.wide
        text = self.empty if empty and self.empty else f"{first} {self.text}".strip()
        return re.sub(r"\{([a-z.-]+)\}", lambda found: key_for(found[1]), text)


STOPS = (
    Stop(
        "trajectories",
        "Recorded sessions",
        "Each row is a session at a shell prompt. j and k walk, Enter goes to its tokens, escape "
        "comes back. Bold text with a bar at its left is trained; all else is only read.",
        empty="There are none here yet. Each row will be a session at a shell prompt: j and k "
        "walk, Enter goes to its tokens, escape comes back. What is trained is bold, with a bar.",
    ),
    Stop(
        "trajectories",
        "Every view of a token",
        "Press {trajectories.view} a few times: token edges, ids, control tokens, labels, and the "
        "certificate that proves the mask. {trajectories.filter} filters the list (try "
        "outcome:panic), {trajectories.search} finds text in all sessions.",
    ),
    Stop(
        "train",
        "A training run",
        "Enter edits a value, its help is below. Set max steps to 8, and press {train.start} to "
        "start. The base is loaded once and stays in memory.",
        wide="To the left is the recipe.",
        narrow="{train.recipe} shows the recipe, and the curve again.",
    ),
    Stop(
        "train",
        "Watching it",
        "The curve is drawn as it comes. {train.metric} shows other curves, {train.cursor-back} "
        "and {train.cursor} read it step by step, {train.batch} shows the batch with its masks. "
        "{train.pause} pauses, {train.checkpoint} saves, {train.stop} stops after the step. Other "
        "panes work meanwhile.",
    ),
    Stop(
        "eval",
        "What it can do",
        "Space chooses the base and adapters, {eval.start} lets them act in sandboxed worlds that "
        "training never saw. The rates below have 95 % intervals and a paired test. Enter replays "
        "an episode.",
    ),
    Stop(
        "replay",
        "What it did",
        "Space plays a session as it was typed, {replay.step} steps through it, {replay.verdict} "
        "goes to the verdict. {replay.beside} puts another model in the same world beside it, "
        "{replay.take-over} lets you type yourself from that turn on.",
    ),
    Stop(
        "runs",
        "Everything that was done",
        "Enter shows a run again from its journal, {runs.resume} resumes one that was stopped. "
        "{runs.mark} marks runs, {runs.compare} puts them side by side. {runs.rename} gives a "
        "title, {runs.tag} tags, {runs.delete} moves a run to the trash.",
    ),
    Stop(
        "log",
        "That is all",
        "{global.help} shows every key of a pane, {global.command-palette} finds a command by "
        "name, {global.export} writes what is shown to a file, {global.quit} leaves and asks "
        "before anything is lost. {global.settings} has the settings.",
    ),
)


class Tour(Lines):
    """Hidden until it begins."""

    DEFAULT_CSS = """
    Tour { dock: bottom; height: 5; margin-bottom: 2; display: none; background: $surface; }
    Tour.-on { display: block; }
    """

    def __init__(self) -> None:
        super().__init__(self._text, id="tour")
        self.at = -1
        self._empty = False

    @property
    def stop(self) -> Stop | None:
        return STOPS[self.at] if 0 <= self.at < len(STOPS) else None

    def step(self, *, empty: bool = False) -> Stop | None:
        """Go to the next stop, or begin; None = the tour is over.

        Args:
            empty: there is no session to look at.
        """
        self._empty = empty
        self.at = self.at + 1 if self.at + 1 < len(STOPS) else -1
        self._shown()
        self.update()
        return self.stop

    def end(self) -> None:
        self.at = -1
        self._shown()

    def _shown(self) -> None:
        self.set_class(self.stop is not None, "-on")
        if self.is_attached:  # an error stands above the tour, not on it
            self.screen.query("ToastRack").set_class(self.stop is not None, "-above-tour")

    def _text(self, width: int) -> tuple[Parts, ...]:
        stop = self.stop
        if stop is None:
            return ()
        last = self.at == len(STOPS) - 1
        head: Parts = (
            (f" Tour {self.at + 1}/{len(STOPS)}  ", "chip"),
            (f" {stop.title}", "strong"),
            (f"   {key_for('global.tour')} ", "key"),
            ("ends it" if last else "next", "quiet"),
            ("" if last else f"   {key_for('global.end-tour')} ", "key"),
            ("" if last else "ends it", "quiet"),
        )
        said = stop.said(narrow=self.screen.has_class("-narrow"), empty=self._empty)
        rows = wrapped(said, max(20, width - 2))[:4]
        return (head, *(((f" {row}", "text"),) for row in rows))
