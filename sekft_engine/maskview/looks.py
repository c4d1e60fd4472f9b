"""What a style name looks like on a page and in a picture."""

from __future__ import annotations

from typing import NamedTuple

from sekft_engine.maskview import palette


class Look(NamedTuple):
    """A style: a colour of the palette, and attributes that tell it without colour."""

    colour: str = "foreground"
    bold: bool = False
    dim: bool = False
    underline: bool = False
    reverse: bool = False
    ground: str = ""


LOOKS: dict[str, Look] = {
    "text": Look(),
    "strong": Look(bold=True),
    "head": Look(bold=True),
    "quiet": Look("quiet"),
    "rule": Look("line"),
    "accent": Look("quiet"),
    "good": Look("good", bold=True),
    "bad": Look("bad", bold=True),
    "worse": Look("bad", bold=True),
    "warn": Look("warn", bold=True),
    "note": Look("match-now", bold=True),
    "trained": Look("trained", bold=True),
    "trained-edge": Look("trained", bold=True, underline=True, ground="trained-edge"),
    "masked": Look("masked", dim=True),
    "masked-edge": Look("masked", dim=True, underline=True, ground="masked-edge"),
    "special": Look("special"),
    "special-edge": Look("special", underline=True, ground="masked-edge"),
    "special-trained": Look("special", bold=True, reverse=True),
    "special-trained-edge": Look("special", bold=True, underline=True, reverse=True),
    "mark": Look("mark"),
    "label": Look("trained"),
    "blame": Look("bad", bold=True, underline=True),
    **{f"loss-{step}": Look(f"loss-{step}") for step in range(8)},
}


def style_sheet(fill: str, ground: str) -> str:
    """Rules for each style, in variables of :func:`variables`.

    Args:
        fill: the property of a text's colour, ``color`` or ``fill``.
        ground: the property of what lies behind it; '' = drawn by other means.
    """
    rules = []
    for name, look in LOOKS.items():
        colour = "background" if look.reverse else look.colour
        rule = f"{fill}:var(--{colour})"
        rule += ";font-weight:bold" if look.bold else ""
        rule += ";opacity:.78" if look.dim else ""
        rule += ";text-decoration:underline" if look.underline else ""
        behind = look.colour if look.reverse else look.ground
        rule += f";{ground}:var(--{behind})" if behind and ground else ""
        rules.append(f".{name}{{{rule}}}")
    return "\n".join(rules)


def variables() -> str:
    """The palette as variables: light, and dark where the reader prefers it."""

    def block(colours: dict[str, str]) -> str:
        return "".join(f"--{name}:{colour};" for name, colour in colours.items())

    return (
        f":root{{color-scheme:light dark;{block(palette.LIGHT)}}}\n"
        f"@media(prefers-color-scheme:dark){{:root{{{block(palette.DARK)}}}}}"
    )
