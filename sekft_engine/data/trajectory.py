"""Trajectory, Turn, Outcome: what a recorded session is."""

from __future__ import annotations

from typing import Any, Literal, get_args

import msgspec

from sekft_engine.core.documents import convert
from sekft_engine.core.errors import BadInput

Role = Literal["system", "user", "assistant"]
Outcome = Literal["exit", "panic", "cap", "error"]
#: How a session can end, in the order of tables.
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

#: Names under which a reader accepts the list of turns.
TURN_KEYS = ("turns", "messages", "conversations")
#: Names under which a reader accepts a turn's role and content.
ROLE_KEYS = ("role", "from")
CONTENT_KEYS = ("content", "value")
#: Other names for the roles, as common data sets write them.
ROLE_ALIASES = {"human": "user", "gpt": "assistant"}

_MEND = "compare it with docs/formats.md"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn: an environment turn (``user``, ``system``) or a command turn (``assistant``).

    ``ids`` and ``logprobs`` hold the tokens as sampled, ``t`` seconds from the session's start,
    ``exit_status`` that of the command this turn typed. ``extra`` keeps unknown fields.
    """

    role: Role
    content: str
    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    t: float | None = None
    exit_status: int | None = None
    extra: dict[str, Any] = {}

    @property
    def is_command(self) -> bool:
        return self.role == "assistant"

    @classmethod
    def from_json(cls, raw: object, where: str) -> Turn:
        """Read one turn, raising :class:`BadInput` that names ``where``."""
        if not isinstance(raw, dict):
            raise BadInput(
                "a turn must be an object with role and content", where=where, mend=_MEND
            )
        known = dict(raw)
        role = _take(known, ROLE_KEYS)
        content = _take(known, CONTENT_KEYS)
        role = ROLE_ALIASES.get(role, role) if isinstance(role, str) else role
        if role not in get_args(Role):
            raise BadInput(
                f"unknown role {role!r}", where=where, mend="use system, user or assistant"
            )
        if not isinstance(content, str):
            raise BadInput("a turn's content must be a string", where=where, mend=_MEND)
        fields: dict[str, Any] = {"role": role, "content": content}
        for name in ("ids", "logprobs", "t", "exit_status"):
            if name in known:
                fields[name] = known.pop(name)
        return convert(fields | {"extra": known}, cls, what="broken turn", where=where, mend=_MEND)

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"role": self.role, "content": self.content}
        for name in ("ids", "logprobs", "t", "exit_status"):
            value = getattr(self, name)
            if value is not None:
                out[name] = list(value) if isinstance(value, tuple) else value
        return {**out, **self.extra, **out}


class Trajectory(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded session. ``keep`` = right terminal and verified and command-only."""

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

    @property
    def clean(self) -> bool:
        """Command-only; a missing ``meta.clean`` counts as false."""
        return bool(self.meta.get("clean"))

    @property
    def commands(self) -> tuple[str, ...]:
        return tuple(turn.content for turn in self.turns if turn.is_command)

    @classmethod
    def from_json(cls, raw: object, where: str) -> Trajectory:
        """Read one trajectory, raising :class:`BadInput` that names ``where``."""
        if not isinstance(raw, dict):
            raise BadInput("a trajectory must be a JSON object", where=where, mend=_MEND)
        known = dict(raw)
        turns = _take(known, TURN_KEYS)
        if not isinstance(turns, list):
            raise BadInput(
                "no list of turns", where=where, mend="name it turns, messages or conversations"
            )
        if not turns:
            raise BadInput("empty session", where=where, mend="remove it or record it again")
        parsed = tuple(
            Turn.from_json(turn, f"{where}: turn {number}") for number, turn in enumerate(turns)
        )
        fields: dict[str, Any] = {
            name: known.pop(name)
            for name in cls.__struct_fields__
            if name in known and name not in ("turns", "extra")
        }
        for name in ("scenario", "archetype", "provider", "announcement"):
            # The sister package may store the whole object; its name is what a trajectory needs.
            value = fields.get(name)
            if isinstance(value, dict):
                known[name] = value
                fields[name] = label(value)
            elif value is None:
                fields.pop(name, None)
        fields.setdefault("id", where)
        fields.setdefault("steps", sum(turn.is_command for turn in parsed))
        if fields.get("meta") is None:
            fields.pop("meta", None)
        read = convert(
            fields | {"turns": ()}, cls, what="broken trajectory", where=where, mend=_MEND
        )
        return msgspec.structs.replace(read, turns=parsed, extra=known)

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


def label(value: str | dict[str, Any] | None) -> str:
    """The name of a scenario, archetype, provider or announcement that may be stored whole."""
    if isinstance(value, dict):
        return str(value.get("name") or value.get("id") or value.get("channel") or "")
    return value or ""


def _take(raw: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Remove and return the first of ``names`` that ``raw`` holds, else None."""
    for name in names:
        if name in raw:
            return raw.pop(name)
    return None
