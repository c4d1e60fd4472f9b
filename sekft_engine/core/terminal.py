"""What the terminal can show, as the environment tells it, and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

#: As Textual and Rich name them.
ColourSystem = Literal["none", "standard", "256", "truecolor"]
#: The variable by which a person says which colours to use; Textual reads it.
TOLD = "TEXTUAL_COLOR_SYSTEM"
#: Terminals that print and do nothing else, as those of editors and of CI.
_DUMB = ("", "dumb", "unknown")


class Colours(NamedTuple):
    """Which colours are used, and why."""

    system: ColourSystem
    why: str


def colours(environ: Mapping[str, str]) -> Colours:
    """The colours to use.

    ``COLORTERM`` comes along over SSH and sudo and into GNU screen, which takes the parts of a
    24-bit colour for codes of their own: black text on black, or blinking blocks.
    """
    term = environ.get("TERM", "")
    told = environ.get(TOLD, "auto")
    if environ.get("NO_COLOR"):
        return Colours("none", "NO_COLOR is set: meaning is kept by weight and marks")
    if told in ("standard", "256", "truecolor"):
        return Colours(told, f"{TOLD} says so")  # type: ignore[arg-type]
    if environ.get("COLORTERM", "") in ("truecolor", "24bit"):
        if wrong := _no_truecolor(environ):
            return Colours("256", f"{wrong}, though COLORTERM says so; {TOLD}=truecolor insists")
        return Colours("truecolor", f"COLORTERM says so (TERM={term})")
    if "256" in term:
        return Colours("256", f"TERM={term}; COLORTERM=truecolor gives more where it fits")
    return Colours("standard", f"TERM={term or 'unset'}")


def _no_truecolor(environ: Mapping[str, str]) -> str:
    """Why the terminal has no 24-bit colours whatever is said; empty = nothing speaks against."""
    if environ.get("STY"):
        return "GNU screen has no 24-bit colours"
    if environ.get("TERM", "").startswith("screen") and not environ.get("TMUX"):
        return f"TERM={environ['TERM']} has no 24-bit colours"
    if environ.get("TERM_PROGRAM") == "Apple_Terminal":
        return "Apple's Terminal has no 24-bit colours"
    return ""


def places_text(environ: Mapping[str, str]) -> bool:
    """Whether text can be put anywhere on the terminal."""
    return environ.get("TERM", "") not in _DUMB
