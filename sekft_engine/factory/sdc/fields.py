"""From a record whose fields are not all known to a scenario or a trajectory, field by field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from sekft_engine.data.reading import TURN_KEYS

#: How a field came to be: as it stood there, from others, or not at all.
How = Literal["present", "derived", "absent"]
Kind = Literal["scenarios", "trajectories"]

#: Other names of the fields, in the order in which they are looked for.
_SCENARIO_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("scenario_id", "name", "uid"),
    "archetype": ("task_archetype", "task"),
    "difficulty": ("level",),
    "doc_depth": ("doc-depth", "docs", "documentation"),
    "provider": ("directive_provider",),
    "announcement": ("announcement_channel",),
    "directives": ("directive", "instructions"),
    "fixtures": ("files",),
    "checker": ("check", "verifier"),
    "reference_solution": ("solution", "reference"),
    "terminal": ("expected_terminal", "expected", "ending"),
}
_TRAJECTORY_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("trajectory_id", "uid"),
    "scenario": ("scenario_id",),
    "archetype": ("task_archetype", "task"),
    "provider": (),
    "announcement": ("announcement_channel",),
    "turns": TURN_KEYS[1:],
    "steps": ("n_steps",),
    "outcome": ("ending", "terminal"),
    "verified": ("passed",),
    "keep": ("kept",),
    "meta": ("metadata",),
}
NAMES: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    "scenarios": _SCENARIO_NAMES,
    "trajectories": _TRAJECTORY_NAMES,
}
#: What a scenario needs for a world to be made and judged.
RUNNABLE = ("provider", "directives", "checker", "reference_solution")
_CHANNELS = {
    "env var": "env", "env_var": "env", "environment": "env", "environment variable": "env",
    "message of the day": "motd",
}  # fmt: skip
_TERMINALS = ("exit", "panic")


class Fields:
    """The fields of one record, taken one after another.

    Args:
        raw: the record; it is not changed.
        kind: of the record.

    Attributes:
        found: what was taken, by sekft's names.
        how: how each field came to be.
        unknown: the fields that nobody knows, which are kept.
    """

    def __init__(self, raw: Mapping[str, Any], kind: Kind) -> None:
        self.found: dict[str, Any] = {}
        self.how: dict[str, How] = {}
        self.unknown = dict(raw)
        for name, others in NAMES[kind].items():
            value = self._take(name, others)
            if value is None:
                self.how[name] = "absent"
            else:
                self.found[name] = value
                self.how[name] = "present"

    def _take(self, name: str, others: tuple[str, ...]) -> Any:
        for each in (name, *others):
            value = self.unknown.get(each)
            if value not in (None, "", [], {}):
                del self.unknown[each]
                return value
        self.unknown.pop(name, None)  # it is there, and says nothing
        return None

    def derive(self, name: str, make: Callable[[], Any]) -> None:
        """Make a field that is absent from the others; None = that cannot be."""
        if self.how[name] == "absent" and (value := make()) is not None:
            self.found[name] = value
            self.how[name] = "derived"

    def change(self, name: str, make: Callable[[Any], Any]) -> None:
        """Bring a field that is present into sekft's form; it is derived where that changes it."""
        if name in self.found and (value := make(self.found[name])) != self.found[name]:
            self.found[name] = value
            self.how[name] = "derived"


def kind_of(raw: Mapping[str, Any]) -> Kind | None:
    """Whether a record is a scenario or a trajectory; None = neither."""
    if any(isinstance(raw.get(name), list) for name in TURN_KEYS):
        return "trajectories"
    names = ("reference_solution", "checker", "directives", "fixtures", "provider")
    return "scenarios" if any(name in raw for name in names) else None


def scenario_fields(raw: Mapping[str, Any], name: str) -> Fields:
    """The fields of a scenario; ``name`` is its id where it has none."""
    fields = Fields(raw, "scenarios")
    fields.derive("id", lambda: name or None)
    fields.change("id", str)
    fields.change("directives", _text)
    fields.change("reference_solution", _commands)
    fields.change("announcement", _announcement)
    fields.change("checker", lambda value: _text(value) if isinstance(value, list) else value)
    fields.change("terminal", _terminal)
    fields.change("doc_depth", lambda value: str(value).lstrip("-"))
    fields.derive("terminal", lambda: _last_word(fields.found.get("reference_solution")))
    return fields


def trajectory_fields(raw: Mapping[str, Any], name: str) -> Fields:
    """The fields of a trajectory; ``name`` is its id where it has none."""
    fields = Fields(raw, "trajectories")
    fields.derive("id", lambda: name or None)
    fields.change("id", str)
    commands = _typed(fields.found.get("turns"))
    fields.derive("steps", lambda: len(commands) or None)
    fields.derive("outcome", lambda: _last_word(commands))
    fields.change("meta", lambda value: value if isinstance(value, dict) else {"value": value})
    if "clean" in fields.unknown:  # beside the meta that belongs to it
        clean = fields.unknown.pop("clean")
        fields.found["meta"] = {**fields.found.get("meta", {}), "clean": clean}
        fields.how["meta"] = "derived"
    fields.derive("keep", lambda: _keep(fields.found))
    return fields


def _keep(found: Mapping[str, Any]) -> bool | None:
    """Right terminal, verified and clean, where all three are known; the terminal is right where
    the checker passed, since it judges that too."""
    meta = found.get("meta", {})
    if "verified" not in found or "clean" not in meta:
        return None
    return bool(found["verified"]) and bool(meta["clean"]) and found.get("outcome") in _TERMINALS


def _text(value: Any) -> Any:
    return "\n".join(map(str, value)) if isinstance(value, list) else value


def _commands(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _announcement(value: Any) -> Any:
    """A text may be the channel itself, or what is announced."""
    if isinstance(value, str):
        channel = _CHANNELS.get(value.strip().lower(), value.strip().lower())
        return {"channel": channel} if channel in ("motd", "banner", "env", "file") else value
    if isinstance(value, dict) and isinstance(value.get("channel"), str):
        channel = value["channel"].strip().lower()
        return value | {"channel": _CHANNELS.get(channel, channel)}
    return value


def _terminal(value: Any) -> Any:
    return str(value).split()[0].lower() if str(value).strip() else value


def _last_word(commands: Any) -> str | None:
    """The terminal that the last command is."""
    if not isinstance(commands, list) or not commands:
        return None
    words = str(commands[-1]).strip().splitlines()[-1:] or [""]
    word = (words[0].split() or [""])[0]
    return word if word in _TERMINALS else None


def _typed(turns: Any) -> list[str]:
    if not isinstance(turns, list):
        return []
    roles = ("assistant", "gpt", "model")
    return [
        str(turn.get("content", turn.get("value", "")))
        for turn in turns
        if isinstance(turn, dict) and turn.get("role", turn.get("from")) in roles
    ]
