"""What panes, screens and the bridge post up to the app, which alone knows all panes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from sekft_engine.engine.attached.follower import State
    from sekft_engine.records.events import Event
    from sekft_tui.model.evaluation import EvalView
    from sekft_tui.model.training import TrainView


class RedrawPane(Message):
    """Draw the visible pane again, even if no event arrived; many of them make one drawing."""

    def can_replace(self, message: Message) -> bool:
        return isinstance(message, RedrawPane)


class Request(Message):
    """Something to be done before the next key; posted by :meth:`Pane.request`."""


class Begin(Request):
    """The first picture is on the screen: read what the panes need."""


class OpenTrajectory(Request):
    """Show the trajectory with this id in Trajectories."""

    def __init__(self, trajectory: str) -> None:
        super().__init__()
        self.trajectory = trajectory


class OpenEpisode(Request):
    """Show one episode of an eval in Replay."""

    def __init__(self, view: EvalView, subject: str, scenario: str) -> None:
        super().__init__()
        self.view = view
        self.subject = subject
        self.scenario = scenario


class ShowEpisodes(Request):
    """List the episodes of the run with this id in Replay."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self.run = run


class ShowRun(Request):
    """Show a run from its journal, in Train or in Eval."""

    def __init__(self, view: TrainView | EvalView) -> None:
        super().__init__()
        self.view = view


class FollowTraining(Request):
    """Show the training run that is running now."""


class Evaluate(Request):
    """Choose the adapter in this folder in Eval."""

    def __init__(self, adapter: str) -> None:
        super().__init__()
        self.adapter = adapter


class TakeOver(Request):
    """Type by hand from a turn of a recorded session on.

    Args:
        path: the session's file.
        turn: counted from 1.
    """

    def __init__(self, path: Path, turn: int) -> None:
        super().__init__()
        self.path = path
        self.turn = turn


class EngineEvent(Message):
    """One of the bridge's rare events arrived: the end of a job, a new run, …"""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


class EngineState(Message):
    """How the workbench stands to the engine of another process has changed."""

    def __init__(self, state: State, why: str) -> None:
        super().__init__()
        self.state = state
        self.why = why
