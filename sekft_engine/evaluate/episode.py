"""One episode: one operator in one world, from login to verdict.

Whatever goes wrong in one episode is the episode's: it becomes invalid, with the error in its name,
and the eval goes on.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import msgspec

from sekft_engine.errors import SekftError, Unavailable
from sekft_engine.evaluate.clean import TOO_LONG, why_prose
from sekft_engine.evaluate.command_turn import cut, excess, well_formed
from sekft_engine.evaluate.state import FINAL_STATE, Changes, as_meta, changes
from sekft_engine.evaluate.verdict import Verdict, judge
from sekft_engine.scenario import Scenario
from sekft_engine.trajectory import Outcome, Trajectory, Turn
from sekft_engine.visible import visible
from sekft_engine.worlds import CommandResult, World

#: What a world notes when a session has used up its time.
_TIME_IS_UP = "session time is up"
#: The status of a command turn that is over a bound, as that of a line that is too long.
_REFUSED = 2
#: Most characters of an error in ``invalid``, of its trace, and of an excess.
_ERROR, _TRACE, _EXCESS = 600, 4000, 100


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator said in one command turn.

    ``cut``: it reached the limit of tokens without closing the turn. ``exhausted``: there was no
    room left to say anything, so nothing is typed. ``broken``: why the operator could not be heard
    (its server is gone); that is no failure of the model, so the episode does not count. ``by``
    names who said it, where several operators share a session.

    Its text is bounded as soon as it is made, see :mod:`sekft_engine.evaluate.command_turn`:
    ``too_long`` says by how much it was over a bound ('' = it was not), and ``text`` is cut then.
    """

    text: str
    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    cut: bool = False
    exhausted: bool = False
    broken: str = ""
    by: str = ""
    too_long: str = ""

    def __post_init__(self) -> None:
        # A record of somebody else's may say anything here.
        too_long = well_formed(self.too_long[:_EXCESS]) or excess(self.text)
        text = cut(self.text) if too_long else self.text
        msgspec.structs.force_setattr(self, "too_long", too_long)
        msgspec.structs.force_setattr(self, "text", well_formed(text))


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """An episode with its verdict, as stored."""

    trajectory: Trajectory
    verdict: Verdict
    seconds: float


class Episode:
    """A session in a world. Its methods may run on any thread, one at a time.

    Args:
        draw: which of several episodes of this subject in this world it is.
        open_world: makes the world; called by :meth:`open`.
        about: more facts for the trajectory's ``meta``.
    """

    def __init__(
        self,
        scenario: Scenario,
        subject: str,
        *,
        step_cap: int,
        open_world: Callable[[Scenario], World],
        draw: int = 0,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.scenario = scenario
        self.subject = subject
        self.draw = draw
        self.trial = trial_name(scenario.id, draw)
        self.key = episode_key(subject, self.trial)
        self.turns: list[Turn] = []
        self.steps = 0  # commands; a blank line is a turn but no command
        self._step_cap = step_cap
        self._open_world = open_world
        self._about = about or {}
        self._world: World | None = None
        self._began = time.monotonic()
        self._outcome: Outcome | None = None
        self._limit = ""
        self._invalid = self._trace = ""
        self._last = CommandResult(command="")
        self._prose: list[dict[str, Any]] = []
        self._cuts: list[int] = []
        self._notes: list[dict[str, Any]] = []
        self._typed_s = 0.0
        self._changes: Changes | None = None
        self._known = _programs(scenario)

    @property
    def over(self) -> bool:
        return self._outcome is not None

    @property
    def invalid(self) -> str:
        """Why it does not count, '' = it does."""
        return self._invalid

    def open(self) -> str | None:
        """Make the world; returns the first environment turn, None where the episode is invalid.

        Raises:
            Unavailable: this machine has no sandbox, for this episode or any other.
        """
        self._began = time.monotonic()
        try:
            self._world = self._open_world(self.scenario)
            return self._show(self._world.login)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - it costs this episode, not the run
            self.fail(error)
            return None

    def type(self, said: Said) -> str | None:
        """Type a command turn; returns the environment's answer, None when the episode is over."""
        if self._world is None or self.over:
            raise RuntimeError(f"episode {self.key} is not open")
        if said.broken:
            self._break(said.broken)
            return None
        if said.exhausted:
            self._cap("context")
            return None
        try:
            return self._typed(self._world, said)
        except Exception as error:  # noqa: BLE001 - it costs this episode, not the run
            self.fail(error)
            return None

    def _typed(self, world: World, said: Said) -> str | None:
        command = said.text.strip()
        number, at = len(self.turns), self._elapsed()
        try:
            result = self._refused(command, said) if said.too_long else world.run(command)
        except Exception:
            self._add_command(command, said, at, None)
            raise
        self._last = result
        self._typed_s += result.seconds
        self._add_command(command, said, at, result.status)
        if result.notes:
            self._notes.append({"turn": number, "notes": list(result.notes)})
        if result.ended == "died":
            # A session that used up its time was stopped by a limit; else it killed its shell.
            if _TIME_IS_UP in result.notes:
                self._cap("time")
                return None
            self._outcome = "error"
            return None
        if result.ended:
            self._outcome = result.ended
            return None
        answer = self._show(world.environment_turn(result))
        if sum(turn.is_command for turn in self.turns) >= self._step_cap:
            self._cap("commands")
            return None
        return answer

    def _refused(self, command: str, said: Said) -> CommandResult:
        """What comes of a turn that is over a bound: nothing is typed, as no terminal took it."""
        return CommandResult(
            command=command,
            output=f"sh: input too long: {said.too_long}\n",
            status=_REFUSED,
            cwd=self._last.cwd,
            notes=("input too long",),
        )

    def _show(self, text: str) -> str:
        """Add an environment turn."""
        shown = well_formed(text)
        self.turns.append(Turn(role="user", content=shown, t=self._elapsed()))
        return shown

    def interrupt(self) -> None:
        """End the command that runs now; may be called from any thread."""
        if self._world is not None:
            self._world.interrupt()

    def fail(self, error: Exception) -> None:
        """An error that is not the model's doing: the episode is over, and does not count."""
        self._break(described(error))
        if not isinstance(error, SekftError):
            self._trace = "".join(traceback.format_exception(error))[-_TRACE:]

    def stop(self, limit: str) -> None:
        """End the session where it is, as a limit of that name would."""
        if not self.over:
            self._cap(limit)

    def finish(self) -> Finished:
        """Run the checker, end the world and give the verdict."""
        checker: dict[str, Any] | None = None
        verified = False
        try:
            try:
                if self._world is not None and not self._invalid:
                    result = self._world.check()
                    verified = result.passed
                    checker = {"status": result.status, "output": well_formed(result.output)}
                    listing = self._world.listing()
                    self._changes = changes(self.scenario, listing) if listing else None
            finally:
                self.close()
        except Exception as error:  # noqa: BLE001 - it costs this episode, not the run
            self.fail(error)
        verdict = judge(
            outcome=self._outcome or "error",
            expected=self.scenario.terminal,
            steps=self.steps,
            prose_turns=len(self._prose),
            verified=verified,
            invalid=self._invalid,
        )
        seconds = round(self._elapsed(), 3)  # as it is stored
        meta = self._meta(verdict, seconds, checker)
        trajectory = Trajectory(
            id=self.key,
            turns=tuple(self.turns),
            scenario=self.scenario.id,
            archetype=self.scenario.archetype,
            provider=self.scenario.provider.name,
            announcement=self.scenario.announcement.channel,
            steps=self.steps,
            outcome=verdict.outcome,
            verified=verdict.verified,
            keep=verdict.keep,
            meta=meta,
        )
        return Finished(trajectory=trajectory, verdict=verdict, seconds=seconds)

    def close(self) -> None:
        """Leave nothing behind, whatever state the episode is in."""
        if self._world is not None:
            self._world.close()

    def _meta(
        self, verdict: Verdict, seconds: float, checker: dict[str, Any] | None
    ) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "clean": verdict.clean,
            "subject": self.subject,
            "expected": verdict.expected,
            "operates": verdict.operates,
            "terminates": verdict.terminates,
            "clean_termination": verdict.clean_termination,
            "invalid": verdict.invalid,
            "difficulty": self.scenario.difficulty,
            "doc_depth": self.scenario.doc_depth,
            # Its terminal is no part of the job.
            "commands_needed": max(0, len(self.scenario.reference_solution) - 1),
            "seconds": round(seconds, 3),
            "world_seconds": round(self._typed_s, 3),
        }
        facts = {
            "draw": self.draw,
            "limit": self._limit,
            "prose_turns": self._prose,
            "cut_turns": self._cuts,
            "world_notes": self._notes,
            "checker": checker,
            "invalid_trace": self._trace,
            FINAL_STATE: as_meta(self._changes) if self._changes is not None else None,
        }
        meta |= {name: value for name, value in facts.items() if value}
        return meta | self._about

    def _add_command(self, command: str, said: Said, at: float, status: int | None) -> None:
        number = len(self.turns)
        self.steps += bool(command)
        facts = {"cut": said.cut, "by": said.by, "too_long": said.too_long}
        self.turns.append(
            Turn(
                role="assistant",
                content=command,
                ids=said.ids,
                logprobs=said.logprobs,
                t=at,
                exit_status=status,
                extra={name: fact for name, fact in facts.items() if fact},
            )
        )
        if said.cut:
            self._cuts.append(number)
        reason = TOO_LONG if said.too_long else why_prose(command, status=status, known=self._known)
        if reason:
            self._prose.append({"turn": number, "why": reason})

    def _cap(self, limit: str) -> None:
        """A limit ends the session."""
        self._outcome, self._limit = "cap", limit

    def _break(self, why: str) -> None:
        self._outcome = "error"
        self._invalid = visible(why[:_ERROR])  # it may quote what was said

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 4)


def described(error: Exception) -> str:
    """What an error says in one line, with its type unless it is meant for a person."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an error that cannot even be told is still one
        said = ""
    kind = "" if isinstance(error, SekftError) else type(error).__name__
    return ": ".join(filter(None, (kind, said))) or type(error).__name__


def trial_name(scenario: str, draw: int) -> str:
    """What an episode is called among those of one subject: the scenario, and ``@2`` for the
    second draw in it, ``@3`` for the third."""
    return f"{scenario}@{draw + 1}" if draw else scenario


def draw_of(finished: Finished) -> int:
    """Which of several draws in its world an episode is."""
    draw = finished.trajectory.meta.get("draw", 0)
    return draw if isinstance(draw, int) else 0


def episode_key(subject: str, trial: str) -> str:
    return f"{subject}--{trial}"


def _programs(scenario: Scenario) -> frozenset[str]:
    """Names that are commands in this world beyond the usual ones."""
    provider = scenario.provider
    names = {provider.name, PurePosixPath(provider.path).name, provider.path}
    for fixture in scenario.fixtures:
        mode = fixture.mode
        if mode.isdecimal() and any(int(digit) & 1 for digit in mode[-3:]):
            names |= {PurePosixPath(fixture.path).name, fixture.path}
    return frozenset(names - {""})
