"""A line of a document as styled text: the one drawing that terminal and pictures share.

A style is a name; what it looks like is the theme's. Trained and masked are told apart by a bar in
the gutter and by weight as well as by hue, so that nothing is lost without colours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sekft_engine.core.cells import cells, clip
from sekft_engine.maskview.cells import LINE_END, TAB, shown
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.facts import BLOCKS, WORSE, level
from sekft_engine.maskview.layout import LinePiece, MaskLayout, MaskLine, View, control_name

#: A line as pieces of (text, style name).
Parts = tuple[tuple[str, str], ...]
_WHITE = re.compile(r" +|\t|\n|[^\S \t\n]")


class Overlay(NamedTuple):
    """A stretch of the text drawn in another style: a match, the token under the cursor."""

    start: int
    end: int
    style: str


def style_of(doc: Document, token: int, edges: bool) -> str:
    """The style of a token, by what it is."""
    trained = bool(doc.mask[token])
    if doc.content[token]:
        style = "trained" if trained else "masked"
    else:
        style = "special-trained" if trained else "special"
    return f"{style}-edge" if edges and token % 2 else style


def paint(
    layout: MaskLayout,
    line: MaskLine,
    lane: int = 0,
    overlays: Sequence[Overlay] = (),
    cursor: int = -1,
    *,
    edges: bool = False,
) -> Parts:
    """One screen row of ``line`` (not a head): its text, or what stands under it.

    Args:
        lane: 0 = the text; below it ids, labels, or the losses before and after.
        overlays: sorted, without overlap.
        cursor: a token that is drawn as the chosen one.
        edges: tell each token from the next, whatever the view.
    """
    view = layout.view
    bar = ("▌", "trained") if line.trained else (" ", "")
    if lane:
        return (bar, *_lane(layout.doc, line, view, lane, cursor))
    if view in ("ids", "labels"):
        return (bar, (" ", ""), *_columns(layout, line, overlays, cursor))
    edges = edges or view == "edges"
    return (bar, (" ", ""), *_text(layout, line, overlays, cursor, edges))


def joined(parts: Iterable[tuple[str, str]]) -> Parts:
    """The same with neighbours of one style in one piece."""
    out: list[tuple[list[str], str]] = []
    for text, style in parts:
        if out and out[-1][1] == style:
            out[-1][0].append(text)
        elif text:
            out.append(([text], style))
    return tuple(("".join(texts), style) for texts, style in out)


def _text(
    layout: MaskLayout, line: MaskLine, overlays: Sequence[Overlay], cursor: int, edges: bool
) -> Iterator[tuple[str, str]]:
    doc, marks = layout.doc, layout.view == "marks"
    for piece in line.pieces:
        style = style_of(doc, piece.token, edges)
        if piece.token == cursor:
            style = "token"
        if marks and doc.control[piece.token]:
            name = control_name(doc.text[piece.start : piece.end])
            yield clip(name, layout.room), style
            continue
        for low, high, over in _cut(piece, overlays):
            raw = doc.text[low:high]
            quiet = style in ("masked", "special") and not over
            if marks:
                yield from _marked(raw, over or style)
            else:
                raw = raw.removesuffix("\n") if quiet and not edges else raw
                yield shown(raw), over or style


def _cut(piece: LinePiece, overlays: Sequence[Overlay]) -> Iterator[tuple[int, int, str]]:
    """The parts of a piece by the overlay that lies on them; '' = none."""
    at = piece.start
    for overlay in overlays:
        if overlay.end <= at or overlay.start >= piece.end:
            continue
        if overlay.start > at:
            yield at, overlay.start, ""
        end = min(overlay.end, piece.end)
        yield max(at, overlay.start), end, overlay.style
        at = end
    if at < piece.end:
        yield at, piece.end, ""


def _marked(raw: str, style: str) -> Iterator[tuple[str, str]]:
    """Text whose white space is written out, in a style of its own."""
    at = 0
    for found in _WHITE.finditer(raw):
        yield shown(raw[at : found.start()]), style
        yield _mark(found[0]), style if style.startswith(("match", "token")) else "mark"
        at = found.end()
    yield shown(raw[at:]), style


def _mark(white: str) -> str:
    if white[0] == " ":
        return "·" * len(white)
    if white == "\t":
        return "⇥".ljust(TAB)
    if white == "\n":
        return LINE_END
    drawn = shown(white)
    return "⍽".ljust(cells(drawn)) if drawn == white else drawn


# --- columns: a token with its id or label under it ------------------------------------------


def under(doc: Document, piece: LinePiece, view: View) -> str:
    """What stands under a piece; nothing under all but the first of a token."""
    if doc.ids is None or piece.start != doc.start(piece.token):
        return ""
    if view == "labels" and not doc.mask[piece.token]:
        return "·"
    return str(int(doc.ids[piece.token]))


def _column(doc: Document, piece: LinePiece, view: View, text: str) -> int:
    """The cells of a piece's column, the gap after it included."""
    below = cells(under(doc, piece, view))
    gap = view == "ids" or bool(doc.mask[piece.token])
    return max(cells(text), below, 1) + gap if gap else max(cells(text), below)


def _columns(
    layout: MaskLayout, line: MaskLine, overlays: Sequence[Overlay], cursor: int
) -> Iterator[tuple[str, str]]:
    doc = layout.doc
    for piece in line.pieces:
        style = "token" if piece.token == cursor else style_of(doc, piece.token, edges=True)
        text = shown(doc.text[piece.start : piece.end])
        for low, high, over in _cut(piece, overlays):
            yield shown(doc.text[low:high]), over or style
        yield " " * (_column(doc, piece, layout.view, text) - cells(text)), ""


def _lane(
    doc: Document, line: MaskLine, view: View, lane: int, cursor: int
) -> Iterator[tuple[str, str]]:
    if view == "loss":
        yield ("b" if lane == 1 else "a"), "quiet"
        yield from _losses(doc, line, lane)
        return
    yield " ", ""
    for piece in line.pieces:
        below = under(doc, piece, view)
        room = _column(doc, piece, view, shown(doc.text[piece.start : piece.end]))
        style = "label" if doc.mask[piece.token] else "quiet"
        if piece.token == cursor and below:
            yield below, "token"
            yield " " * (room - len(below)), ""
        else:
            yield below.ljust(room), style


def _losses(doc: Document, line: MaskLine, lane: int) -> Iterator[tuple[str, str]]:
    if doc.losses is None:
        return
    before, after = doc.losses.before, doc.losses.after
    for piece in line.pieces:
        room = cells(shown(doc.text[piece.start : piece.end]))
        loss = float((before if lane == 1 else after)[piece.token])
        step = level(loss) if doc.mask[piece.token] else None
        if step is None:
            yield ("?" if doc.mask[piece.token] else " ").ljust(room)[:room], "quiet"
            continue
        worse = lane == 2 and loss > float(before[piece.token]) + WORSE
        bar = (BLOCKS[step] * max(1, room - 1))[:room]
        yield bar, "worse" if worse and room == 1 else f"loss-{step}"
        if room > 1:
            yield ("!" if worse else " "), ("worse" if worse else "")
