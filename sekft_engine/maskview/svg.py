"""A document as a picture: the lines that a terminal of that width shows, all of them."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from sekft_engine.core.cells import cells, fit
from sekft_engine.core.errors import BadInput
from sekft_engine.maskview.cells import shown
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.layout import MaskLayout, Mode, View
from sekft_engine.maskview.lines import certificate, head, legend, statistics
from sekft_engine.maskview.looks import LOOKS, picture_style
from sekft_engine.maskview.paint import Overlay, Parts, joined, paint

#: Rows that a picture may have; programs that show pictures give up somewhere above.
MOST_ROWS = 20_000
_CELL, _ROW, _SIZE, _PAD = 8.43, 19, 14, 16


def picture(doc: Document, view: View, mode: Mode, width: int) -> Iterator[str]:
    """The picture, in pieces.

    Raises:
        BadInput: it would have more than ``MOST_ROWS`` rows.
    """
    rows = list(_above(doc, view, mode, width))
    layout = None
    if view == "certificate":
        rows += certificate(doc, width)
    else:
        layout = MaskLayout(doc, width, view, mode)
        if layout.rows > MOST_ROWS:
            raise BadInput(
                f"{layout.rows:,} rows, a picture takes {MOST_ROWS:,}",
                where=doc.name,
                mend="export it as .html, or only the trained tokens",
            )
    count = len(rows) + (layout.rows if layout is not None else 0)
    wide, high = width * _CELL + 2 * _PAD, count * _ROW + 2 * _PAD
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:.0f}" height="{high}" '
        f'viewBox="0 0 {wide:.0f} {high}">\n<title>{escape(shown(doc.name))}</title>\n'
        f"<style>{picture_style()}\n"
        "text{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;"
        f"font-size:{_SIZE}px}}</style>\n"
        f'<rect class="ground" width="{wide:.0f}" height="{high}"/>\n'
    )
    for number, parts in enumerate(rows):
        yield from _row(parts, number)
    if layout is not None:
        yield from _lines(doc, layout, len(rows), width)
    yield "</svg>\n"


def _above(doc: Document, view: View, mode: Mode, width: int) -> Iterator[Parts]:
    """Name, figures and legend."""
    yield ((fit(" " + shown(doc.name), width), "strong"),)
    yield statistics(doc, None, width)
    yield legend(view, mode, (), width)
    yield ()


def _lines(doc: Document, layout: MaskLayout, at: int, width: int) -> Iterator[str]:
    overlays = [Overlay(*doc.blamed, "blame")] if doc.blamed is not None else []
    for number in range(len(layout)):
        line = layout.line(number)
        for lane in range(layout.height(number)):
            if line.head:
                parts = head(doc, line.turn, width, losses=layout.view == "loss")
            else:
                parts = paint(layout, line, lane, overlays)
            yield from _row(parts, at + layout.row_of(number) + lane)


def _row(parts: Parts, number: int) -> Iterator[str]:
    """One row: what lies behind the text, then the text, each part at its cell."""
    top, column = _PAD + number * _ROW, 0
    for text, style in joined(parts):
        size = cells(text)
        x, wide = _PAD + column * _CELL, size * _CELL
        column += size
        look = LOOKS.get(style, LOOKS["text"])
        if look.reverse or look.ground:
            yield (
                f'<rect class="on-{style}" x="{x:.1f}" y="{top}" width="{wide:.1f}" '
                f'height="{_ROW}"/>'
            )
        if look.underline:
            yield (
                f'<rect class="{style}" x="{x:.1f}" y="{top + 16}" width="{wide:.1f}" height="1"/>'
            )
        # White space around a text is not kept by every program, so the text begins after it.
        drawn = text.strip()
        if drawn:
            x += cells(text[: len(text) - len(text.lstrip())]) * _CELL
            yield (
                f'<text class="{style or "text"}" x="{x:.1f}" y="{top + 14}" '
                f'textLength="{cells(drawn) * _CELL:.1f}" lengthAdjust="spacingAndGlyphs" '
                f'xml:space="preserve">{escape(drawn)}</text>\n'
            )
