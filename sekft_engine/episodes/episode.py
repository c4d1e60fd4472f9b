"""One episode: one operator in one world, from login to verdict.

An error in one episode costs only that episode: it becomes invalid, its record says why, and the
eval continues.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.core.text import visible
from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Outcome, Trajectory, Turn
from sekft_engine.episodes.clean import TOO_LONG, known_programs, why_prose
from sekft_engine.episodes.command_turn import CommandTurn, well_formed
from sekft_engine.episodes.known_command import knew
from sekft_engine.episodes.state import FINAL_STATE, Changes, as_meta, changes
from sekft_engine.episodes.verdict import Verdict, judge
from sekft_engine.worlds import CommandResult, World
from sekft_engine.worlds.shell.world import UNFINISHED

#: The note of a world whose session has used up its time.
_TIME_IS_UP = "session time is up"
#: The exit status of a command turn that is over a bound, as of a line that is too long.
_REFUSED = 2
#: Most characters that are stored of an error, and of its traceback.
_ERROR, _TRACE = 600, 4000
#: Fields of a bundle that an episode keeps, and most characters of each.
_LABELS, _LABEL = ("split", "obstacle"), 40


class FinishedEpisode(msgspec.Struct, frozen=True, kw_only=True):
    """An episode that has ended, as it is stored: the trajectory, its verdict, and its seconds."""

    trajectory: Trajectory
    verdict: Verdict
    seconds: float


class Episode:
    """A session in a world: every session is typed and judged here, whoever types it.

    Evals, take-overs and reference solutions use it. :meth:`open`, then :meth:`type` until it is
    :attr:`over`, then :meth:`finish`. Methods may run on any thread, one at a time.

    Args:
        scenario: the bundle that the world is made from.
        subject: the name of whoever types.
        step_cap: most command turns; with the last of them the session ends.
        open_world: makes the world; called by :meth:`open`.
        draw: the number of this episode among those of the subject in this world, from 0.
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
        self._error: Exception | None = None
        self._last = CommandResult(command="")
        self._prose: list[dict[str, Any]] = []
        self._known_commands = 0
        self._cuts: list[int] = []
        self._notes: list[dict[str, Any]] = []
        self._typed_s = 0.0
        self._changes: Changes | None = None
        self._known = known_programs(scenario)

    @property
    def over(self) -> bool:
        return self._outcome is not None

    @property
    def invalid(self) -> str:
        """Why the episode does not count; empty where it counts."""
        return self._invalid

    @property
    def error(self) -> Exception | None:
        """The exception that made the episode invalid; None where there was none."""
        return self._error

    @property
    def last_result(self) -> CommandResult:
        """The result of the last command turn."""
        return self._last

    def open(self) -> str | None:
        """Make the world.

        Returns:
            The first environment turn; None where the episode is invalid.

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

    def type(self, typed: CommandTurn) -> str | None:
        """Type a command turn.

        Returns:
            The environment turn that answers it; None when the episode is over.
        """
        if self._world is None or self.over:
            raise RuntimeError(f"episode {self.key} is not open")
        if typed.broken:
            self._break(typed.broken)
            return None
        if typed.exhausted:
            self._cap("context")
            return None
        try:
            return self._run(self._world, typed)
        except Exception as error:  # noqa: BLE001 - it costs this episode, not the run
            self.fail(error)
            return None

    def _run(self, world: World, typed: CommandTurn) -> str | None:
        command = typed.text.strip()
        number, at = len(self.turns), self._elapsed()
        try:
            result = self._refused(command, typed) if typed.too_long else world.run(command)
        except Exception:
            self._add_command(command, typed, at, None)
            raise
        self._last = result
        self._typed_s += result.seconds
        self._add_command(command, typed, at, result.status, result.output)
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

    @property
    def unfinished(self) -> bool:
        """Whether the shell waited for the rest of the last command, and was interrupted."""
        return UNFINISHED in self._last.notes

    def _refused(self, command: str, typed: CommandTurn) -> CommandResult:
        """The result of a turn that is over a bound: nothing is typed."""
        return CommandResult(
            command=command,
            output=f"sh: input too long: {typed.too_long}\n",
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
        """Interrupt the command that runs now; may be called from any thread."""
        if self._world is not None:
            self._world.interrupt()

    def fail(self, error: Exception) -> None:
        """End the episode with an error that is not the operator's: it does not count."""
        self._error = error
        self._break(described(error))
        if not isinstance(error, SekftError):
            self._trace = "".join(traceback.format_exception(error))[-_TRACE:]

    def stop(self, limit: str) -> None:
        """End the session here, as the limit called ``limit`` would."""
        if not self.over:
            self._cap(limit)

    def finish(self) -> FinishedEpisode:
        """Run the checker, close the world and give the verdict."""
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
            known_commands=self._known_commands,
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
        return FinishedEpisode(trajectory=trajectory, verdict=verdict, seconds=seconds)

    def close(self) -> None:
        """Close the world, whatever state the episode is in; may be called again."""
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
            "known_commands": self._known_commands,
            "terminates": verdict.terminates,
            "clean_termination": verdict.clean_termination,
            "invalid": verdict.invalid,
            "difficulty": self.scenario.difficulty,
            "doc_depth": self.scenario.doc_depth,
            # The terminal is not part of the work.
            "commands_needed": max(0, len(self.scenario.reference_solution) - 1),
            "seconds": seconds,
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
            # What the factory says of its worlds, by which results are broken down.
            **{name: str(self.scenario.extra.get(name, ""))[:_LABEL] for name in _LABELS},
        }
        meta |= {name: value for name, value in facts.items() if value}
        return meta | self._about

    def _add_command(
        self, command: str, typed: CommandTurn, at: float, status: int | None, output: str = ""
    ) -> None:
        number = len(self.turns)
        self.steps += bool(command)
        facts = {"cut": typed.cut, "by": typed.by, "too_long": typed.too_long}
        self.turns.append(
            Turn(
                role="assistant",
                content=command,
                ids=typed.ids,
                logprobs=typed.logprobs,
                t=at,
                exit_status=status,
                extra={name: fact for name, fact in facts.items() if fact},
            )
        )
        if typed.cut:
            self._cuts.append(number)
        self._known_commands += knew(command, status=status, output=output, known=self._known)
        reason = (
            TOO_LONG if typed.too_long else why_prose(command, status=status, known=self._known)
        )
        if reason:
            self._prose.append({"turn": number, "why": reason})

    def _cap(self, limit: str) -> None:
        """A limit ends the session."""
        self._outcome, self._limit = "cap", limit

    def _break(self, why: str) -> None:
        self._outcome = "error"
        self._invalid = visible(why[:_ERROR])  # it may quote the operator

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 4)


def described(error: Exception) -> str:
    """An error in one line; with the name of its type unless its message is written for users."""
    try:
        message = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - a broken __str__ must not hide the error
        message = ""
    kind = "" if isinstance(error, SekftError) else type(error).__name__
    return ": ".join(filter(None, (kind, message))) or type(error).__name__


def trial_name(scenario: str, draw: int) -> str:
    """The name of an episode among those of one subject: the scenario, and ``@2`` for the second
    draw in it, ``@3`` for the third."""
    return f"{scenario}@{draw + 1}" if draw else scenario


def draw_of(finished: FinishedEpisode) -> int:
    """The number of an episode among those of its subject in its world, from 0."""
    draw = finished.trajectory.meta.get("draw", 0)
    return draw if isinstance(draw, int) else 0


def episode_key(subject: str, trial: str) -> str:
    """The name of an episode among all those of an eval."""
    return f"{subject}--{trial}"
