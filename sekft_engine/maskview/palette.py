"""The colours that tell tokens apart, on dark and on light ground.

The hues are of the Okabe-Ito set, which colour-blind people tell apart, moved in lightness until
they hold their contrast; losses run from dull to bright like cividis, in order of lightness. Hue
never carries a meaning alone: weight, gutter and glyphs repeat it.
"""

from __future__ import annotations

DARK = {
    "background": "#10141b",
    "foreground": "#d8dee9",
    "trained": "#ffb454",
    "trained-edge": "#3d2f17",
    "masked": "#b4bfd0",
    "masked-edge": "#2a3342",
    "special": "#56b4e9",
    "mark": "#8b98ad",
    "good": "#3ecf9b",
    "bad": "#f0743e",
    "warn": "#f0e442",
    "quiet": "#8b98ad",
    "line": "#39445a",
    "match-now": "#d695c0",
    "loss-0": "#5f7096",
    "loss-1": "#717d96",
    "loss-2": "#848b93",
    "loss-3": "#9a9a8a",
    "loss-4": "#b3ab7b",
    "loss-5": "#ccbd6c",
    "loss-6": "#e6d056",
    "loss-7": "#ffe43a",
}
LIGHT = {
    "background": "#fafbfc",
    "foreground": "#1c2430",
    "trained": "#9a4a00",
    "trained-edge": "#f6e2cb",
    "masked": "#3c4554",
    "masked-edge": "#e0e5ec",
    "special": "#005f99",
    "mark": "#5d6879",
    "good": "#00694c",
    "bad": "#b03a00",
    "warn": "#7a6400",
    "quiet": "#5d6879",
    "line": "#c3cbd8",
    "match-now": "#8a3f72",
    "loss-0": "#8f8862",
    "loss-1": "#837f69",
    "loss-2": "#757570",
    "loss-3": "#666a75",
    "loss-4": "#545d76",
    "loss-5": "#3f4f72",
    "loss-6": "#273f6d",
    "loss-7": "#00224e",
}

#: The same without any hue but blue and orange, for the export of the colour-blind-safe themes.
SAFE_DARK = DARK | {"good": "#56b4e9", "bad": "#ff8c42", "special": "#8fd0ff", "warn": "#f5e663"}
SAFE_LIGHT = LIGHT | {"good": "#004f8c", "bad": "#a33b00", "special": "#00456e", "warn": "#5c5200"}
