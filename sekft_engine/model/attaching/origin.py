"""Compare the base that an adapter names with the loaded one, if no digest confirms it."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.bases import KNOWN
from sekft_engine.core.text import visible


def doubt_of(named: str, base: Path) -> str:
    """The warning about an adapter that no digest ties to a base.

    Args:
        named: the base that its configuration names; empty if none.
        base: the folder of the base that it is attached to.
    """
    named = visible(named[:200])
    if not named:
        return "it does not say which base it was trained on, so its base is not confirmed"
    if is_named_alike(named, base):
        return f"it says that its base is {named}, but no digest confirms it"
    return (
        f"it says that it was trained on {named}, and the base that is loaded is "
        f"{_names(base)[0]}: its base is not confirmed, and its scores may mean nothing"
    )


def is_named_alike(named: str, base: Path) -> bool:
    """Whether ``named``, a folder or the id of a model, may be the base in folder ``base``."""
    try:
        if Path(named).expanduser().samefile(base):
            return True
    except (OSError, ValueError, RuntimeError):  # a folder of another machine, or none at all
        pass
    wanted = named.rstrip("/").casefold()
    for name in map(str.casefold, _names(base)):
        if wanted == name or ("/" not in name and wanted.rsplit("/", 1)[-1] == name):
            return True
    return False


def _names(base: Path) -> list[str]:
    """The names of a base: its Hub id if it is in the Hub's cache, else its folder's name; for a
    base of the catalogue also its title."""
    for part in reversed(base.absolute().parts):
        if part.startswith("models--"):
            return [part.removeprefix("models--").replace("--", "/", 1)]
    known = KNOWN.get(base.name)
    return [base.name] if known is None else [base.name, known.title]
