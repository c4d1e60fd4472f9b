"""A recording of a terminal as a moving picture: one SVG that needs nothing else.

Browsers play it; other programs show its first screen. Each line of the terminal is drawn once,
and a screen is a column of references to lines, or to a whole screen before it and to the lines
that differ. All screens lie side by side on a strip, which moves behind a window by whole screens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from html import escape
from itertools import groupby, pairwise
from typing import NamedTuple

import pyte

#: A cell and a line in pixels, and the size at which a letter of DejaVu Sans Mono fills a cell;
#: the room above the screen, and around it; from the top of a line to the feet of its letters.
_CELL, _ROW, _SIZE, _TOP, _PAD, _BASE = 8, 17, 13.29, 32, 8, 13
#: What a terminal that says nothing else is drawn with.
_TEXT, _GROUND, _FRAME = "d8dee9", "10141b", "1c2431"
#: Screens are shown at most every so many seconds.
_EVERY_S = 0.5
#: Names of looks; short, since most of the picture is references to them.
_NAMES = [*"abcdefghijklmnopqruvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", *(f"c{n}" for n in range(200))]
#: Text of so many cells is held to its length, in case the font is another.
_LONG = 8
#: A screen with at most so many other lines refers to the one before that it differs from.
_FEW = 12


class Screen(NamedTuple):
    """What a terminal shows from ``at`` seconds on; ``caption`` is the last marker's text."""

    at: float
    caption: str
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        return "\n".join("".join(run.text for run in row).rstrip() for row in self.rows)


class Run(NamedTuple):
    """Cells of one look that are next to each other; colours are six digits."""

    column: int
    text: str
    cells: int
    colour: str
    ground: str
    bold: bool


Row = tuple[Run, ...]


def screens(cast: str) -> Iterator[Screen]:
    """Play a recording (asciicast, version 2 or 3): the screen after each of its events."""
    first, *lines = cast.splitlines()
    header = json.loads(first)
    is_third = header["version"] == 3  # its times are those since the event before
    if is_third:
        screen = pyte.Screen(header["term"]["cols"], header["term"]["rows"])
    else:
        screen = pyte.Screen(header["width"], header["height"])
    stream = pyte.Stream(screen)
    now = 0.0
    caption, rows = "", tuple(_row(screen, y) for y in range(screen.lines))
    for line in lines:
        at, code, data = json.loads(line)
        now = now + at if is_third else at
        if code == "m":
            caption = data
        elif code == "o":
            screen.dirty.clear()
            stream.feed(data)
            rows = tuple(
                _row(screen, y) if y in screen.dirty else row for y, row in enumerate(rows)
            )
        yield Screen(now, caption, rows)


def _row(screen: pyte.Screen, y: int) -> Row:
    line = screen.buffer[y]
    cells = []
    for x in range(screen.columns):
        cell = line[x]
        colour = _TEXT if cell.fg == "default" else cell.fg
        ground = _GROUND if cell.bg == "default" else cell.bg
        if cell.reverse:
            colour, ground = ground, colour
        # The second cell of a wide sign has no text of its own.
        cells.append((colour, ground, cell.bold, cell.data or " "))
    runs, x = [], 0
    for look, group in groupby(cells, key=lambda cell: cell[:3]):
        texts = [cell[3] for cell in group]
        runs.append(Run(x, "".join(texts), len(texts), *look))
        x += len(texts)
    return tuple(runs)


def sampled(played: list[Screen]) -> list[Screen]:
    """A screen for each moment at which another is seen than before."""
    found: list[Screen] = []
    for screen, after in pairwise(played):
        at = math.ceil(screen.at / _EVERY_S) * _EVERY_S
        if at < after.at and screen.text.strip() and (not found or found[-1][1:] != screen[1:]):
            found.append(screen._replace(at=at))
    return found


def moving_picture(cast: str) -> str:
    """The recording as an SVG that repeats without end."""
    played = list(screens(cast))
    shown, end = sampled(played), played[-1].at
    width = json.loads(cast.partition("\n")[0])["width"]
    wide = width * _CELL + 2 * _PAD
    high = len(shown[0].rows) * _ROW + _TOP + _PAD
    looks: dict[str, str] = {}
    drawn: dict[Row, int] = {}
    strip = list(_strip(shown, wide, drawn))
    lines = [_drawn_row(row, number, looks) for row, number in drawn.items()]
    begin = shown[0].at
    frames = "".join(
        f"{100 * (screen.at - begin) / (end - begin):.2f}%{{transform:translateX({-n * wide}px)}}"
        for n, screen in enumerate(shown)
    )
    rules = "".join(f".{name}{{{rule}}}" for rule, name in looks.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
        f'viewBox="0 0 {wide} {high}" xml:space="preserve">\n<style>'
        "text{white-space:pre;font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;"
        f"font-size:{_SIZE}px}}.t{{fill:#{_TEXT};text-anchor:middle}}"
        f"#s{{animation:s {end - begin:.2f}s step-end infinite}}@keyframes s{{{frames}}}"
        "@media(prefers-reduced-motion:reduce){#s{animation:none}}"
        f"{rules}</style>\n<defs>\n"
        + "\n".join(lines)
        + f'\n<rect id="e" width="{wide}" height="{_ROW}" y="{-_BASE}" fill="#{_GROUND}"/>'
        + f'\n</defs>\n<rect width="{wide}" height="{high}" rx="8" fill="#{_FRAME}"/>\n'
        f'<rect y="{_TOP}" width="{wide}" height="{high - _TOP - _PAD}" fill="#{_GROUND}"/>\n'
        '<g id="s">\n' + "\n".join(strip) + "\n</g>\n</svg>\n"
    )


def _strip(shown: list[Screen], wide: int, drawn: dict[Row, int]) -> Iterator[str]:
    """The screens side by side; new lines get a number in ``drawn``."""

    def used(name: str, y: int) -> str:
        return f'<use href="#{name}" y="{_TOP + y * _ROW + _BASE}"/>'

    def line(row: Row, y: int) -> str:
        return used(f"r{drawn.setdefault(row, len(drawn))}", y)

    whole = 0  # the last screen that was drawn whole
    for number, screen in enumerate(shown):
        before = shown[whole].rows
        others = [y for y, row in enumerate(screen.rows) if row != before[y]]
        if number and len(others) <= _FEW:
            inner = f'<use href="#k{whole}"/>' + "".join(
                used("e", y) + line(screen.rows[y], y) for y in others
            )
        else:
            whole = number
            lines = "".join(line(row, y) for y, row in enumerate(screen.rows))
            inner = f'<g id="k{number}">{lines}</g>'
        title = f'<text class="t" x="{wide // 2}" y="21">{escape(screen.caption)}</text>'
        yield f'<g transform="translate({number * wide})">{title}{inner}</g>'


def _drawn_row(row: Row, number: int, looks: dict[str, str]) -> str:
    """A line of the terminal, what lies behind the text first."""

    def look(rule: str) -> str:
        return looks.setdefault(rule, _NAMES[len(looks)])

    behind, text = [], []
    for ground, group in groupby(row, key=lambda run: run.ground):
        runs = list(group)
        if ground != _GROUND:
            x, cells = runs[0].column, sum(run.cells for run in runs)
            behind.append(
                f'<rect class="{look(f"fill:#{ground}")}" x="{_PAD + x * _CELL}" '
                f'y="{-_BASE}" width="{cells * _CELL}" height="{_ROW}"/>'
            )
    for run in row:
        rule = f"fill:#{run.colour}" + (";font-weight:700" if run.bold else "")
        kind = look(rule)
        text += [
            f'<text class="{kind}" {place}>{escape(word, quote=False)}</text>'
            for place, word in _words(run)
        ]
    return f'<g id="r{number}">{"".join(behind)}{"".join(text)}</g>'


def _words(run: Run) -> Iterator[tuple[str, str]]:
    """The pieces of a text and where they stand: plain ones, and those of other signs, which may
    come from another font with another width, so that each has a place of its own."""
    column = run.column
    for plain, group in groupby(run.text, key=str.isascii):
        piece = "".join(group)
        word = piece.strip(" ")
        first = column + len(piece) - len(piece.lstrip(" "))
        column += len(piece)
        if not word:
            continue
        if plain or len(set(word)) == 1:
            place = f'x="{_PAD + _CELL * first}"'
            if len(word) > _LONG or not plain:
                place += f' textLength="{len(word) * _CELL}"'
            yield place, word
        else:
            places = " ".join(str(_PAD + _CELL * (first + number)) for number in range(len(word)))
            yield f'x="{places}"', word
