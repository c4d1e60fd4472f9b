"""The styles of pieces of text, by name, in the colours of the theme.

Textual has component classes for this. It makes a node for each of them in each widget and looks
through the whole style sheet for it, whenever a widget is made, gets the focus or is resized: with
some fifty styles that was most of the time that a pane took to appear.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from rich.color import Color as RichColor
from rich.style import Style
from textual.color import Color


class Look(NamedTuple):
    """Names of theme variables, and attributes as Rich writes them; "" = as under the text."""

    colour: str = ""
    attributes: str = ""
    background: str = ""


LOOKS: Mapping[str, Look] = {
    "text": Look("foreground"),
    "strong": Look("foreground", "bold"),
    "quiet": Look("quiet"),
    "rule": Look("line"),
    "key": Look("primary", "bold"),
    "head": Look("primary", "bold"),
    "accent": Look("accent", "bold"),
    "good": Look("good", "bold"),
    "bad": Look("bad", "bold"),
    "warn": Look("warn", "bold"),
    "note": Look("note"),
    "trained": Look("trained", "bold"),
    "trained-edge": Look("trained", "bold underline", "trained-edge"),
    "masked": Look("masked", "dim"),
    "masked-edge": Look("masked", "dim underline", "masked-edge"),
    "special": Look("special"),
    "special-edge": Look("special", "underline", "masked-edge"),
    "special-trained": Look("special", "bold reverse"),
    "special-trained-edge": Look("special", "bold reverse underline"),
    "mark": Look("mark"),
    "label": Look("trained"),
    "token": Look("foreground", "bold reverse"),
    "match": Look("warn", "bold reverse"),
    "match-now": Look("match-now", "bold reverse underline"),
    "blame": Look("bad", "bold underline"),
    "worse": Look("bad", "bold"),
    **{f"loss-{step}": Look(f"loss-{step}") for step in range(8)},
    "curve": Look("curve", "bold"),
    "curve-raw": Look("curve-raw", "dim"),
    "curve-heldout": Look("curve-heldout", "bold"),
    **{f"hue-{number}": Look(f"hue-{number}") for number in range(6)},
    "read": Look("foreground", "reverse"),
    "chip": Look("background", "bold", "primary"),
    "chip-good": Look("background", "bold", "good"),
    "chip-bad": Look("background", "bold", "bad"),
    "cursor": Look(background="cursor-background"),
    "cursor-off": Look(background="panel"),
}


def text_style(name: str, variables: Mapping[str, str]) -> Style:
    """The style ``name`` in a theme, to be laid over that of what is under the text.

    Args:
        name: one of :data:`LOOKS`.
        variables: the theme's, by name.
    """
    look = LOOKS[name]
    return _style(
        variables[look.colour] if look.colour else "",
        look.attributes,
        variables[look.background] if look.background else "",
    )


@lru_cache(maxsize=512)
def _style(colour: str, attributes: str, background: str) -> Style:
    style = Style(color=_colour(colour), bgcolor=_colour(background))
    return style + Style.parse(attributes)


def _colour(text: str) -> RichColor | None:
    parsed = Color.parse(text) if text else None
    return parsed.rich_color if parsed is not None and parsed.a > 0 else None
