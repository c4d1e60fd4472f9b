"""What a pane or a screen may ask of the app. Everything else is a message to it.

The app has these members, but does not name this Protocol; nothing below the app imports the app.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from textual.screen import Screen

from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_tui.messages import Request
from sekft_tui.model.dataset import DataSet
from sekft_tui.model.job_size import DataCount
from sekft_tui.model.runs.pinned import PinnedRuns
from sekft_tui.process.bridge import Bridge
from sekft_tui.process.remembered import Remembered
from sekft_tui.process.workers import KeyPriority
from sekft_tui.widgets.prompt_line import PromptLine

if TYPE_CHECKING:
    from sekft_engine.records.runs import RunInfo

Answer = TypeVar("Answer")


class SessionHost(Protocol):
    """The app as the screen of one live session knows it."""

    @property
    def workspace(self) -> Workspace | None:
        """Where sessions are kept; None = nowhere in particular."""

    def note(self, text: str) -> None:
        """Tell a line to the user."""


class Host(Protocol):
    """The app as its panes and screens know it."""

    #: What the next training run is trained with; the form of Train edits it.
    recipe: Recipe
    #: What reading and certifying the data came to so far; Trajectories writes it.
    data_report: str
    #: What a run would train on, as far as it is counted; None = not yet.
    data_count: DataCount | None
    #: A line about the demo while it is being made; "" = it is not.
    demo_made: str
    #: A run that another process writes while the engine that is shown does nothing.
    run_elsewhere: RunInfo | None

    @property
    def workspace(self) -> Workspace: ...

    @property
    def base(self) -> str:
        """The base to train and evaluate: a folder, a file or a Hub id; "" = there is none."""

    @property
    def data(self) -> DataSet:
        """The trajectories to show and train on."""

    @property
    def is_demo(self) -> bool:
        """Whether the demo's base is used, which needs the demo's limits."""

    @property
    def bridge(self) -> Bridge:
        """The way to the engine."""

    @property
    def engine_beside(self) -> int:
        """The process of an engine in the background that could do a job in place of this process's
        own; 0 = there is none."""

    def join_engine(self, then: Callable[[], object]) -> None:
        """Leave this process's idle engine for that one, and then do something."""

    @property
    def pinned(self) -> PinnedRuns:
        """Training runs drawn beside every other."""

    @property
    def remembered(self) -> Remembered:
        """What was typed into this workspace's forms, also before."""

    @property
    def prompt(self) -> PromptLine:
        """The line at the bottom that asks for a text."""

    @property
    def key_priority(self) -> KeyPriority:
        """Tells work on threads when to give way to keys."""

    def note(self, text: str, seconds: float = 4.0) -> None:
        """Show a line in place of the keys, for so many seconds."""

    def error(self, text: str, trace: str = "") -> None:
        """Show an error for a few seconds; ``e`` shows it in full with ``trace``."""

    def open_shell(self, folder: Path) -> None:
        """Give the terminal to a shell in ``folder`` until it ends."""

    def log_line(self, level: str, text: str) -> None:
        """Add a line to the log pane."""

    def push_screen(
        self, screen: Screen[Answer], callback: Callable[[Answer | None], None] | None = None
    ) -> object:
        """Show ``screen`` over the panes; ``callback`` gets its answer."""

    def run_worker(self, work: Awaitable[None], *, group: str = "default") -> object:
        """Do ``work`` beside everything else."""

    def expect(self, request: Request) -> None:
        """``request`` is on its way to the app: keys pressed after it wait until it is done."""

    def open_after(self, work: Awaitable[None]) -> None:
        """Do ``work``, which opens a screen in the end: keys pressed meanwhile wait for that."""
