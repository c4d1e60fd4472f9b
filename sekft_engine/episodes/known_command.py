"""Whether the shell knew what was typed: gibberish is no operating, however it is spaced."""

from __future__ import annotations

import re
from collections.abc import Collection

from sekft_engine.episodes.clean import COMMANDS, FREE_TEXT, KEYWORDS, assignments
from sekft_engine.episodes.shelltext import as_typed, simple_commands

#: What may be the name of a program or function.
_NAME = re.compile(r"[A-Za-z_./~][\w.+/~-]*")
#: From this exit status on nothing shows that a program ran: 126 = it is not executable, 127 = it
#: was not found, and more = a signal, as after a quote that is never closed.
_RAN_NOTHING = 126
#: Keywords after which a command may stand.
_OPENING = KEYWORDS - {"for", "case", "select", "in", "done", "fi", "esac"}


def knew(turn: str, *, status: int | None, output: str = "", known: Collection[str] = ()) -> bool:
    """Whether the shell knew at least one command of the turn.

    It did where a simple command begins with the name of a usual program or shell word, or of a
    program of the world; or where the turn is one simple command with a name and the shell's exit
    status does not say that it ran nothing. A turn with an error in its syntax was not run at all.

    Args:
        turn: the command turn.
        status: its exit status, where known.
        output: what the world showed.
        known: names of programs that the world has beyond the usual ones.
    """
    if status == 2 and "Syntax error" in output:
        return False
    typed = as_typed(turn).strip()
    found = [name for words in simple_commands(typed) if (name := _name(words))]
    names = COMMANDS | FREE_TEXT | frozenset(known)
    if any(name in names or name.rpartition("/")[2] in names for name in found):
        return True
    if status is None or status >= _RAN_NOTHING or len(found) != 1 or "&" in typed:
        return False
    return status != 2 and _NAME.fullmatch(found[0]) is not None


def _name(words: list[str]) -> str:
    """The name of the program that a simple command runs; empty = it runs none."""
    words = words[assignments(words) :]
    while words and words[0] in _OPENING:
        words = words[1:]
    return words[0] if words and words[0] not in KEYWORDS else ""
