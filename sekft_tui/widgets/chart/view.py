"""Which part of the curves is visible, and how keys change that: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sekft_tui.widgets.chart.plot import AXES, Axis, Board

SMOOTHINGS = (0.0, 0.6, 0.9, 0.97)


class View(NamedTuple):
    """What the user chose to see.

    ``metric`` is the large panel. ``span`` is the width of the view (0 = all) and ``right`` its end
    if it does not follow the newest step, in units of ``axis``. ``cursor`` is a step, 0 = none.
    """

    metric: str = "loss"
    axis: Axis = "step"
    log: bool = False
    smoothing: float = 0.6
    span: float = 0.0
    right: float = 0.0
    follow: bool = True
    cursor: int = 0


def kept(view: View) -> dict[str, str]:
    """What of ``view`` is for every run, as texts that :func:`restored` reads."""
    start = View()
    texts = {
        "metric": view.metric,
        "axis": view.axis,
        "log": "yes" if view.log else "",
        "smoothing": f"{view.smoothing:g}",
    }
    usual = {"metric": start.metric, "axis": start.axis, "smoothing": f"{start.smoothing:g}"}
    return {name: text for name, text in texts.items() if text != usual.get(name, "")}


def restored(texts: Mapping[str, str]) -> View:
    """The view of an earlier session; what is no choice any more is as usual."""
    start = View()
    smoothing = {f"{weight:g}": weight for weight in SMOOTHINGS}
    return View(
        metric=texts.get("metric", start.metric),
        axis=next((axis for axis in AXES if axis == texts.get("axis")), start.axis),
        log=texts.get("log") == "yes",
        smoothing=smoothing.get(texts.get("smoothing", ""), start.smoothing),
    )


def window(view: View, board: Board) -> tuple[float, float]:
    """First and last place in view."""
    first, last = _extent(board)
    if not view.span:
        room = first + (last - first) * 4  # a far-off end would leave no room for the curve
        return first, max(last, min(board.end, room))
    right = last if view.follow else min(view.right, last)
    right = max(right, first + view.span)
    return right - view.span, right


def _extent(board: Board) -> tuple[float, float]:
    first = 1.0 if board.axis == "step" else 0.0
    if board.axis == "rate" and len(board.places):  # logarithms do not begin at 0
        first = float(board.places[0])
    return first, max(board.last, first + 1.0)


def zoomed(view: View, board: Board, factor: float) -> View:
    """Zoom: a ``factor`` below 1 shows less, around the cursor or else at the end."""
    first, last = _extent(board)
    x0, x1 = window(view, board)
    least = 4.0 if board.axis == "step" else (last - first) / max(1.0, len(board.steps) / 4)
    span = max(least, (min(x1, last) - x0) * factor)
    if span >= last - first:
        return view._replace(span=0.0, follow=True)
    middle = board.place(view.cursor) if view.cursor else last
    return _ending(view._replace(span=span), board, middle + span / 2)


def panned(view: View, board: Board, share: float) -> View:
    """Move the window by a share of its width."""
    if not view.span:
        return view
    _, right = window(view, board)
    return _ending(view, board, right + share * view.span)


def _ending(view: View, board: Board, right: float) -> View:
    first, last = _extent(board)
    right = max(first + view.span, min(right, last))
    return view._replace(right=right, follow=right >= last)


def pointed(view: View, board: Board, step: int) -> View:
    """Put the cursor at ``step``, and bring it into view."""
    if not len(board.steps):
        return view
    step = int(max(board.steps[0], min(step, board.steps[-1])))
    view = view._replace(cursor=step)
    place = board.place(step)
    x0, x1 = window(view, board)
    if view.span and not x0 <= place <= x1:
        return _ending(view, board, place + view.span / 2)
    return view


def moved(view: View, board: Board, cells: int, width: int) -> View:
    """Move the cursor by so many cells of a panel ``width`` wide; the first key only shows it."""
    if not len(board.steps):
        return view
    if not view.cursor:
        return pointed(view, board, int(board.steps[-1]))
    x0, x1 = window(view, board)
    place = board.place(view.cursor) + cells * (x1 - x0) / max(1, width)
    step = board.step(place)
    if step == view.cursor:  # several cells to a step
        step += 1 if cells > 0 else -1
    return pointed(view, board, step)


def smoother(view: View) -> View:
    """The next smoothing; after the strongest comes none."""
    now = SMOOTHINGS.index(view.smoothing)
    return view._replace(smoothing=SMOOTHINGS[(now + 1) % len(SMOOTHINGS)])


def next_axis(view: View) -> View:
    """The next unit of the x axis; the whole of it is in view."""
    axis = AXES[(AXES.index(view.axis) + 1) % len(AXES)]
    return view._replace(axis=axis, span=0.0, right=0.0, follow=True)


def next_metric(view: View, board: Board, by: int) -> View:
    """The next panel becomes the large one."""
    keys = [plot.key for plot in board.plots]
    if not keys:
        return view
    now = keys.index(view.metric) if view.metric in keys else 0
    return view._replace(metric=keys[(now + by) % len(keys)])
