"""A session as the job in which a model types knows it: in this process, or in another one.

A session of another process tells the job its turns as messages, and whether the model may go on.
It is told each command by an event, and unfinished ones on the engine's board.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from sekft_engine.core.errors import BadInput, JobFailed
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.operators.subjects import Subject
from sekft_engine.records import events
from sekft_engine.records.jobs import HandBack, SessionFacts
from sekft_engine.work.board import Phase, Writing
from sekft_engine.work.context import Context

#: How often the other process says that it is there, and after how much silence it counts as gone,
#: in seconds.
HERE_S, SILENT_S = 2.0, 20.0
#: How often a model that waits looks whether its job was asked to stop, in seconds.
_LOOK_S = 0.2


class ModelSession(Protocol):
    """What the job needs of a session."""

    @property
    def id(self) -> str: ...
    @property
    def facts(self) -> SessionFacts:
        """Its scenario and its prompt, and how commands are chosen."""

    @property
    def turns(self) -> Sequence[Turn]:
        """The session so far."""

    def wait_while_paused(self, cancelled: Callable[[], bool]) -> bool:
        """Wait while the model is paused; False where its job was asked to stop meanwhile."""

    def turn_done(self) -> None:
        """Note that a turn was typed, and its command has run."""

    def model_waits(self, name: str, phase: Phase) -> None:
        """Note that it is the turn of the model called ``name``, and what it is at."""

    def model_writes(self, text: str) -> None:
        """Show what the model has written of its command so far."""

    def model_types(self, subject: Subject, base_digest: str, turn: CommandTurn) -> str | None:
        """Type a command turn; returns the environment turn, None at the end of the session."""


# --- what the other process says ------------------------------------------------------------------


class Said(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag="turn"):
    """A turn of the session: one of before, or the world's answer to the last command. ``ids`` are
    those of a command that a model sampled."""

    role: Literal["user", "assistant"]
    content: str
    ids: list[int] | None = None


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag="begin"):
    """The turns of before were all said."""


class Paced(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag="pace"):
    """Whether the model waits, and how many turns it may finish first."""

    paused: bool
    turns: int = 0


class Over(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag="over"):
    """The last command has ended the session."""


class Here(msgspec.Struct, frozen=True, kw_only=True, tag_field="say", tag="here"):
    """The session is still there."""


Message = Said | Begin | Paced | Over | Here
_decode = msgspec.json.Decoder(Message).decode


class DistantSession:
    """A session that lives in another process.

    Args:
        job: says which.
        context: of the job.

    Raises:
        BadInput: what is said of it makes no sense.
        JobFailed: its process is gone.
    """

    def __init__(self, job: HandBack, context: Context) -> None:
        self.id = job.takeover
        self.facts = job.session or SessionFacts()
        self.turns: list[Turn] = []
        self._job, self._context = job.id, context
        self._name = ""
        self._shown: Writing | None = None
        self._paused, self._steps = False, 0
        self._begun = self._over = False
        self._answer: str | None = None
        self._heard = time.monotonic()
        while not self._begun and not context.cancelled():
            self._listen(_LOOK_S)
        if self._begun and (not self.turns or self.turns[-1].is_command):
            raise BadInput("the session has no turn that a model could answer", where=self.id)

    def wait_while_paused(self, cancelled: Callable[[], bool]) -> bool:
        while self._listen(0.0):
            pass
        if self._paused and not self._steps and self._shown is not None:
            self._context.board.put(self._shown, whole=True)
        while self._paused and not self._steps:
            if cancelled():
                return False
            self._listen(_LOOK_S)
        return True

    def turn_done(self) -> None:
        pass  # the session itself counts the turns, and says how many the model may finish

    def model_waits(self, name: str, phase: Phase) -> None:
        self._name = name
        self._show(phase)

    def model_writes(self, text: str) -> None:
        if text:
            self._show("types", text)

    def model_types(self, subject: Subject, base_digest: str, turn: CommandTurn) -> str | None:
        self._answer = None
        self._context.emit(
            events.CommandTyped(
                job="",
                takeover=self.id,
                number=len(self.turns),
                subject=subject.name,
                adapter=subject.digest,
                base=base_digest,
                text=turn.text,
                ids=None if turn.ids is None else list(turn.ids),
                logprobs=None if turn.logprobs is None else list(turn.logprobs),
                cut=turn.cut,
            )
        )
        self.turns.append(Turn(role="assistant", content=turn.text, ids=turn.ids))
        self._show("runs", turn.text)
        while self._answer is None and not self._over and not self._context.cancelled():
            self._listen(_LOOK_S)
        return self._answer

    def _show(self, phase: Phase, text: str = "") -> None:
        self._shown = Writing(
            job=self._job,
            subject=self._name,
            scenario=self.id,
            turn=len(self.turns),
            phase=phase,
            text=text,
        )
        self._context.board.put(self._shown)

    def _listen(self, timeout: float) -> bool:
        """Take the next message; False where there is none."""
        self._context.let_guest_work()
        data = self._context.receive(timeout)
        now = time.monotonic()
        if data is None:
            if now - self._heard > SILENT_S:
                raise JobFailed("the process of this session is gone", where=self.id)
            return False
        self._heard = now
        try:
            self._take(_decode(data))
        except msgspec.ValidationError as error:
            raise BadInput(f"not a message of a session: {error}", where=self.id) from error
        return True

    def _take(self, message: Message) -> None:
        match message:
            case Said():
                ids = None if message.ids is None else tuple(message.ids)
                self.turns.append(Turn(role=message.role, content=message.content, ids=ids))
                self._answer = message.content
            case Begin():
                self._begun = True
            case Paced():
                self._paused, self._steps = message.paused, message.turns
            case Over():
                self._over = True
            case Here():
                pass
