"""Two themes of our own, and the colours that carry meaning.

The hues are chosen from the Okabe-Ito set, which colour-blind people tell apart, and moved in
lightness until they hold their contrast on our backgrounds and after quantising to 256 colours.
Hue never carries a meaning alone: weight, gutter marks and glyphs repeat it.
"""

from __future__ import annotations

from textual.theme import Theme

#: Variables that widgets use; every theme has them, the built-in ones through these defaults.
DEFAULTS_DARK = {
    "trained": "#ffb454",
    "trained-edge": "#3d2f17",
    "masked": "#b4bfd0",
    "masked-edge": "#2a3342",
    "special": "#56b4e9",
    "good": "#3ecf9b",
    "bad": "#f0743e",
    "warn": "#f0e442",
    "note": "#d695c0",
    "curve": "#ffb454",
    "curve-raw": "#6d7a8f",
    "curve-heldout": "#56b4e9",
    "line": "#39445a",
    "quiet": "#8b98ad",
    "cursor-background": "#2a3853",
}
DEFAULTS_LIGHT = {
    "trained": "#9a4a00",
    "trained-edge": "#f6e2cb",
    "masked": "#3c4554",
    "masked-edge": "#e0e5ec",
    "special": "#005f99",
    "good": "#00694c",
    "bad": "#b03a00",
    "warn": "#7a6400",
    "note": "#8a3f72",
    "curve": "#b35900",
    "curve-raw": "#98a2b3",
    "curve-heldout": "#005f99",
    "line": "#c3cbd8",
    "quiet": "#5d6879",
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

THEMES = (DARK, LIGHT)


def defaults(dark: bool) -> dict[str, str]:
    """Our variables for a theme that does not bring its own."""
    return DEFAULTS_DARK if dark else DEFAULTS_LIGHT
