"""Read a session that is written as sekft writes it without a detour over dictionaries.

It accepts no more than the tolerant reader does, and gives the same trajectory; what it does not
accept, the tolerant reader decides.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.data.trajectory import Outcome, Role, Trajectory, Turn
from sekft_engine.sources.read.parse import count_keys, is_bracketed, text_keys


class _Turn(msgspec.Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    role: Role
    content: str
    ids: tuple[int, ...] | None = None
    logprobs: tuple[float, ...] | None = None
    t: float | None = None
    exit_status: int | None = None


class _Session(msgspec.Struct, gc=False, kw_only=True, forbid_unknown_fields=True):
    id: str
    turns: tuple[_Turn, ...] | None = None
    messages: tuple[_Turn, ...] | None = None
    scenario: str | None = None
    archetype: str | None = None
    provider: str | None = None
    announcement: str | None = None
    steps: int | None = None
    outcome: Outcome | None = None
    verified: bool | None = None
    keep: bool | None = None
    meta: dict[str, Any] | None = None


_DECODER = msgspec.json.Decoder(_Session)
#: The fields of a session that have a value of their own, and not turns.
_VALUES = tuple(
    name for name in _Session.__struct_fields__ if name not in ("turns", "messages", "meta")
)
_OPTIONAL = ("ids", "logprobs", "t", "exit_status")


def plain_trajectory(text: bytes) -> Trajectory | None:
    """The trajectory in a JSON text; None where the tolerant reader has to decide."""
    try:
        read = _DECODER.decode(text)
    except NOT_JSON:
        return None
    found = read.turns or read.messages
    if not found or not read.id or is_bracketed(text):
        return None
    fields = {}
    for name in _VALUES:
        value = getattr(read, name)
        if value is not None:
            fields[name] = value
    keys = len(fields) + 2 * len(found) + 1
    if read.meta is not None:
        keys += count_keys(read.meta) + 1
        fields["meta"] = read.meta
    if keys == (counted := text_keys(text)):
        turns = tuple([Turn(role=turn.role, content=turn.content) for turn in found])
    else:
        turns, more = _with_optional(found)
        if keys + more != counted:  # nulls, a second list, or a key that stands twice
            return None
    if read.steps is None:
        fields["steps"] = [turn.role for turn in turns].count("assistant")
    return Trajectory(turns=turns, **fields)


def _with_optional(found: tuple[_Turn, ...]) -> tuple[tuple[Turn, ...], int]:
    """The turns with their optional fields, and how many of these there are."""
    turns, more = [], 0
    for turn in found:
        fields = {name: value for name in _OPTIONAL if (value := getattr(turn, name)) is not None}
        more += len(fields)
        turns.append(Turn(role=turn.role, content=turn.content, **fields))
    return tuple(turns), more
