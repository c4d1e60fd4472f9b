"""Other keys than those of the table: read from files of the user and of the workspace, checked.

A file is TOML: an id of the table, and one key or several ::

    "train.start" = "ctrl+r"
    "motion.down" = ["j", "down", "ctrl+n"]

The workspace's file wins over the user's.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from textual.keys import KEY_ALIASES, Keys, _character_to_key

from sekft_engine.core.errors import BadInput
from sekft_engine.core.paths import config_folder
from sekft_tui.input.actions import KEYS, Key
from sekft_tui.input.places import SCREENS, together

#: The name of the file in the user's configuration and in a workspace.
FILE = "keys.toml"
#: A file of keys is short: a longer one is something else.
_MOST_BYTES = 256_000
#: What terminals send for another key, or keep for themselves, and what says so.
RESERVED = {
    "ctrl+h": "backspace in many terminals",
    "ctrl+i": "tab",
    "ctrl+j": "enter in many terminals",
    "ctrl+m": "enter",
    "ctrl+q": "flow control in some terminals",
    "ctrl+s": "flow control in some terminals",
    "tab": "goes to the next part of a pane",
    "shift+tab": "goes to the part before",
}
#: Leaving has to stay possible: these keep a key whatever a file says.
_KEPT = {"global.interrupt": "ctrl+c"}
_SHORT = {"esc": "escape", "return": "enter", "pgup": "pageup", "pgdn": "pagedown", "del": "delete"}
_SHIFTABLE = [
    "up",
    "down",
    "left",
    "right",
    "home",
    "end",
    "pageup",
    "pagedown",
    "insert",
    "delete",
    "enter",
    "tab",
]


class Choice(NamedTuple):
    """The keys that a file gives an id, and where it says so."""

    keys: tuple[str, ...]
    where: str


class Keymap(NamedTuple):
    """What files choose, and each thing that is wrong in them; what is wrong has no effect."""

    chosen: Mapping[str, Choice]
    faults: tuple[BadInput, ...] = ()

    @property
    def keys(self) -> dict[str, tuple[str, ...]]:
        """The keys by id."""
        return {identity: choice.keys for identity, choice in self.chosen.items()}


def user_file() -> Path:
    """The user's file of keys, whether it is there or not."""
    return config_folder() / FILE


def load_keymap(*files: Path) -> Keymap:
    """What ``files`` choose, later ones over earlier ones."""
    chosen: dict[str, Choice] = {}
    faults: list[BadInput] = []
    for path in files:
        found = _read(path)
        chosen |= found.chosen
        faults += found.faults
    faults += _drop_conflicts(chosen)
    return Keymap(chosen, tuple(faults))


def _read(path: Path) -> Keymap:
    try:
        if not path.is_file():  # also what is no plain file: a pipe would never end
            return Keymap({})
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise BadInput(
                "longer than any file of keys", where=str(path), mend="sekft keys --toml"
            )
        text = data.decode("utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        return Keymap({}, (BadInput(f"cannot be read: {error.strerror}", where=str(path)),))
    except BadInput as error:
        return Keymap({}, (error,))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        return Keymap({}, (_broken(error, path),))
    chosen: dict[str, Choice] = {}
    faults = []
    for identity, value in _flat(table).items():
        where = f"{path}:{_line_of(identity, text)}"
        try:
            chosen[identity] = Choice(_checked(identity, value, where), where)
        except BadInput as error:
            faults.append(error)
    return Keymap(chosen, tuple(faults))


def _broken(error: Exception, path: Path) -> BadInput:
    said = str(error)
    found = re.search(r" \(at line (\d+), column \d+\)", said)
    where = f"{path}:{found[1]}" if found else str(path)
    return BadInput(f"not TOML: {said.replace(found[0], '') if found else said}", where=where)


def _flat(table: Mapping[str, object], before: str = "") -> dict[str, object]:
    """``[train] start = …`` and ``"train.start" = …`` are the same."""
    out: dict[str, object] = {}
    for name, value in table.items():
        if isinstance(value, dict) and before.count(".") < 2:
            out |= _flat(value, f"{before}{name}.")
        else:
            out[f"{before}{name}"] = value
    return out


def _line_of(identity: str, text: str) -> int:
    """The line on which an id, or its last part, stands; 1 where that is not found."""
    last = identity.rpartition(".")[2]
    for wanted in (identity, last):
        found = re.search(rf"^[\s\"']*{re.escape(wanted)}[\s\"']*=", text, re.MULTILINE)
        if found:
            start = found.end() - len(found[0].lstrip())
            return text.count("\n", 0, start) + 1
    return 1


def _checked(identity: str, value: object, where: str) -> tuple[str, ...]:
    if identity not in {key.id for key in KEYS}:
        raise BadInput(f"{identity!r} is no id of a key", where=where, mend="sekft keys lists them")
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise BadInput(
            f"{identity}: a key is wanted, or a list of keys", where=where, mend='for example: "s"'
        )
    keys = tuple(dict.fromkeys(_key(name, identity, where) for name in names))
    kept = _KEPT.get(identity)
    if kept is not None and kept not in keys:
        raise BadInput(f"{identity} keeps {kept}", where=where, mend=f"name {kept}, too")
    return keys


def _key(name: str, identity: str, where: str) -> str:
    """A key's name as the table has it: ``Ctrl+D`` is ``ctrl+d``, and ``?`` stays as it is."""
    if len(name) == 1 and name.isprintable() and not name.isspace():
        return name
    *modifiers, key = name.strip().replace("^", "ctrl+", 1).split("+")
    modifiers = [modifier.lower() for modifier in modifiers]
    key = _SHORT.get(key.lower(), key.lower())
    full = "+".join([*modifiers, key])
    if full in RESERVED:
        raise BadInput(
            f"{identity}: {full} cannot be used: {RESERVED[full]}", where=where, mend="another key"
        )
    known = key in _known_names() or (modifiers and len(key) == 1 and key.isascii())
    wrong = set(modifiers) - {"ctrl", "shift"} or (modifiers == ["shift"] and key not in _SHIFTABLE)
    if not known or wrong or " " in key:
        raise BadInput(
            f"{identity}: {name!r} is no key", where=where,
            mend="a character, or ctrl+r, f5, space, enter, escape, up, pagedown, shift+left",
        )  # fmt: skip
    return full


def _known_names() -> set[str]:
    plain = {str(key.value) for key in Keys if "+" not in key.value and "<" not in key.value}
    return plain | set(KEY_ALIASES) | {"space"}


def _drop_conflicts(chosen: dict[str, Choice]) -> list[BadInput]:
    """Remove choices that give one key two meanings in one place, until there are none."""
    faults = []
    while (found := _conflict(chosen)) is not None:
        key, first, other = found
        loser, winner = (other, first) if other.id in chosen else (first, other)
        where = chosen.pop(loser.id).where
        also = f" ({chosen[winner.id].where})" if winner.id in chosen else ""
        faults.append(
            BadInput(
                f"{loser.id}: {key} is {winner.id} already{also}",
                where=where,
                mend=f"another key, or give {winner.id} another one, too",
            )
        )
    return faults


def _conflict(chosen: Mapping[str, Choice]) -> tuple[str, Key, Key] | None:
    """A key that does two things in one place, one of them by choice."""
    for names in together():
        taken: dict[str, Key] = {}
        for key in KEYS:
            if key.place not in names and key.id not in names:
                continue
            for name in chosen[key.id].keys if key.id in chosen else key.keys:
                same = _normal(name)
                if same not in taken:
                    taken[same] = key
                elif taken[same] is not key and not _both_close(taken[same], key):
                    return name, taken[same], key
    return None


def _both_close(*keys: Key) -> bool:
    """Whether both keys close a box: the one that opened it, and the one of all boxes."""
    openers = {screen.opener for screen in SCREENS}
    return all(key.id == "box.close" or key.id in openers for key in keys)


def _normal(name: str) -> str:
    """One name for what a terminal sends for both."""
    return _character_to_key(name) if len(name) == 1 else name


def as_toml(keys: Sequence[Key]) -> str:
    """A file of keys that changes nothing, to be edited."""
    lines = ["# Keys of sekft's workbench, by id. Remove the # before a line, and change it.", ""]
    place = ""
    for key in keys:
        if key.place != place:
            place = key.place
            lines += ["", f"# {place}"] if len(lines) > 2 else [f"# {place}"]
        names = ", ".join(_quoted(name) for name in key.keys)
        value = names if len(key.keys) == 1 else f"[{names}]"
        lines.append(f'# "{key.id}" = {value}  # {key.description}')
    return "\n".join(lines) + "\n"


def _quoted(name: str) -> str:
    return "'\"'" if name == '"' else f'"{name}"'
