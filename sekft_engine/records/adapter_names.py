"""The names of adapters: which ones a user may give, and what the adapter in a folder is called."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.core.text import visible
from sekft_engine.records.runs import ADAPTER

#: Longest name that a user may give.
LONGEST = 64
#: What a name consists of. These characters stay as they are in the name of a run's folder, so that
#: an adapter is spelled alike wherever it is shown.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OTHER = re.compile(r"[^A-Za-z0-9._-]")


def name_fault(name: str) -> str:
    """Why a user cannot call an adapter ``name``; empty = nothing is wrong with it."""
    if not name:
        return "a name needs at least one letter or digit"
    if len(name) > LONGEST:
        return f"a name has at most {LONGEST} characters, and this one {len(name)}"
    if _NAME.fullmatch(name):
        return ""
    if other := _OTHER.search(name):
        found = "a space" if other[0] == " " else repr(visible(other[0]))
        return f"a name has only letters a-z, digits, '.', '_' and '-', and not {found}"
    return f"a name begins with a letter or a digit, and not with {name[0]!r}"


def refuse_name(name: str, where: str) -> None:
    """Refuse what cannot be a name.

    Args:
        name: as a user gave it.
        where: where it was given, for the error.

    Raises:
        BadInput: :func:`name_fault` says why.
    """
    if why := name_fault(name):
        raise BadInput(why, where=f"{where} {visible(name)}".strip(), mend="choose another name")


def name_of_folder(folder: Path) -> str:
    """What an adapter is called that is named by its folder: as its run, else as the folder."""
    folder = folder.expanduser().absolute()
    return (folder.parent.name if folder.name == ADAPTER else folder.name) or "adapter"


def unlike(wanted: str, taken: Collection[str | None]) -> str:
    """``wanted``, with a number appended if it is taken."""
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name
