"""From JSON values as people have them to turns and trajectories.

What is certain is read, whatever its form. A session whose meaning is not certain is rejected by a
name that it can be counted under. What was read in another form, or is not used, is noted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

from sekft_engine.data.read_report import Rejected
from sekft_engine.data.trajectory import OUTCOMES, Role, Trajectory, Turn

#: Names under which a reader accepts the list of turns.
TURN_KEYS = ("turns", "messages", "conversations")
#: Names under which a reader accepts a turn's role and content.
ROLE_KEYS = ("role", "from")
CONTENT_KEYS = ("content", "value")
#: Other names for the roles, in lower case, as data sets and libraries write them.
ROLE_ALIASES: Mapping[str, Role] = {
    "human": "user",
    "environment": "user",
    "tool": "user",
    "tool_response": "user",
    "function": "user",
    "function_response": "user",
    "observation": "user",
    "ipython": "user",
    "developer": "system",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
}
#: Aliases that are as common as the names themselves; reading them is not noted.
COMMON_ALIASES = frozenset({"human", "gpt"})
#: Roles of turns that call a tool instead of typing a command.
_CALLING_ROLES = frozenset({"function_call", "tool_call", "tool_calls"})
_CALLS = ("tool_calls", "function_call")
#: Fields of a turn of which null means that they are not there.
_DECIDING = (*_CALLS, "train", "weight")

#: Fields that sekft itself adds to turns and sessions beyond those of the format.
_OWN_FIELDS = frozenset({"foreign", "by", "too_long"})
_LONGEST_NAME = 60
_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_CALL_PARTS = frozenset({"tool_use", "tool_call", "function_call", "server_tool_use"})
_THOUGHT_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking"})

_MEND = "compare it with docs/formats.md"
_BY_HAND = "write the command as the turn's content, or leave the session out"


def turn_of(raw: object, where: str, number: int, notes: dict[str, None]) -> Turn:
    """One turn.

    Args:
        raw: its JSON value.
        where: the place of its session.
        number: of the turn, from 0.
        notes: what is noted is added here.

    Raises:
        Rejected: it is not certain what the turn says, or who says it.
    """
    if type(raw) is not dict:
        if not isinstance(raw, dict):
            _reject(
                "not_a_session", "a turn must be an object with role and content", where, number
            )
        raw = dict(raw)
    if len(raw) == 2:
        role, content = raw.get("role"), raw.get("content")
        if type(content) is str and (role == "user" or role == "assistant"):
            return Turn(role=role, content=content)
    known = dict(raw)
    for name in _DECIDING:
        if name in known and known[name] is None:
            del known[name]
    for name in _CALLS:
        if known.get(name):
            what = f"the command is in {name}, not in the content"
            _reject("tool_calls", what, where, number, _BY_HAND)
    role = _role(_take(known, ROLE_KEYS), where, number, notes)
    content = _content(_take(known, CONTENT_KEYS), where, number, notes)
    fields: dict[str, Any] = {"role": role, "content": content}
    _take_optional(known, fields, notes)
    _train(known, fields, where, number)
    for name, value in known.items():
        if value is not None and name not in _OWN_FIELDS and not _is_flag(name, value):
            notes[f"unused_turn:{_named(name)}"] = None
    return Turn(**fields, extra=known)


def trajectory_of(
    raw: object, where: str, name: str = "", duplicates: Iterable[str] = ()
) -> Trajectory:
    """One session.

    Args:
        raw: its JSON value.
        where: its place.
        name: the id if it has none; '' = ``where``.
        duplicates: keys that stood twice in the text, to be noted.

    Raises:
        Rejected: it is none, or a turn of it cannot be read; names ``where``.
    """
    notes = {f"duplicate:{_named(key)}": None for key in duplicates}
    if is_turns(raw):
        raw = {"turns": raw}
        notes["bare"] = None
    if not isinstance(raw, dict):
        what = "a trajectory must be a JSON object" if raw != [] else "no session in the list"
        raise Rejected("not_a_session", what, where=where, mend=_MEND)
    known = dict(raw)
    stored = known.pop("id", None)
    identity = _identity(stored)
    try:
        turns = _take_turns(known, where)
        parsed = tuple([turn_of(turn, where, number, notes) for number, turn in enumerate(turns)])
    except Rejected as error:
        error.id = identity or ""
        raise
    foreign: dict[str, Any] = {}

    def other(name: str, value: object) -> None:
        foreign[name] = value
        notes[f"foreign:{name}"] = None

    fields: dict[str, Any] = {}
    for field, right in _SESSION_TYPES.items():
        value = known.pop(field, None)
        if value is None:
            continue
        if field in _LABELLED and isinstance(value, dict):
            # The sister package may store the whole object; its name is what a trajectory needs.
            fields[field], known[field] = label(value), value
        elif isinstance(value, right) and (field != "outcome" or value in OUTCOMES):
            fields[field] = value
        else:
            other(field, value)
    steps = known.pop("steps", None)
    counted = _integer(steps)
    if counted is None:
        counted = sum([turn.is_command for turn in parsed])
        if steps is not None:
            other("steps", steps)
    if identity is None and stored not in (None, ""):
        other("id", stored)
    _keep_foreign(known, foreign)
    notes.update(_unused(known, fields))
    return Trajectory(
        **fields,
        id=identity or name or where,
        turns=parsed,
        steps=counted,
        extra=known,
        notes=tuple(notes),
    )


def _unused(known: dict[str, Any], fields: dict[str, Any]) -> Iterator[tuple[str, None]]:
    """Notes of the fields of a session that nothing reads."""
    for key, value in known.items():
        if value is not None and key not in _OWN_FIELDS and key not in fields:
            yield f"{'beside' if key in TURN_KEYS else 'unused'}:{_named(key)}", None


def is_turns(raw: object) -> bool:
    """Whether a list is one of turns, a session with nothing around it."""
    return (
        isinstance(raw, list)
        and bool(raw)
        and all(
            isinstance(turn, dict)
            and any(turn.get(key) is not None for key in ROLE_KEYS)
            and not any(isinstance(turn.get(key), list) for key in TURN_KEYS)
            for turn in raw
        )
    )


def label(value: str | dict[str, Any] | None) -> str:
    """The name of a scenario, archetype, provider or announcement that may be stored whole."""
    if isinstance(value, dict):
        return str(value.get("name") or value.get("id") or value.get("channel") or "")
    return value or ""


def _identity(value: object) -> str | None:
    """An id as text; None where there is none, or another type."""
    if isinstance(value, str):
        return value or None
    number = _integer(value)
    return None if number is None else str(number)


# --- turns ------------------------------------------------------------------------------------


def _take_turns(known: dict[str, Any], where: str) -> list[Any]:
    """Remove and return the turns: the first list under their names that is not empty."""
    if "reference_solution" in known and "checker" in known:
        raise Rejected(
            "not_a_session",
            "a scenario bundle where a trajectory belongs",
            where=where,
            mend="give bundles with --scenarios, or roll them out with sekft factory rollout",
        )
    lists = [name for name in TURN_KEYS if isinstance(known.get(name), list)]
    name = next((name for name in lists if known[name]), None)
    if name is None:
        if lists:
            raise Rejected(
                "empty_session", "empty session", where=where, mend="remove it or record it again"
            )
        raise Rejected(
            "not_a_session",
            "no list of turns",
            where=where,
            mend="name it turns, messages or conversations",
        )
    turns: list[Any] = known.pop(name)
    for other in TURN_KEYS:
        if known.get(other, "") in (None, []):
            del known[other]
    return turns


def _take_optional(known: dict[str, Any], fields: dict[str, Any], notes: dict[str, None]) -> None:
    """Take the optional fields of a turn; what has another type is kept apart."""
    foreign = {}
    for name, right in _TURN_TYPES.items():
        value = known.pop(name, None)
        if value is None:
            continue
        converted = right(value)
        if converted is None:
            foreign[name] = value
            notes[f"foreign_turn:{name}"] = None
        else:
            fields[name] = converted
    _keep_foreign(known, foreign)


def _role(value: object, where: str, number: int, notes: dict[str, None]) -> Role:
    if value == "user" or value == "assistant" or value == "system":
        return value
    if isinstance(value, str):
        name = value.strip().lower()
        if name in _CALLING_ROLES:
            _reject("tool_calls", f"a turn of the role {value!r}", where, number, _BY_HAND)
        role = ROLE_ALIASES.get(name)
        if role is None and name in ("user", "assistant", "system"):
            role = name  # type: ignore[assignment]
        if role is not None:
            if name != role and value not in COMMON_ALIASES:
                notes[f"role:{_named(value)} as {role}"] = None
            return role
    return _reject(
        "unknown_role", f"unknown role {value!r}", where, number, "use system, user or assistant"
    )


def _content(value: object, where: str, number: int, notes: dict[str, None]) -> str:
    if type(value) is str:
        return value
    if value is None:
        notes["no_content"] = None
        return ""
    parts = value if isinstance(value, list) else [value]
    texts = []
    for part in parts:
        text = part
        if isinstance(part, dict):
            kind = part.get("type", "text")
            if kind in _THOUGHT_PARTS:
                notes[f"unused_part:{kind}"] = None
                continue
            if kind in _CALL_PARTS:
                _reject("tool_calls", f"a part of the type {kind!r}", where, number, _BY_HAND)
            text = part.get("text") if kind in _TEXT_PARTS else part
        if not isinstance(text, str):
            kind = part.get("type") if isinstance(part, dict) else None
            what = f"a part of the type {kind!r}" if kind and text is part else "not text"
            _reject("bad_content", f"a turn's content must be a string: {what}", where, number)
        texts.append(text)
    notes["parts"] = None
    return "".join(texts)


def _train(known: dict[str, Any], fields: dict[str, Any], where: str, number: int) -> None:
    """Take the flags that say whether a command is trained."""
    if fields["role"] != "assistant":
        return
    flags = set()
    for name in ("train", "weight"):
        value = known.pop(name, None)
        if value is None:
            continue
        if not _is_flag(name, value):
            what = f"the {name} {value!r} of a command"
            _reject("bad_weight", what, where, number, "give 0 (not trained) or 1")
        flags.add(bool(value))
    if len(flags) > 1:
        _reject("bad_weight", "train and weight contradict each other", where, number)
    if flags == {False}:
        fields["train"] = False


def _is_flag(name: str, value: object) -> bool:
    return name in ("train", "weight") and isinstance(value, bool | int | float) and value in (0, 1)


def _reject(reason: str, what: str, where: str, number: int, mend: str = _MEND) -> NoReturn:
    raise Rejected(reason, what, where=f"{where}: turn {number}", mend=mend)


# --- values -----------------------------------------------------------------------------------


def _integer(value: object) -> int | None:
    """An integer, also where it is written as a fraction; None = it is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _integers(value: object) -> tuple[int, ...] | None:
    if not isinstance(value, list | tuple):
        return None
    found = [_integer(each) for each in value]
    return None if None in found else tuple(found)  # type: ignore[arg-type]


def _numbers(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list | tuple):
        return None
    found = [_number(each) for each in value]
    return None if None in found else tuple(found)  # type: ignore[arg-type]


#: Fields of a session whose value may be an object with a name.
_LABELLED = frozenset({"scenario", "archetype", "provider", "announcement"})
#: The optional fields of a session but for its steps, and their types.
_SESSION_TYPES: Mapping[str, type] = {
    **dict.fromkeys(sorted(_LABELLED), str),
    "verified": bool,
    "keep": bool,
    "meta": dict,
    "outcome": str,
}
#: The optional fields of a turn, and what makes the right type of a value, or None.
_TURN_TYPES = {"ids": _integers, "logprobs": _numbers, "t": _number, "exit_status": _integer}


def _keep_foreign(extra: dict[str, Any], foreign: dict[str, Any]) -> None:
    """Keep values of other types as an unknown field, where the writer cannot take them for its
    own."""
    if foreign:
        before = extra.get("foreign")
        extra["foreign"] = (before if isinstance(before, dict) else {}) | foreign


def _named(name: str) -> str:
    """A name from the data, short enough for a table."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _take(raw: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Remove all of ``names`` that are null, and the first that is not; return that, else None."""
    found = None
    for name in names:
        value = raw.get(name)
        if value is None:
            raw.pop(name, None)
        elif found is None:
            found = raw.pop(name)
    return found
