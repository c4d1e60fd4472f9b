"""The loss chart: raw loss dim, smoothed loss bright over it, held-out losses as marks."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from textual.geometry import Region
from textual.strip import Strip

from sekft_tui.series import Floats, Series, ema
from sekft_tui.text import Parts
from sekft_tui.widgets.line_view import LineView
from sekft_tui.widgets.raster import (
    Frame,
    braille,
    frame_for,
    log_ticks,
    rasterise,
    tick_labels,
    ticks,
)

SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)
AXIS = 8
HELDOUT = "◆"
#: Marks stand at least so many cells apart, the newest first, so that they do not hide the curve.
MARK_GAP = 5


class View(NamedTuple):
    """What the user chose to see. ``span`` 0 = all steps; ``right`` the last step shown when the
    view does not follow; ``cursor`` the step that is read out, 0 = none."""

    log: bool = False
    smoothing: float = 0.6
    span: float = 0.0
    right: float = 0.0
    follow: bool = True
    cursor: int = 0


class LossChart(LineView):
    """Draws two series; only rows that changed are painted again."""

    DEFAULT_CSS = "LossChart { overflow: hidden; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.loss = Series()
        self.heldout = Series()
        self.view = View()
        self.total = 0
        self.hint = ""
        self._rows: tuple[Parts, ...] = ()

    # --- data and view ----------------------------------------------------------------------

    def show(self, loss: Series, heldout: Series, total: int = 0) -> None:
        """Draw these series; ``total`` is the run's number of steps, for the empty part."""
        if loss is not self.loss:
            self.view = View(log=self.view.log, smoothing=self.view.smoothing)
        self.loss, self.heldout, self.total = loss, heldout, total
        self.draw()

    def draw(self) -> None:
        """Build the rows again and paint those that differ."""
        width, height = self.size
        if width < AXIS + 4 or height < 4:
            return
        before, self._rows = self._rows, tuple(self._build(width, height))
        for y in range(height):
            if before[y : y + 1] != self._rows[y : y + 1]:
                self.refresh(Region(0, y, width, 1))

    def on_resize(self) -> None:
        self.draw()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.refresh()

    def line(self, y: int, width: int) -> Parts:
        del width
        return self._rows[y] if y < len(self._rows) else ()

    def render_line(self, y: int) -> Strip:
        return self.strip(self.line(y, self.size.width), self.size.width)

    def set_view(self, view: View) -> None:
        self.view = view
        self.draw()

    # --- what the keys do -------------------------------------------------------------------

    @property
    def last_step(self) -> int:
        xs, _ = self.loss.view()
        return int(xs[-1]) if len(xs) else 0

    def bounds(self) -> tuple[float, float]:
        """First and last step in view."""
        last = max(self.last_step, 2)
        if not self.view.span:
            return 1.0, float(max(last, min(self.total, last * 4) if self.total else last))
        right = last if self.view.follow else min(self.view.right, last)
        right = max(right, 1 + self.view.span)
        return right - self.view.span, right

    def zoom(self, factor: float) -> None:
        x0, x1 = self.bounds()
        last = max(self.last_step, 2)
        span = max(4.0, (min(x1, last) - x0) * factor)
        if span >= last - 1:
            self.set_view(self.view._replace(span=0.0, follow=True))
            return
        middle = float(self.view.cursor or last)
        right = min(float(last), middle + span / 2)
        self.set_view(
            self.view._replace(span=span, right=max(right, 1 + span), follow=right >= last)
        )

    def move_cursor(self, by: int) -> None:
        """Move the read-out by ``by`` dots' worth of steps, and the view with it."""
        last = self.last_step
        if not last:
            return
        x0, x1 = self.bounds()
        stride = max(1, round((x1 - x0) / max(1, self.size.width - AXIS - 1)))
        start = self.view.cursor or last
        cursor = max(1, min(last, start + by * stride if self.view.cursor else start))
        view = self.view._replace(cursor=cursor)
        if view.span and not x0 <= cursor <= x1:
            right = cursor + view.span / 2
            view = view._replace(right=right, follow=right >= last)
        self.set_view(view)

    def next_smoothing(self) -> float:
        now = SMOOTHINGS.index(self.view.smoothing)
        self.set_view(self.view._replace(smoothing=SMOOTHINGS[(now + 1) % len(SMOOTHINGS)]))
        return self.view.smoothing

    # --- drawing ----------------------------------------------------------------------------

    def _build(self, width: int, height: int) -> list[Parts]:
        xs, ys = self.loss.view()
        hx, hy = self.heldout.view()
        plot_width, plot_height = width - AXIS - 1, height - 3
        if not len(xs):
            return self._empty(width, height)
        x0, x1 = self.bounds()
        frame = frame_for([(xs, ys), (hx, hy)], x0, x1, self.view.log)
        smooth = ema(ys, self.view.smoothing) if self.view.smoothing else ys
        raw_rows = braille(rasterise(xs, ys, frame, plot_width, plot_height))
        smooth_rows = braille(rasterise(xs, smooth, frame, plot_width, plot_height))
        marks = self._marks(hx, hy, frame, plot_width, plot_height)
        labels = self._y_labels(frame, plot_height)
        cursor = self._column(self.view.cursor, frame, plot_width) if self.view.cursor else -1
        rows: list[Parts] = [self._legend(xs, ys, smooth, width)]
        for y in range(plot_height):
            cells = self._cells(raw_rows[y], smooth_rows[y], marks.get(y, set()), cursor)
            label = labels.get(y, "")
            axis = "┤" if label else "│"
            rows.append(((f"{label:>{AXIS - 1}} ", "quiet"), (axis, "rule"), *cells))
        rows += self._x_axis(frame, plot_width, xs, ys)
        return rows

    def _cells(self, raw: str, smooth: str, marks: set[int], cursor: int) -> list[tuple[str, str]]:
        """One row, painter's order: raw, smoothed, held-out marks, cursor. Cells are opaque."""
        out: list[tuple[str, str]] = []
        for x, (low, high) in enumerate(zip(raw, smooth, strict=True)):
            if x in marks:
                cell = (HELDOUT, "curve-heldout")
            elif x == cursor:
                cell = (high if high != " " else "│", "read" if high != " " else "text")
            elif high != " ":
                cell = (high, "curve")
            else:
                cell = (low, "curve-raw" if low != " " else "")
            if out and out[-1][1] == cell[1]:
                out[-1] = (out[-1][0] + cell[0], cell[1])
            else:
                out.append(cell)
        return out

    def _marks(
        self, xs: Floats, ys: Floats, frame: Frame, width: int, height: int
    ) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        drawn = frame.y_of(ys)
        last = width + MARK_GAP
        for x, y in zip(xs[::-1].tolist(), drawn[::-1].tolist(), strict=True):
            column = self._column(x, frame, width)
            if frame.x0 <= x <= frame.x1 and math.isfinite(y) and column <= last - MARK_GAP:
                last = column
                row = round((frame.y1 - y) / ((frame.y1 - frame.y0) or 1.0) * (height * 4 - 1)) // 4
                if 0 <= row < height:
                    found.setdefault(row, set()).add(column)
        return found

    @staticmethod
    def _column(x: float, frame: Frame, width: int) -> int:
        share = (x - frame.x0) / ((frame.x1 - frame.x0) or 1.0)
        return int((share * (width * 2 - 1) + 0.5) // 2)

    @staticmethod
    def _y_labels(frame: Frame, height: int) -> dict[int, str]:
        labels: dict[int, str] = {}
        make = log_ticks if frame.log else ticks
        values = make(frame.y0, frame.y1, max(2, height // 3))
        texts = [f"{10**value:.2g}" for value in values] if frame.log else tick_labels(values)
        for value, text in zip(values, texts, strict=True):
            row = round((frame.y1 - value) / ((frame.y1 - frame.y0) or 1.0) * (height * 4 - 1)) // 4
            if 0 <= row < height:
                labels[row] = text
        return labels

    def _x_axis(self, frame: Frame, width: int, xs: Floats, ys: Floats) -> list[Parts]:
        line = ["─"] * width
        text = [" "] * (width + AXIS + 1)
        for value in ticks(frame.x0, frame.x1, max(2, width // 12)):
            if value != int(value):
                continue
            column = self._column(value, frame, width)
            label = str(int(value))
            start = min(AXIS + 1 + column - len(label) // 2, len(text) - len(label))
            if start >= AXIS - 1 and all(cell == " " for cell in text[start - 1 : start]):
                line[min(column, width - 1)] = "┬"
                text[start : start + len(label)] = label
        missing = xs[~np.isfinite(ys)]
        columns = {
            self._column(x, frame, width) for x in missing.tolist() if frame.x0 <= x <= frame.x1
        }
        marked = [(("×", "bad") if x in columns else (cell, "rule")) for x, cell in enumerate(line)]
        return [
            ((" " * AXIS, ""), ("└", "rule"), *marked),
            (("".join(text), "quiet"),),
        ]

    def _legend(self, xs: Floats, ys: Floats, smooth: Floats, width: int) -> Parts:
        view = self.view
        parts: list[tuple[str, str]] = [(" loss", "strong")]
        if view.cursor:
            index = min(int(np.searchsorted(xs, view.cursor)), len(xs) - 1)
            text = f"  step {int(xs[index])}: {ys[index]:.4f}"
            if view.smoothing:
                text += f"  smoothed {smooth[index]:.4f}"
            parts.append((text, "accent"))
        else:
            parts.append((" (nats per trained token)" if width > 76 else "", "quiet"))
            if view.smoothing:
                parts += [("  ━ ", "curve"), (f"smoothed {view.smoothing:g}", "quiet")]
                parts += [("  ┄ ", "curve-raw"), ("raw", "quiet")]
            else:
                parts += [("  ━ ", "curve"), ("raw", "quiet")]
            if len(self.heldout):
                parts += [(f"  {HELDOUT} ", "curve-heldout"), ("held-out", "quiet")]
            if not np.isfinite(ys).all():
                parts += [("  × ", "bad"), ("NaN", "quiet")]
        if view.log:
            parts.append(("  log", "accent"))
        if view.span:
            parts.append(("  zoomed" + (", following" if view.follow else ""), "accent"))
        return tuple(parts)

    def _empty(self, width: int, height: int) -> list[Parts]:
        rows: list[Parts] = [((" loss", "strong"),)]
        lines = self.hint.splitlines()
        top = max(0, (height - 3 - len(lines)) // 2)
        for y in range(height - 3):
            row: list[tuple[str, str]] = [(" " * AXIS, ""), ("│", "rule")]
            if top <= y < top + len(lines):
                text = lines[y - top]
                pad = max(0, (width - AXIS - 1 - len(text)) // 2)
                row.append((" " * pad + text, "quiet"))
            rows.append(tuple(row))
        rows.append(((" " * AXIS, ""), ("└" + "─" * (width - AXIS - 1), "rule")))
        return rows

    def plain(self) -> str:
        """The curve as tab-separated numbers: what one wants of a chart in a clipboard."""
        xs, ys = self.loss.view()
        lines = [f"{int(x)}\t{y:.6g}" for x, y in zip(xs.tolist(), ys.tolist(), strict=True)]
        return "\n".join(["step\tloss", *lines])
