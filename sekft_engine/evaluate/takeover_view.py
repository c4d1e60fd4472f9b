"""What one sees of a take-over, and what it sees of the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from sekft_engine.evaluate.episode import Finished
from sekft_engine.evaluate.reference import StateDifference
from sekft_engine.evaluate.takeover_difference import Difference
from sekft_engine.evaluate.takeover_keep import Kept
from sekft_engine.evaluate.takeover_origin import Origin
from sekft_engine.events import Event
from sekft_engine.jobs import Job
from sekft_engine.trajectory import Turn

#: opening: the world is made and typed into again. ready: the person may type. running: what they
#: typed runs. model: a model types. judging: the checker runs, or the certificate is made. over: it
#: is judged. failed: there is no world; ``problem`` says why. closed: left.
State = Literal["opening", "ready", "running", "model", "judging", "over", "failed", "closed"]


class Asks(Protocol):
    """What a take-over needs of the engine."""

    def submit(self, job: Job) -> str: ...
    def cancel(self, job_id: str = "", *, after_step: bool = False) -> bool: ...
    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]: ...


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A take-over at one moment.

    Attributes:
        turns: the session so far; command turns say in ``extra["by"]`` who typed them.
        again: how many turns at its beginning were played again.
        differences: turns that the world of the last fork did not answer as before.
        running: the command that runs, or what else is being done.
        typist: the model whose turn it is; empty while it is being made ready.
        problem: what went wrong last; what was asked for has not happened.
        against: where the checker failed: what was left against what the reference leaves.
        kept: where the session is kept, once it is.
        unsaved: there is something that nobody has kept.
    """

    state: State = "opening"
    origin: Origin | None = None
    turns: tuple[Turn, ...] = ()
    again: int = 0
    differences: tuple[Difference, ...] = ()
    remark: str = ""
    running: str = ""
    typist: str = ""
    problem: str = ""
    finished: Finished | None = None
    against: StateDifference | None = None
    kept: Kept | None = None
    unsaved: bool = False
