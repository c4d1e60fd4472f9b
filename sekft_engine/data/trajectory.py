"""Trajectory, Turn, Outcome: what a recorded session is."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

Role = Literal["system", "user", "assistant"]
Outcome = Literal["exit", "panic", "cap", "error"]
#: How a session can end, in the order of tables.
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn: an environment turn (``user``, ``system``) or a command turn (``assistant``).

    ``ids`` and ``logprobs`` hold the tokens as sampled, ``t`` seconds from the session's start,
    ``exit_status`` that of the command this turn typed. A command that is not to ``train`` is
    context for the others: a mistake, say, whose error is wanted. ``extra`` keeps unknown fields.
    """

    role: Role
    content: str
    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    t: float | None = None
    exit_status: int | None = None
    train: bool = True
    extra: dict[str, Any] = {}

    @property
    def is_command(self) -> bool:
        return self.role == "assistant"

    @classmethod
    def from_json(cls, raw: object, where: str) -> Turn:
        """Read one turn, raising an error that names ``where``."""
        from sekft_engine.data import reading

        return reading.turn_of(raw, where, 0, {})

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"role": self.role, "content": self.content}
        for name in ("ids", "logprobs", "t", "exit_status"):
            value = getattr(self, name)
            if value is not None:
                out[name] = list(value) if isinstance(value, tuple) else value
        if not self.train:
            out["train"] = False
        return {**out, **self.extra, **out}


class Trajectory(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded session. ``keep`` = right terminal and verified and command-only.

    ``notes`` name what was read in another form than it stood there, or is not used; they are not
    part of what is written (:data:`sekft_engine.data.read_report.NOTES`).
    """

    id: str
    turns: tuple[Turn, ...]
    scenario: str = ""
    archetype: str = ""
    provider: str = ""
    announcement: str = ""
    steps: int = 0
    outcome: Outcome = "error"
    verified: bool = False
    keep: bool = False
    meta: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Command-only; a missing ``meta.clean`` counts as false."""
        return bool(self.meta.get("clean"))

    @property
    def commands(self) -> tuple[str, ...]:
        return tuple(turn.content for turn in self.turns if turn.is_command)

    @classmethod
    def from_json(cls, raw: object, where: str) -> Trajectory:
        """Read one trajectory, raising an error that names ``where``."""
        from sekft_engine.data import reading

        return reading.trajectory_of(raw, where)

    def to_json(self) -> dict[str, Any]:
        """The strict form that sekft writes; unknown fields are kept."""
        out: dict[str, Any] = {
            "id": self.id,
            "scenario": self.scenario,
            "archetype": self.archetype,
            "provider": self.provider,
            "announcement": self.announcement,
            "turns": [turn.to_json() for turn in self.turns],
            "steps": self.steps,
            "outcome": self.outcome,
            "verified": self.verified,
            "keep": self.keep,
            "meta": self.meta,
        }
        return {**out, **self.extra, **out}
