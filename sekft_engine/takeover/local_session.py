"""A session of this process, as the job in which a model types knows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.operators.subjects import Subject
from sekft_engine.records.jobs import SessionFacts
from sekft_engine.takeover.keep import HAND
from sekft_engine.takeover.pace import Pace
from sekft_engine.takeover.view import CurrentView
from sekft_engine.work.board import Phase

#: The sessions of this process that were begun and not yet left, by id: the engine's thread gets
#: the id with the job.
_begun: dict[str, LocalSession] = {}


class LocalSession:
    """The model's side of a take-over, and the account of the models that typed. Its methods are
    called while a model types: on the engine's thread, or on that of a relay.

    Args:
        takeover: the id of the take-over.
        current: its view.
        pace: the brake on the model.
        type_turn: types a command turn into the world; returns the environment turn, None at the
            end of the session.
    """

    def __init__(
        self,
        takeover: str,
        current: CurrentView,
        pace: Pace,
        type_turn: Callable[[CommandTurn], str | None],
    ) -> None:
        self.id = takeover
        self.pace = pace
        self._current = current
        self._type_turn = type_turn
        self._models: dict[str, dict[str, str]] = {}

    def begin(self) -> None:
        """Let jobs find it."""
        _begun[self.id] = self

    def leave(self) -> None:
        """Let no job find it any more."""
        _begun.pop(self.id, None)

    @property
    def models(self) -> Mapping[str, Mapping[str, str]]:
        """The models that typed, by name, with the digests of adapter and base."""
        return self._models

    # --- what the job asks and says -------------------------------------------------------------

    @property
    def facts(self) -> SessionFacts:
        """What a model needs to know of it."""
        origin = self._current.origin
        return SessionFacts(
            scenario=origin.scenario.id,
            dialect=origin.dialect,
            temperature=origin.temperature,
            turn_tokens=origin.turn_tokens,
        )

    @property
    def turns(self) -> Sequence[Turn]:
        """The session so far."""
        return self._current.view.turns

    def wait_while_paused(self, cancelled: Callable[[], bool]) -> bool:
        """Wait while the model is paused; False where its job was asked to stop meanwhile."""
        return self.pace.wait(cancelled)

    def turn_done(self) -> None:
        """Note that a turn was typed, and its command has run."""
        self.pace.turn_done()

    def model_waits(self, name: str, phase: Phase) -> None:
        """Note that it is the turn of the model called ``name``, and what it is at."""
        self._current.update(running="", writing="", typist=name, phase=phase)

    def model_writes(self, text: str) -> None:
        """Show what the model has written of its command so far."""
        if text and text != self._current.view.writing:
            self._current.update(writing=text, phase="types")

    def model_types(self, subject: Subject, base_digest: str, turn: CommandTurn) -> str | None:
        """Type a command turn of ``subject``.

        Args:
            subject: the model.
            base_digest: of the base that it runs on.
            turn: its command turn.

        Returns:
            The environment turn that answers it; None at the end of the session.
        """
        name = f"{subject.name} (adapter)" if subject.name == HAND else subject.name
        self._models[name] = {"adapter": subject.digest, "base": base_digest}
        self._current.update(running=turn.text.strip(), writing="", phase="runs")
        return self._type_turn(msgspec.structs.replace(turn, by=name))


def find_session(takeover: str) -> LocalSession:
    """The session of the take-over of this process with the id ``takeover``.

    Raises:
        BadInput: there is none.
    """
    found = _begun.get(takeover)
    if found is None:
        raise BadInput("there is no such take-over in this process", where=takeover)
    return found
