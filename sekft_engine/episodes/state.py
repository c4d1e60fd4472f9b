"""What a session changed in its world, and how two sessions' changes differ.

A world begins as its bundle says, so only the changes are stored with an episode; with the bundle
they give the final state again.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from sekft_engine.data.scenario import Scenario
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.data.world_paths import HOME, TMP
from sekft_engine.worlds.shell.marks import PANIC_FILE
from sekft_engine.worlds.trees.layout import lay_out
from sekft_engine.worlds.trees.listing import Item, TreeListing, file_item

#: The key under which an episode's ``meta`` holds its changes.
FINAL_STATE = "final_state"
#: Most that is stored of one episode: paths, and bytes of text in all files together.
PATHS, TEXT_BYTES = 200, 16 * 1024

State = Mapping[str, Item]


class Changes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a session left different from what it found.

    Attributes:
        changed: absolute path in the world -> what is there now; None = nothing any more.
        more: how many further paths were changed but not stored.
        cut: the listing of the world was cut, so that there may be more changes.
    """

    changed: dict[str, Item | None]
    more: int = 0
    cut: bool = False

    @property
    def whole(self) -> bool:
        return not self.more and not self.cut


class PathDifference(msgspec.Struct, frozen=True):
    """One path that differs between a final state and that of the reference.

    Attributes:
        sign: ``+`` = only in the first, ``-`` = only in the reference, ``~`` = differs.
        path: absolute path in the world.
        what: the difference in words.
        lines: the lines of short text files that differ, each with a sign of its own.
    """

    sign: Literal["+", "-", "~"]
    path: str
    what: str
    lines: tuple[str, ...] = ()


def untouched(scenario: Scenario) -> State:
    """The world of ``scenario`` as a session finds it.

    Raises:
        BadInput: a path or mode that no world can hold.
    """
    layout = lay_out(scenario)
    found = {HOME: Item("folder", "0755")}
    for entry in (*layout.entries, *layout.etc):
        if entry.content is None:
            found[entry.path] = Item("folder", entry.mode)
        else:
            found[entry.path] = file_item(entry.mode, len(entry.content), entry.content)
    return {path: item for path, item in found.items() if path not in _roots(scenario)}


def changes(scenario: Scenario, listing: TreeListing) -> Changes:
    """What a session changed, from the ``listing`` of the world that it left; bounded in size."""
    before = untouched(scenario)
    roots = _roots(scenario)
    after = {f"/{path}": item for path, item in listing.items.items() if f"/{path}" not in roots}
    changed: dict[str, Item | None] = {
        path: item for path, item in sorted(after.items()) if not _same(before.get(path), item)
    }
    if not listing.cut:  # else a path that is not listed may exist
        changed |= dict.fromkeys(path for path in sorted(before) if path not in after)
    stored: dict[str, Item | None] = {}
    room = TEXT_BYTES
    for path, item in list(changed.items())[:PATHS]:
        if item is not None and item.text is not None:
            room -= len(item.text.encode())
            if room < 0:
                item = msgspec.structs.replace(item, text=None)
        stored[path] = item
    return Changes(stored, len(changed) - len(stored), listing.cut)


def changes_of(trajectory: Trajectory) -> Changes | None:
    """What the session of a stored episode changed; None where that was not stored."""
    try:
        return msgspec.convert(trajectory.meta.get(FINAL_STATE), Changes)
    except msgspec.ValidationError:
        return None


def differences(scenario: Scenario, here: Changes, there: Changes) -> tuple[PathDifference, ...]:
    """How the final state after ``here`` differs from that after ``there``, sorted by path.

    Args:
        scenario: the bundle of both worlds.
        here: the changes of the session in question.
        there: the changes of the reference solution.
    """
    before = untouched(scenario)
    found = []
    for path in sorted(here.changed.keys() | there.changed.keys()):
        mine = here.changed.get(path, before.get(path))
        other = there.changed.get(path, before.get(path))
        if _same(mine, other) or (path == PANIC_FILE and mine and other):
            continue  # the reason given for a panic is not compared
        found.append(_difference(path, mine, other))
    return tuple(found)


def _same(a: Item | None, b: Item | None) -> bool:
    """Whether two items are equal; of files that could not be read only mode and size count."""
    if a is None or b is None or a.kind != "file" or b.kind != "file":
        return a == b
    if a.digest and b.digest and a.digest != b.digest:
        return False
    return (a.mode, a.size) == (b.mode, b.size)


def _roots(scenario: Scenario) -> frozenset[str]:
    return frozenset(("/home", TMP, *lay_out(scenario).trees))


def _difference(path: str, mine: Item | None, other: Item | None) -> PathDifference:
    if mine is None or other is None:
        item, sign = (other, "-") if mine is None else (mine, "+")
        what = _described(item) if item is not None else ""
        lines = tuple(f"{sign}{line}" for line in _lines(item)) if item is not None else ()
        return PathDifference("-" if mine is None else "+", path, what, lines)
    reasons = []
    lines = ()
    if mine.kind != other.kind:
        reasons.append(f"a {mine.kind}, not a {other.kind}")
    elif mine.target != other.target:
        reasons.append(f"leads to {mine.target}, not to {other.target}")
    elif (mine.size, mine.digest) != (other.size, other.digest):
        same_size = f"other content, {_bytes(mine.size)}"
        sizes = f"{_bytes(mine.size)}, not {_bytes(other.size)}"
        reasons.append(sizes if mine.size != other.size else same_size)
        if mine.text is not None and other.text is not None:
            lines = tuple(_text_lines(other.text, mine.text))
    if mine.kind == other.kind and mine.mode != other.mode:
        reasons.append(f"mode {mine.mode}, not {other.mode}")
    return PathDifference("~", path, "; ".join(reasons), lines)


def _described(item: Item) -> str:
    match item.kind:
        case "link":
            return f"a link to {item.target}"
        case "file":
            return f"a file of {_bytes(item.size)}, mode {item.mode}"
        case "folder":
            return f"a folder, mode {item.mode}"
        case _:
            return "a pipe or socket"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"


def _lines(item: Item) -> list[str]:
    return item.text.splitlines() if item.text else []


def _text_lines(there: str, here: str) -> list[str]:
    """The lines of a unified difference with one line of context, without its header."""
    lines = list(difflib.unified_diff(there.splitlines(), here.splitlines(), n=1, lineterm=""))[2:]
    if not lines and there != here:
        return ["~ (line ends)"]
    return [line for line in lines if not line.startswith("@@")]


def as_meta(found: Changes) -> dict[str, Any]:
    """``found`` for an episode's ``meta``."""
    document: dict[str, Any] = msgspec.to_builtins(found)
    return document
