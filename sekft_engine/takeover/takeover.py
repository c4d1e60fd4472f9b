"""Take over a recorded session: a person types on at one of its turns.

A :class:`TakeOver` types a session's commands into a fresh world again, up to a turn, and then the
person's commands. It has a thread of its own, since a person thinks for minutes and the engine has
other jobs; while a model types, that is a job of the engine.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.command_turn import CommandTurn, excess
from sekft_engine.episodes.episode import Episode, FinishedEpisode, described
from sekft_engine.takeover.difference import against_reference, differences
from sekft_engine.takeover.draft_files import draft_path
from sekft_engine.takeover.keep import HAND, Draft, Keeper, with_provenance
from sekft_engine.takeover.local_session import LocalSession
from sekft_engine.takeover.model_turns import ModelTurns, Server
from sekft_engine.takeover.origin import Origin, upto
from sekft_engine.takeover.pace import Pace
from sekft_engine.takeover.view import CurrentView, EngineClient, State, TakeOverView
from sekft_engine.worlds import World, WorldBroken, open_world

#: The subject of a taken-over session, where evals have a base or an adapter.
SUBJECT = "takeover"
#: Most commands in one session: more than in an eval, since a person may have to tidy up first.
STEP_CAP = 40


class TakeOver:
    """A session that a person takes over, in one world at a time.

    Methods return at once and may be called from any thread. A request that is not possible at the
    moment has no effect, and the view's ``problem`` says why.

    Args:
        find: gives the origin; called on the take-over's thread.
        keeper: certifies and saves sessions.
        engine: runs the jobs in which models type; None = only the person types.
        base: the base that types.
        load_4bit: hold the base in 4 bits; None = as the adapter was trained.
        device: where the base computes, as in a job.
        changed: called after every change, on the thread that caused it; must be quick.
        step_cap: most commands of the session.
        sandbox, userland: others than those of the recorded session; empty = the same.
        drafts: the folder for the session's draft; None = no draft is written.
        server: holds the model that types; None = the base and its adapters do.
        record: takes each judged session; returns where it was recorded.
        subject: who is expected to type; the subject of what is recorded.
        about: more facts for the session's ``meta``.
    """

    def __init__(
        self,
        find: Callable[[], Origin],
        *,
        keeper: Keeper,
        engine: EngineClient | None = None,
        base: str = "",
        load_4bit: bool | None = None,
        device: str = "auto",
        changed: Callable[[], None] = lambda: None,
        step_cap: int = STEP_CAP,
        sandbox: str = "",
        userland: str = "",
        drafts: Path | None = None,
        server: Server | None = None,
        record: Callable[[FinishedEpisode], str] | None = None,
        subject: str = SUBJECT,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.id = secrets.token_hex(4)
        self._find = find
        self._keeper = keeper
        self._step_cap = step_cap
        self._sandbox, self._userland = sandbox, userland
        self._current = CurrentView(changed)
        self._record, self._subject, self._about = record, subject, dict(about or {})
        #: The brake on a model.
        self.pace = Pace(lambda paused: self._current.update(paused=paused))
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._episode: Episode | None = None
        self._closing = self._discard = False
        self._draft = Draft(draft_path(drafts, self.id) if drafts is not None else None)
        self._session = LocalSession(self.id, self._current, self.pace, self._type_for_model)
        self._models = ModelTurns(
            self._session,
            engine,
            base,
            load_4bit=load_4bit,
            device=device,
            server=server,
            done=lambda problem: self._work.put(lambda: self._model_is_done(problem)),
        )
        self._thread = threading.Thread(target=self._main, name="sekft-takeover", daemon=True)

    # --- requests of the person -----------------------------------------------------------------

    def start(self) -> TakeOver:
        """Start its thread, which opens the world."""
        self._session.begin()
        self._thread.start()
        return self

    @property
    def view(self) -> TakeOverView:
        """The present state."""
        return self._current.view

    @property
    def origin(self) -> Origin:
        """Where it began; raises BadInput while that is not known."""
        return self._current.origin

    def type(self, command: str) -> bool:
        """Type a command turn.

        Returns:
            False where it is not the person's turn, or the command is blank or too long.
        """
        if not command.strip():
            return False
        if too_long := excess(command):
            self._current.update_if(
                "ready", problem=f"not typed, because it is too long: {too_long}"
            )
            return False
        if not self._current.update_if(
            "ready", state="running", running=command.strip(), problem=""
        ):
            return False
        self._work.put(lambda: self._type(CommandTurn(text=command, by=HAND)))
        return True

    def interrupt(self) -> bool:
        """Interrupt the command that runs; False where none does."""
        episode = self._episode
        if episode is None or self.view.state not in ("running", "model"):
            return False
        episode.interrupt()
        return True

    def hand_back(self, adapter: str | None = None, *, turns: int = 0) -> bool:
        """Let a model type.

        Args:
            adapter: its folder; empty = the bare base; None = the subject of the recorded session.
            turns: number of turns; 0 = until the session ends.

        Returns:
            False where it is not the person's turn, or the model is not there.
        """
        if not self._models.possible:
            self._current.update(problem="there is no base that could type; name one with --base")
            return False
        if adapter is None:
            if self.view.origin is not None and self.view.origin.missing:
                self._current.update(problem=f"{self.view.origin.missing}; choose another model")
                return False
            adapter = self.origin.adapter
        if not self._current.update_if(
            "ready", state="model", phase="loads", running="", typist="", problem=""
        ):
            return False
        self.pace.resume()
        self._models.request(adapter, turns)
        return True

    def take_back(self) -> bool:
        """Let the person type after the model's present command; False where no model types."""
        return self.view.state == "model" and self._models.cancel()

    def rewind(self, turn: int) -> bool:
        """Make the world as it was before turn ``turn``; False where that is not possible now."""
        turns = upto(self.view.turns, turn)
        if not self._current.update_if(
            "ready", "over", "failed", state="opening", problem="", running="", retyped=0
        ):
            return False
        self._work.put(lambda: self._fork(turns, min(self.view.again, len(turns))))
        return True

    def finish(self) -> bool:
        """End the session here, as a limit would, and judge it; False where it cannot end now."""
        if not self._current.update_if("ready", state="judging", problem=""):
            return False
        self._work.put(self._stop)
        return True

    def keep(self, folder: Path) -> bool:
        """Certify the judged session and save it to ``folder``.

        The view then has ``kept`` or a ``problem``.

        Returns:
            False where the session is not over.
        """
        if not self._current.update_if("over", state="judging", problem="", running="certifying"):
            return False
        self._work.put(lambda: self._save(folder))
        return True

    def close(self, *, discard: bool = False) -> None:
        """Leave: stop everything and close the world; see :meth:`join` to wait for that.

        Args:
            discard: delete the draft; else an unsaved session remains in it.
        """
        self._discard = self._discard or discard
        self.take_back()
        self.interrupt()
        self._work.put(self._close)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until it is closed; False where ``timeout`` seconds were not enough."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def wait(self, *states: State, timeout: float | None = None) -> TakeOverView:
        """Wait for one of ``states``, or closed, at most ``timeout`` seconds; returns the view."""
        return self._current.wait(*states, timeout=timeout)

    # --- on the take-over's thread --------------------------------------------------------------

    def _main(self) -> None:
        self._guarded(self._begin)
        while self.view.state != "closed":
            self._guarded(self._work.get())

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # noqa: BLE001 - shown to the person; the take-over continues
            self._fail(described(error))

    def _fail(self, problem: str) -> None:
        """Report that a request failed; the session, if there is one, stays as it is."""
        judged = self.view.finished is not None
        usable = self._episode is not None and not self._episode.over
        self._current.update(
            state="over" if judged else "ready" if usable else "failed", problem=problem
        )

    def _begin(self) -> None:
        origin = self._find()
        self._current.update(origin=origin)
        if origin.draft:
            self._draft = Draft(Path(origin.draft))
        recorded = origin.recorded
        self._fork(recorded, len(recorded))

    def _fork(self, recorded: Sequence[Turn], again: int) -> None:
        """Open a fresh world and type the commands of ``recorded`` into it."""
        origin = self.origin
        if self._episode is not None:
            self._episode.close()
            self._episode = None
        self._current.begin_again(again, sum(turn.is_command for turn in recorded))
        episode = Episode(
            origin.scenario,
            self._subject,
            step_cap=self._step_cap,
            open_world=self._open_world,
            about=self._about,
        )
        if episode.open() is None:
            episode.close()
            raise WorldBroken(episode.invalid)
        self._episode = episode
        for turn in recorded:
            if turn.is_command and not episode.over:
                episode.type(CommandTurn.again(turn))
        self._current.update(differences=differences(recorded, episode.turns))
        self._update_turns()
        self._await_person()

    def _open_world(self, scenario: Scenario) -> World:
        origin = self.origin
        world = open_world(
            scenario,
            sandbox=self._sandbox or origin.sandbox,
            userland=self._userland or origin.userland,
            dialect=origin.dialect,
        )
        recorded, here = str(origin.about.get("userland") or ""), world.userland.label
        if recorded not in ("", here):
            self._current.update(
                remark=f"recorded with the programs of {recorded}; these are {here}"
            )
        return world

    def _type(self, turn: CommandTurn) -> None:
        self._write_draft(turn.text)  # so that a kill in the middle of it loses no line
        self._live.type(turn)
        self._update_turns()
        self._await_person()

    def _await_person(self) -> None:
        """Give the person the turn, or judge the session where it is over."""
        if not self._live.over:
            self._current.update(state="ready", running="")
            return
        self._current.update(state="judging", running="the checker")
        finished = self._live.finish()
        finished = with_provenance(finished, self.origin, self.view.again, self._session.models)
        self._current.update(state="over", running="", finished=finished)
        if self._record is not None:
            self._current.update(recorded=self._record(finished), **self._keeper.examine(finished))
        self._current.update(settled=True)
        if not finished.verdict.verified and not finished.verdict.invalid:
            found = against_reference(self.origin.scenario, finished, self._open_world)
            self._current.update(against=found)

    def _stop(self) -> None:
        self._live.stop(HAND)
        self._await_person()

    def _save(self, folder: Path) -> None:
        if self.view.finished is None:
            return
        saved = self._keeper.keep(self.view.finished, folder)
        self._draft.remove()
        self._current.update(state="over", running="", kept=saved, unsaved=False)

    def _close(self) -> None:
        if self.view.state == "model":  # the engine's thread may be in the world
            self._closing = True
            return
        self._models.close()
        problem = self.view.problem
        try:
            if self._episode is not None:
                self._episode.close()
            if self._discard:
                self._draft.remove()
        except Exception as error:  # noqa: BLE001 - leaving goes on all the same
            problem = described(error)
        self._session.leave()
        self._current.update(state="closed", running="", problem=problem)

    # --- while a model types --------------------------------------------------------------------

    def _type_for_model(self, turn: CommandTurn) -> str | None:
        """Type a model's command turn; called on the thread of its job."""
        answer = self._live.type(turn)
        self._current.update(running="")
        self._update_turns()
        return answer

    def _model_is_done(self, problem: str) -> None:
        self._current.update(state="judging", running="", problem=problem)
        if self._closing:
            self._close()
        else:
            self._await_person()

    # --- the view -------------------------------------------------------------------------------

    @property
    def _live(self) -> Episode:
        if self._episode is None:
            raise BadInput("there is no world")
        return self._episode

    def _update_turns(self) -> None:
        """Show new turns, and write those of the person or a model to the draft."""
        turns, again = tuple(self._live.turns), self.view.again
        new = 0 if self.origin.draft else again
        self._current.update(
            turns=turns,
            unsaved=any(turn.is_command for turn in turns[new:]),
            unfinished=self._live.unfinished,
        )
        if self.view.unsaved:
            self._write_draft()

    def _write_draft(self, running: str = "") -> None:
        """Write the session so far to the draft, with the command that is about to run."""
        try:
            self._draft.write(self.origin, self._live.turns, self.view.again, running)
        except SekftError as error:  # the session continues without a draft
            self._current.update(problem=f"no draft of it could be written: {error}")
