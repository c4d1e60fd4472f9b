"""One panel: turns a plot into rows of text, with a head, curves, axes and marks."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np
from rich.cells import cell_len

from sekft_tui.text import Parts, clip
from sekft_tui.widgets.chart.axes import Frame, frame_for, label, label_all, log_ticks, ticks
from sekft_tui.widgets.chart.canvas import READ, Canvas
from sekft_tui.widgets.chart.plot import FORMS, Board, Line, Plot, Points, at
from sekft_tui.widgets.chart.raster import dashed, drawn, rasterise
from sekft_tui.widgets.chart.view import View, window

#: The least number of cells left of the axis, so that it does not move with every new tick.
GUTTER = 6
#: Cells between two tags of a curve, and the fewest between two equal signs.
TAG_EVERY = 26
SIGN_GAP = 4
#: Shown in place of what a head has no room for.
MORE = "  …"
#: What is said of the name of a curve: all, its first word, nothing.
_WHOLE, _WORD, _NONE = re.compile(r".+"), re.compile(r"\S+"), re.compile(r"(?!)")


class Panel(NamedTuple):
    """A place for a plot in the chart. ``main``: with unit, values at the cursor and x labels."""

    plot: Plot
    width: int
    height: int
    main: bool


def draw(panel: Panel, board: Board, view: View) -> list[Parts]:
    """The panel: exactly ``panel.height`` rows of exactly ``panel.width`` cells."""
    plot = panel.plot
    x0, x1 = window(view, board)
    frame = _frame(plot, x0, x1, view.log and plot.can_log)
    head = [sized(head_of(panel, board, view, frame.log), panel.width)]
    if panel.main and board.tags:
        head.append(sized(_tags(board), panel.width))
    below = 2 if panel.height - len(head) >= 6 else 1
    height = panel.height - len(head) - below
    marks = _y_ticks(plot, frame, height)
    gutter = max(GUTTER, *(len(text) + 1 for text in marks.values())) if marks else GUTTER
    width = panel.width - gutter - 1
    if width < 4 or height < 2:
        return [*head, *[((" " * panel.width, ""),)] * (panel.height - len(head))]
    canvas = Canvas(width, height)
    _fill(canvas, plot, frame, marks)
    _cursor(canvas, plot, board, view, frame)
    rows = []
    for y in range(height):
        text = marks.get(y, "")
        side = ((f"{text:>{gutter - 1}} ", "quiet"), ("┤" if text else "│", "rule"))
        rows.append((*side, *canvas.row(y)))
    return [*head, *rows, *_x_axis(board, frame, gutter, width)[:below]]


def sized(parts: Parts, width: int) -> Parts:
    """``parts`` in exactly ``width`` cells."""
    out, room = [], width
    for text, style in parts:
        if room > 0:
            text = clip(text, room)
            out.append((text, style))
            room -= cell_len(text)
    return (*out, (" " * room, ""))


# --- the head -----------------------------------------------------------------------------------


def head_of(panel: Panel, board: Board, view: View, log: bool) -> Parts:
    """Title, and each curve with its sign and its value at the cursor or at the end.

    If there is too little room, of the names of curves the first words stay, then none, and then
    whole entries are left out from the end.
    """
    for names in (_WHOLE, _WORD, _NONE) if panel.main else (_NONE,):
        curves = _curves(panel, board, view, names)
        if _width(curves) <= panel.width - len(MORE):
            break
    entries = [*curves, *(_marks(board, view, log) if panel.main else [])]
    if _width(entries) > panel.width:
        while len(entries) > 1 and _width(entries) > panel.width - len(MORE):
            entries.pop()
        entries.append([(MORE, "quiet")])
    return tuple(part for entry in entries for part in entry)


def _width(entries: list[list[tuple[str, str]]]) -> int:
    return sum(cell_len(text) for entry in entries for text, _ in entry)


def _curves(
    panel: Panel, board: Board, view: View, names: re.Pattern[str]
) -> list[list[tuple[str, str]]]:
    plot = panel.plot
    place = board.place(view.cursor) if view.cursor else math.inf
    entries: list[list[tuple[str, str]]] = [[(f" {plot.title}", "strong")]]
    if panel.main and view.cursor:
        where = [f" at step {view.cursor:,}"]
        if board.axis != "step":
            where.append(label(place, FORMS[board.axis]) + f" {board.axis}")
        entries.append([(" · ".join(where), "accent")])
    elif panel.main and plot.unit and panel.width > 100:
        entries.append([(f" ({plot.unit})", "quiet")])
    named_lines = [line for line in plot.lines if line.in_legend and len(line.xs)]
    for line in (line for line in named_lines if not line.tag):
        entries.append(_entry("━", line, plot, place, names))
        if line.raw is not None and panel.main:
            raw = _number(plot, at(line.xs, line.raw, place))
            entries.append([("  ┄ ", "curve-raw"), ("raw ", "quiet"), (raw, "text")])
    entries += [
        _entry(points.glyph, points, plot, place, names)
        for points in plot.points
        if points.in_legend and len(points.xs)
    ]
    entries += [_entry(line.tag, line, plot, place, names) for line in named_lines if line.tag]
    if plot.rule is not None:
        level = label(plot.rule.y, plot.form)
        entries.append([("  ╌ ", "quiet"), (f"{plot.rule.name} ", "quiet"), (level, "text")])
    return entries


def _marks(board: Board, view: View, log: bool) -> list[list[tuple[str, str]]]:
    entries: list[list[tuple[str, str]]] = [[("  log", "accent")]] if log else []
    if view.span:
        entries.append([("  zoomed" + (", following" if view.follow else ""), "accent")])
    flags = dict.fromkeys((flag.glyph, flag.style, flag.name) for flag in board.flags[::-1])
    return [*entries, *([(f"  {glyph} ", style), (name, "quiet")] for glyph, style, name in flags)]


def _entry(
    sign: str, curve: Line | Points, plot: Plot, place: float, names: re.Pattern[str]
) -> list[tuple[str, str]]:
    value = _number(plot, at(curve.xs, curve.ys, place))
    found = names.match(curve.name)
    name = f"{found[0]} " if found else ""
    return [(f"  {sign} ", curve.style), (name, "quiet"), (value, "text")]


def _number(plot: Plot, value: float) -> str:
    if not math.isfinite(value):
        return "×" if math.isnan(value) else "∞"
    if plot.form != "plain" or not 0.001 <= value < 1e4:
        return label(value, plot.form)
    return f"{value:.4g}" if plot.decimals is None else f"{value:.{plot.decimals}f}"


def _tags(board: Board) -> Parts:
    parts: list[tuple[str, str]] = [(" with", "quiet")]
    for tag in board.tags:
        parts += [(f"  {tag.letter} ", tag.style), (tag.name, "quiet")]
    return tuple(parts)


# --- the curves ---------------------------------------------------------------------------------


def _frame(plot: Plot, x0: float, x1: float, log: bool) -> Frame:
    return frame_for(plot.curves(), x0, x1, log, plot.limits)


def _fill(canvas: Canvas, plot: Plot, frame: Frame, marks: dict[int, str]) -> None:
    """Paint, each over the ones before: grid, raw curves, other curves, the first, tags, signs."""
    canvas.grid(marks, 4, "·", "rule")
    if plot.rule is not None:
        level = frame.y_of(np.array([plot.rule.y]))[0]
        if math.isfinite(level):
            canvas.put(0, frame.row(level, canvas.height), "╌" * canvas.width, "quiet")
    for line in plot.lines:
        if line.raw is not None:
            dots = rasterise(line.xs, line.raw, frame, canvas.width, canvas.height)
            canvas.paint(drawn(dots), "curve-raw")
    for line in reversed(plot.lines):
        if len(line.xs) == 1:  # a single dot would hardly be visible
            _signs(canvas, Points(line.xs, line.ys, "•", line.style), frame)
            continue
        dots = rasterise(line.xs, line.ys, frame, canvas.width, canvas.height)
        canvas.paint(drawn(dashed(dots, line.dash)), line.style)
    for number, line in reversed(list(enumerate(plot.lines))):
        if line.tag:
            _tag(canvas, line, frame, number)
    for points in reversed(plot.points):
        _signs(canvas, points, frame)


def _tag(canvas: Canvas, line: Line, frame: Frame, number: int) -> None:
    """Write the curve's letter on it at intervals and near its end, apart from other letters."""
    if not len(line.xs):
        return
    drawn = frame.y_of(line.ys)
    end = min(frame.column(float(line.xs[-1]), canvas.width), canvas.width - 1)
    for column in {end - 3 * number, *range(6 + 3 * number, end - 20, TAG_EVERY)}:
        share = column / max(1, canvas.width - 1)
        y = at(line.xs, drawn, frame.x0 + share * (frame.x1 - frame.x0))
        if math.isfinite(y):
            canvas.put(column, frame.row(y, canvas.height), line.tag, line.style)


def _signs(canvas: Canvas, points: Points, frame: Frame) -> None:
    """Draw the points, the newest first; one too near to a newer one is left out."""
    free = canvas.width + SIGN_GAP
    drawn = frame.y_of(points.ys)
    start = int(np.searchsorted(points.xs, frame.x0))
    end = int(np.searchsorted(points.xs, frame.x1, side="right"))
    for x, y in zip(
        points.xs[start:end][::-1].tolist(), drawn[start:end][::-1].tolist(), strict=True
    ):
        column = frame.column(x, canvas.width)
        if math.isfinite(y) and column <= free - SIGN_GAP:
            free = column
            canvas.put(column, frame.row(y, canvas.height), points.glyph, points.style)


def _cursor(canvas: Canvas, plot: Plot, board: Board, view: View, frame: Frame) -> None:
    """Draw the cursor: a line in empty cells, and the curve's cell highlighted."""
    if not view.cursor:
        return
    place = board.place(view.cursor)
    x = frame.column(place, canvas.width)
    if not 0 <= x < canvas.width:
        return
    for y in range(canvas.height):
        if canvas.cell(x, y) in " ·╌":
            canvas.put(x, y, "│", "text")
    for line in plot.lines[:1]:
        value = at(line.xs, frame.y_of(line.ys), place)
        y = frame.row(value, canvas.height) if math.isfinite(value) else -1
        if 0 <= y < canvas.height:
            canvas.put(x, y, canvas.cell(x, y), READ)


# --- the axes -----------------------------------------------------------------------------------


def _y_ticks(plot: Plot, frame: Frame, height: int) -> dict[int, str]:
    """Labels by row."""
    if frame.log:
        values = log_ticks(frame.y0, frame.y1, max(3, height // 3))
    else:
        values = ticks(frame.y0, frame.y1, max(3, height // 3), plot.form)
    labels = label_all(values, plot.form, frame.log)
    found: dict[int, str] = {}
    for value, text in zip(values, labels, strict=True):
        row = frame.row(value, height)
        if 0 <= row < height and text not in found.values():
            found.setdefault(row, text)
    return found


def _x_axis(board: Board, frame: Frame, gutter: int, width: int) -> list[Parts]:
    line = Canvas(width, 1)
    line.put(0, 0, "─" * width, "rule")
    text = [" "] * (width + gutter + 1)
    form = FORMS[board.axis]
    room = 9 if form == "power" else 12
    values = ticks(frame.x0, frame.x1, max(3, width // room), form)
    free = 0
    if board.axis == "step":
        values = [value for value in values if value == int(value)]
    for value, name in zip(values, label_all(values, form), strict=True):
        column = frame.column(value, width)
        start = min(gutter + 1 + column - len(name) // 2, len(text) - len(name))
        if start >= free:
            line.put(min(column, width - 1), 0, "┬", "rule")
            text[start : start + len(name)] = name
            free = start + len(name) + 1
    for flag in board.flags:
        line.put(frame.column(flag.x, width), 0, flag.glyph, flag.style)
    return [
        ((" " * gutter, ""), ("└", "rule"), *line.row(0)),
        (("".join(text), "quiet"),),
    ]
