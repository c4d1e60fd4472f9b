"""The themes of our own, and the colours that carry meaning.

The hues are chosen from the Okabe-Ito set, which colour-blind people tell apart, and moved in
lightness until they hold their contrast on our backgrounds and after quantising to 256 colours.
Hue never carries a meaning alone: weight, gutter marks and glyphs repeat it.
"""

from __future__ import annotations

import dataclasses

from textual.theme import Theme

from sekft_engine.maskview import palette

#: Variables that widgets use; every theme has them, the built-in ones through these defaults.
_TOKENS = (
    "trained", "trained-edge", "masked", "masked-edge", "special", "mark", "good", "bad", "warn",
    "quiet", "line", "match-now", *(f"loss-{step}" for step in range(8)),
)  # fmt: skip


def _tokens(colours: dict[str, str]) -> dict[str, str]:
    return {name: colours[name] for name in _TOKENS}


def _hues(*colours: str) -> dict[str, str]:
    """Colours of curves beside the main one; a letter and a dash tell them apart as well."""
    return {f"hue-{number}": colour for number, colour in enumerate(colours)}


DEFAULTS_DARK = _tokens(palette.DARK) | {
    **_hues("#3ecf9b", "#d695c0", "#f0e442", "#a99bff", "#f0743e", "#8fd0ff"),
    "note": "#d695c0",
    "curve": "#ffb454",
    "curve-raw": "#6d7a8f",
    "curve-heldout": "#56b4e9",
    "cursor-background": "#2a3853",
}
DEFAULTS_LIGHT = _tokens(palette.LIGHT) | {
    **_hues("#00694c", "#8a3f72", "#7a6400", "#4b3fb5", "#b03a00", "#00657a"),
    "note": "#8a3f72",
    "curve": "#b35900",
    "curve-raw": "#98a2b3",
    "curve-heldout": "#005f99",
    "cursor-background": "#d3e2f5",
}

DARK = Theme(
    name="sekft-dark",
    primary="#6cb6ff",
    secondary="#8b98ad",
    accent="#ffb454",
    foreground="#d8dee9",
    background="#10141b",
    surface="#151b25",
    panel="#1c2431",
    success="#3ecf9b",
    warning="#f0e442",
    error="#f0743e",
    dark=True,
    variables=DEFAULTS_DARK
    | {
        "block-cursor-background": "#2a3853",
        "block-cursor-foreground": "#d8dee9",
        "input-cursor-background": "#ffb454",
        "scrollbar": "#2b3547",
        "scrollbar-background": "#151b25",
        "scrollbar-corner-color": "#151b25",
        "scrollbar-hover": "#3d4a61",
        "scrollbar-active": "#6cb6ff",
        "scrollbar-background-hover": "#151b25",
        "scrollbar-background-active": "#151b25",
    },
)
LIGHT = Theme(
    name="sekft-light",
    primary="#0b5cad",
    secondary="#5d6879",
    accent="#9a4a00",
    foreground="#1c2430",
    background="#fafbfc",
    surface="#f1f4f8",
    panel="#e4e9f0",
    success="#00694c",
    warning="#7a6400",
    error="#b03a00",
    dark=False,
    variables=DEFAULTS_LIGHT
    | {
        "block-cursor-background": "#d3e2f5",
        "block-cursor-foreground": "#1c2430",
        "scrollbar": "#c3cbd8",
        "scrollbar-background": "#f1f4f8",
        "scrollbar-corner-color": "#f1f4f8",
    },
)


def _safe(theme: Theme, name: str, colours: dict[str, str], hues: dict[str, str]) -> Theme:
    """``theme`` in blue and orange only, which every kind of colour blindness keeps apart."""
    return dataclasses.replace(
        theme,
        name=name,
        success=colours["good"],
        warning=colours["warn"],
        error=colours["bad"],
        variables=theme.variables
        | _tokens(colours)
        | {"note": colours["special"], "curve-heldout": colours["special"]}
        | hues,
    )


SAFE_DARK = _safe(
    DARK, "sekft-colour-blind-dark", palette.SAFE_DARK,
    _hues("#a6dfff", "#b29a74", "#009bf2", "#ffe6a6", "#6c75a6", "#995517"),
)  # fmt: skip
SAFE_LIGHT = _safe(
    LIGHT, "sekft-colour-blind-light", palette.SAFE_LIGHT,
    _hues("#004973", "#998463", "#0093e6", "#40310a", "#6c83a6", "#000c4c"),
)  # fmt: skip

THEMES = (DARK, LIGHT, SAFE_DARK, SAFE_LIGHT)


def defaults(dark: bool) -> dict[str, str]:
    """Our variables for a theme that does not bring its own."""
    return DEFAULTS_DARK if dark else DEFAULTS_LIGHT
