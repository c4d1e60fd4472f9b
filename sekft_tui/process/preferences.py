"""What a user chose in the settings screen, one file for all workspaces."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.errors import Unavailable
from sekft_engine.core.files import read_regular, write_whole
from sekft_engine.core.paths import config_folder

GLYPHS = ("auto", "braille", "blocks", "ascii")


class Preferences(msgspec.Struct, frozen=True, omit_defaults=True):
    """Each field is a line of the settings screen; unknown fields of a newer version are kept.

    Attributes:
        mouse: whether the mouse is used; without it the terminal's own selection works.
        bell: whether a job of :attr:`bell_after` seconds or more rings when it ends.
        bell_after: in seconds.
        notify: whether the desktop is notified, too (OSC 9).
        title: whether the terminal's title says what runs.
        glyphs: what curves are drawn with.
    """

    mouse: bool = True
    bell: bool = True
    bell_after: int = 20
    notify: bool = True
    title: bool = True
    glyphs: str = "auto"


def path_of_preferences() -> Path:
    return config_folder() / "workbench.json"


def load_preferences(path: Path | None = None) -> Preferences:
    """What was chosen; each value that is missing or not valid is the default."""
    try:
        raw = msgspec.json.decode(read_regular(path or path_of_preferences()))
    except (OSError, *NOT_JSON):
        return Preferences()
    chosen = Preferences()
    for field, value in raw.items() if isinstance(raw, dict) else ():
        if field in Preferences.__struct_fields__ and not problem(field, value):
            chosen = msgspec.structs.replace(chosen, **{field: value})
    return chosen


def problem(field: str, value: Any) -> str:
    """Why a value is not valid; "" = it is."""
    if field == "glyphs":
        return "" if value in GLYPHS else f"one of {', '.join(GLYPHS)}"
    if field == "bell_after":
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole and 0 <= value <= 86_400 else "a whole number of seconds, 0 to 86400"
    return "" if isinstance(value, bool) else "yes or no"


def save_preferences(preferences: Preferences, path: Path | None = None) -> None:
    """Write them whole; what a newer version wrote besides stays.

    Raises:
        Unavailable: the file cannot be written.
    """
    path = path or path_of_preferences()
    try:
        before = msgspec.json.decode(read_regular(path), type=dict[str, Any])
    except (OSError, *NOT_JSON):
        before = {}
    now = msgspec.to_builtins(preferences)
    kept = {k: v for k, v in before.items() if k not in Preferences.__struct_fields__}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.format(msgspec.json.encode(kept | now), indent=1) + b"\n")
    except OSError as error:
        raise Unavailable(f"cannot be written: {error.strerror}", where=str(path)) from error


class Drawing(NamedTuple):
    """What curves are drawn with, and why."""

    glyphs: str
    why: str


def drawing(preferences: Preferences, environ: Mapping[str, str] | None = None) -> Drawing:
    """What curves are drawn with on this terminal: the console of Linux and old terminals have no
    Braille in their fonts."""
    env = os.environ if environ is None else environ
    if preferences.glyphs != "auto":
        return Drawing(preferences.glyphs, "chosen in the settings")
    term = env.get("TERM", "")
    charset = env.get("LC_ALL") or env.get("LC_CTYPE") or env.get("LANG") or ""
    if charset and "utf" not in charset.lower() and "." in charset:
        return Drawing("ascii", f"{charset} has no other characters")
    if term.startswith(("linux", "vt", "cons", "ansi")):
        return Drawing("blocks", f"fonts of TERM={term} have no Braille")
    return Drawing("braille", "")
