"""One episode: one operator in one world, from login to verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import msgspec

from sekft_engine.evaluate.clean import why_prose
from sekft_engine.evaluate.state import FINAL_STATE, Changes, as_meta, changes
from sekft_engine.evaluate.verdict import Verdict, judge
from sekft_engine.scenario import Scenario
from sekft_engine.trajectory import Outcome, Trajectory, Turn
from sekft_engine.worlds import World, WorldBroken

#: What a world notes when a session has used up its time.
_TIME_IS_UP = "session time is up"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator said in one command turn.

    ``cut``: it reached the limit of tokens without closing the turn. ``exhausted``: there was no
    room left to say anything, so nothing is typed. ``broken``: why the operator could not be heard
    (its server is gone); that is no failure of the model, so the episode does not count. ``by``
    names who said it, where several operators share a session.
    """

    text: str
    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    cut: bool = False
    exhausted: bool = False
    broken: str = ""
    by: str = ""


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
        self._invalid = ""
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
        """Make the world; returns the first environment turn, None where the sandbox broke."""
        self._began = time.monotonic()
        try:
            self._world = self._open_world(self.scenario)
        except WorldBroken as error:
            self._break(error)
            return None
        login = self._world.login
        self.turns.append(Turn(role="user", content=login, t=self._elapsed()))
        return login

    def type(self, said: Said) -> str | None:
        """Type a command turn; returns the environment's answer, None when the episode is over."""
        world = self._world
        if world is None or self.over:
            raise RuntimeError(f"episode {self.key} is not open")
        if said.broken:
            self._break(said.broken)
            return None
        if said.exhausted:
            self._cap("context")
            return None
        command = said.text.strip()
        number, at = len(self.turns), self._elapsed()
        try:
            result = world.run(command)
        except WorldBroken as error:
            self._add_command(command, said, at, None)
            self._break(error)
            return None
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
        answer = world.environment_turn(result)
        self.turns.append(Turn(role="user", content=answer, t=self._elapsed()))
        if sum(turn.is_command for turn in self.turns) >= self._step_cap:
            self._cap("commands")
            return None
        return answer

    def interrupt(self) -> None:
        """End the command that runs now; may be called from any thread."""
        if self._world is not None:
            self._world.interrupt()

    def stop(self, limit: str) -> None:
        """End the session where it is, as a limit of that name would."""
        if not self.over:
            self._cap(limit)

    def finish(self) -> Finished:
        """Run the checker, end the world and give the verdict."""
        checker: dict[str, Any] | None = None
        verified = False
        try:
            if self._world is not None and not self._invalid:
                result = self._world.check()
                verified = result.passed
                checker = {"status": result.status, "output": result.output}
                listing = self._world.listing()
                self._changes = changes(self.scenario, listing) if listing else None
        except WorldBroken as error:
            self._break(error)
        finally:
            self.close()
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
            FINAL_STATE: as_meta(self._changes) if self._changes is not None else None,
        }
        meta |= {name: value for name, value in facts.items() if value}
        return meta | self._about

    def _add_command(self, command: str, said: Said, at: float, status: int | None) -> None:
        number = len(self.turns)
        reason = why_prose(command, status=status, known=self._known)
        if reason:
            self._prose.append({"turn": number, "why": reason})
        if said.cut:
            self._cuts.append(number)
        self.steps += bool(command)
        self.turns.append(
            Turn(
                role="assistant",
                content=command,
                ids=said.ids,
                logprobs=said.logprobs,
                t=at,
                exit_status=status,
                extra=({"cut": True} if said.cut else {}) | ({"by": said.by} if said.by else {}),
            )
        )

    def _cap(self, limit: str) -> None:
        """A limit ends the session."""
        self._outcome, self._limit = "cap", limit

    def _break(self, why: object) -> None:
        self._outcome = "error"
        self._invalid = str(why)

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 4)


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
        if mode.isdigit() and any(int(digit) & 1 for digit in mode[-3:]):
            names |= {PurePosixPath(fixture.path).name, fixture.path}
    return frozenset(names - {""})
