"""What a style name looks like on a page and in a picture."""

from __future__ import annotations

from collections.abc import Iterator
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


def page_style() -> str:
    """Rules for a page: the palette as variables, light, and dark where the reader prefers it."""
    rules = []
    for name, look in LOOKS.items():
        rule = f"color:var(--{'background' if look.reverse else look.colour})"
        rule += ";font-weight:bold" if look.bold else ""
        rule += ";opacity:.78" if look.dim else ""
        rule += ";text-decoration:underline" if look.underline else ""
        rule += f";background:var(--{behind})" if (behind := _behind(look)) else ""
        rules.append(f".{name}{{{rule}}}")
    return "\n".join(
        (
            f":root{{color-scheme:light dark;{_variables(palette.LIGHT)}}}",
            f"@media(prefers-color-scheme:dark){{:root{{{_variables(palette.DARK)}}}}}",
            *rules,
        )
    )


def picture_style() -> str:
    """Rules for a picture, light and dark, with plain colours: not every program that shows
    pictures knows variables. ``on-NAME`` is what lies behind a style, ``ground`` behind all."""
    dark = "\n".join(_fills(palette.DARK))
    weights = (
        f".{name}{{{'font-weight:bold' if look.bold else ''}{';opacity:.78' if look.dim else ''}}}"
        for name, look in LOOKS.items()
        if look.bold or look.dim
    )
    light = "\n".join((*_fills(palette.LIGHT), *weights))
    return f"{light}\n@media (prefers-color-scheme:dark){{\n{dark}\n}}"


def _fills(colours: dict[str, str]) -> Iterator[str]:
    yield f".ground{{fill:{colours['background']}}}"
    for name, look in LOOKS.items():
        yield f".{name}{{fill:{colours['background' if look.reverse else look.colour]}}}"
        if behind := _behind(look):
            yield f".on-{name}{{fill:{colours[behind]}}}"


def _behind(look: Look) -> str:
    return look.colour if look.reverse else look.ground


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())
