"""The state of a take-over as front ends see it, and the part of the engine that it uses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.reference import StateDifference
from sekft_engine.records.events import Event
from sekft_engine.records.jobs import Job
from sekft_engine.takeover.difference import TurnDifference
from sekft_engine.takeover.keep import HAND, SavedSession
from sekft_engine.takeover.origin import Origin
from sekft_engine.work.board import Phase

#: opening: the world is made, and the recorded commands are typed again. ready: the person may
#: type. running: their command runs. model: a model types. judging: the checker runs, or the
#: certificate is made. over: the session is judged. failed: there is no world; ``problem`` says
#: why. closed: it was left.
State = Literal["opening", "ready", "running", "model", "judging", "over", "failed", "closed"]


class EngineClient(Protocol):
    """The methods of the engine that a take-over uses."""

    def submit(self, job: Job) -> str: ...
    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool: ...
    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]: ...


class TakeOverView(msgspec.Struct, frozen=True, kw_only=True):
    """A take-over at one moment.

    Attributes:
        origin: where it began; None until that is known.
        turns: the session so far; ``extra["by"]`` of a command turn names who typed it.
        again: number of turns at its beginning that were typed again.
        retyped: number of commands that are typed into the world that is opened.
        differences: turns that this world did not answer as recorded.
        remark: a difference between this world's userland and the recorded one.
        unfinished: the shell waited for more of the last command, so that it was interrupted.
        running: the command that runs, or another activity in words.
        typist: the model whose turn it is; empty while it is being loaded.
        phase: what the model is at.
        writing: what it has written of its command so far.
        since: when this state and phase began, by :func:`time.monotonic`.
        paused: the model waits until it is let go on.
        paused_at: when that began, as ``since``. What follows the pause is timed without it.
        problem: why the last request failed; it had no effect.
        finished: the session with its verdict, once it is over.
        against: where the checker failed: the difference to the state that the reference leaves.
        kept: the saved session, once there is one.
        certificate: of the judged session's row, with its number of tokens; None = there is none,
            and ``uncertified`` says why, or nobody asked.
        recorded: the file that the judged session was recorded in; empty = it was not.
        unsaved: there are new turns that are not saved.
        settled: all that follows from the verdict is known: where it is recorded, the certificate.
    """

    state: State = "opening"
    origin: Origin | None = None
    turns: tuple[Turn, ...] = ()
    again: int = 0
    retyped: int = 0
    differences: tuple[TurnDifference, ...] = ()
    remark: str = ""
    unfinished: bool = False
    running: str = ""
    typist: str = ""
    phase: Phase = ""
    writing: str = ""
    since: float = 0.0
    paused: bool = False
    paused_at: float = 0.0
    problem: str = ""
    finished: FinishedEpisode | None = None
    against: StateDifference | None = None
    kept: SavedSession | None = None
    certificate: dict[str, bool | int] | None = None
    uncertified: str = ""
    recorded: str = ""
    unsaved: bool = False
    settled: bool = False

    def waited(self, now: float) -> float:
        """The seconds of this state and phase, without those for which the model was paused."""
        resting = self.paused and self.state == "model"
        return max(0.0, (min(now, self.paused_at) if resting else now) - self.since)

    @property
    def commands(self) -> list[int]:
        """The indices of the turns that are commands."""
        return [number for number, turn in enumerate(self.turns) if turn.is_command]

    @property
    def touched(self) -> bool:
        """Whether a person typed in this session, so that it says nothing about a model alone."""
        return any(turn.is_command and turn.extra.get("by") == HAND for turn in self.turns)


class CurrentView:
    """The view of a take-over as it changes, for any thread.

    Args:
        changed: called after every change, on the thread that caused it.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.view = TakeOverView()
        self._changed = changed
        self._condition = threading.Condition()

    @property
    def origin(self) -> Origin:
        """Where it began; raises BadInput while that is not known."""
        if self.view.origin is None:
            raise BadInput("the take-over has not begun")
        return self.view.origin

    def update(self, **changes: Any) -> None:
        """Change fields of the view."""
        with self._condition:
            self._replace(changes)
        self._changed()

    def update_if(self, *states: State, **changes: Any) -> bool:
        """Change fields where the view is in one of ``states``; returns whether it was."""
        with self._condition:
            if self.view.state not in states:
                return False
            self._replace(changes)
        self._changed()
        return True

    def begin_again(self, again: int, commands: int) -> None:
        """Forget all that was seen in the world before: a fresh one is opened, and so many commands
        are typed into it; ``again`` turns are those of the recording."""
        self.update(
            state="opening",
            again=again,
            retyped=commands,
            differences=(),
            remark="",
            finished=None,
            against=None,
            kept=None,
            certificate=None,
            uncertified="",
            recorded="",
            settled=False,
        )

    def wait(self, *states: State, timeout: float | None) -> TakeOverView:
        """Wait for one of ``states``, or closed, at most ``timeout`` seconds; returns the view."""
        with self._condition:
            self._condition.wait_for(lambda: self.view.state in (*states, "closed"), timeout)
            return self.view

    def _replace(self, changes: dict[str, Any]) -> None:
        before = self.view
        if changes.get("state", "model") != "model":
            changes = {"phase": "", "writing": ""} | changes
        view = msgspec.structs.replace(before, **changes)
        if (view.state, view.phase) != (before.state, before.phase) or not before.since:
            view = msgspec.structs.replace(view, since=time.monotonic())
        if view.paused and not before.paused:
            view = msgspec.structs.replace(view, paused_at=time.monotonic())
        elif before.paused and not view.paused:
            rested = time.monotonic() - max(view.since, before.paused_at)
            view = msgspec.structs.replace(view, since=view.since + rested)
        self.view = view
        self._condition.notify_all()
