"""The token view: shows token by token what the model learns and what it only reads.

Trained text is bold, coloured and has a bar in the gutter; masked text is dim. Both can be seen
without colour. Control tokens (which no content can forge) have a hue of their own, and are
reversed if they are trained. Lines are made on demand, however long the document is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from textual import events

from sekft_engine.core.errors import BadInput
from sekft_engine.maskview import lines as token_lines
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.layout import (
    GUTTER,
    MODES,
    VIEWS,
    MaskLayout,
    MaskLine,
    Mode,
    View,
    views_of,
)
from sekft_engine.maskview.paint import Overlay, paint
from sekft_engine.maskview.search import Matches
from sekft_tui.text import Parts, visible_lines
from sekft_tui.widgets.token_cursor import Cursor, Place
from sekft_tui.widgets.token_motion import TokenMotion


class Span(NamedTuple):
    """Text to copy, exactly as it was recorded, and a name for it."""

    what: str
    text: str


class TokenView(TokenMotion):
    """Draws a :class:`Document`, or a message if there is none."""

    DEFAULT_CSS = "TokenView { scrollbar-gutter: stable; }"

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.mode: Mode = "all"
        self.matches = Matches()
        self._wanted: View = "context"
        self._sheet: tuple[Parts, ...] = ()
        self._message = ""
        #: Kept over layouts: the top line; whether the cursor is on a head; whether it is in view.
        self._kept: tuple[Place, bool, bool] | None = None
        self._anchor = -1
        self._width = 0

    # --- what is shown ----------------------------------------------------------------------

    def show(
        self,
        doc: Document | None,
        message: str = "",
        marks: set[int] | None = None,
        *,
        keep: bool = False,
    ) -> None:
        """Show ``doc``; if it is None, ``message``.

        ``keep``: it is the same trajectory, more complete, so the place and the search stay.
        """
        self.marks = set() if marks is None else marks
        if keep and doc is not None and self.doc is not None:
            at, needle, number = self._cursor.at, self.matches.needle, self.matches.at
            self._keep_place()
            self.doc = doc
            self._cursor.token, self._cursor.at = doc.token_at(at), at
            self.matches = Matches(doc.text, needle)
            self.matches.at = min(number, len(self.matches) - 1)
            self._layout = None
            self._lay_out()
            return
        self.doc = doc
        self.matches = Matches()
        self._message = message
        self._cursor = Cursor()
        self._layout = self._kept = None
        self._scroll(0)
        self._lay_out()

    def _lay_out(self) -> None:
        """Lay out for the present width and view; the top line and the cursor keep their place."""
        if not self.size:
            self._width = 0  # not visible yet; the size comes with the first resize
            return
        self._keep_place()
        self._width = self.content_width
        self._layout, self._sheet = None, ()
        if self.doc is None:
            lines = visible_lines(self._message) if self._message else ()
            self._sheet = tuple(((" " + line, "quiet"),) for line in lines)
        elif self.view_name == "certificate":
            self._sheet = token_lines.certificate(self.doc, self._width)
        else:
            self._layout = MaskLayout(self.doc, self._width, self.view_name, self.mode)
            if not len(self._layout):
                self._layout = None
                self._sheet = ((), ((f" no token here is {self.mode}", "quiet"),))
        self.relines(len(self._sheet) if self._layout is None else self._layout.rows)
        if self._layout is None:
            self._scroll(0)
        else:
            self._restore_place(self._layout)
        self.post_message(self.Looked())

    def _keep_place(self) -> None:
        layout = self._layout
        if layout is not None and len(layout):
            row = round(self.scroll_y)
            if self._kept is None or row != self._anchor:  # else it is the kept place
                top = Place.of(layout, layout.at_row(row)[0])
            else:
                top = self._kept[0]
            self._kept = (top, layout.is_head(self._cursor.line), self._cursor_in_view())

    def _restore_place(self, layout: MaskLayout) -> None:
        if self._kept is None:
            self._cursor.on_line(layout, 0)
            return
        top, head, seen = self._kept
        self._cursor.restore(layout, head)
        if len(layout):
            row = layout.row_of(top.line(layout))
            self._scroll(row)
        if seen:
            self.show_cursor()
        self._anchor = round(self.scroll_y)

    def on_resize(self) -> None:
        if self.content_width != self._width:
            self._lay_out()

    @property
    def view_name(self) -> View:
        """The present view; "context" if this document does not have the wanted one."""
        return self._wanted if self._wanted in self.views else "context"

    @property
    def views(self) -> tuple[View, ...]:
        """The views of this document, in the order of the key."""
        return views_of(self.doc) if self.doc is not None else ("context",)

    @property
    def wanted(self) -> View:
        """The view that was chosen, also where this document does not have it."""
        return self._wanted

    def restore(self, view: str, mode: str) -> None:
        """Choose a view and a mode of an earlier session, if there are such."""
        self._wanted = next((name for name in VIEWS if name == view), self._wanted)
        self.mode = next((name for name in MODES if name == mode), self.mode)

    def set_view(self, name: View) -> None:
        self._wanted = name
        self._lay_out()

    def set_plain(self) -> None:
        """Show all tokens, in the view with which everyone begins."""
        self.mode = MODES[0]
        self.set_view(VIEWS[0])

    def next_view(self, by: int = 1) -> View:
        """Go to the next of :attr:`views`; after the last comes the first."""
        views = self.views
        self.set_view(views[(views.index(self.view_name) + by) % len(views)])
        return self.view_name

    def next_mode(self) -> Mode:
        """Go on to all tokens, only trained or only masked ones."""
        self.mode = MODES[(MODES.index(self.mode) + 1) % len(MODES)]
        self._lay_out()
        return self.mode

    def toggle_mark(self) -> None:
        """Mark the turn under the cursor, or remove its mark."""
        self.marks ^= {self.turn}
        self.redraw()

    # --- searching --------------------------------------------------------------------------

    def find(self, needle: str, *, last: bool = False) -> int:
        """Highlight ``needle`` everywhere and go to the first match from the cursor on, or with
        ``last`` to the last one; returns the number of matches."""
        self.matches = Matches(self.doc.text if self.doc is not None else "", needle)
        self.redraw()
        if last:
            self.matches.at = len(self.matches) - 1
        if len(self.matches) if last else self.matches.from_place(self._cursor.at):
            self._to_place(self.matches.place)
        self.post_message(self.Looked())
        return len(self.matches)

    def find_next(self, by: int) -> bool:
        """Go to the next or previous match; False if this document has no further one."""
        if not self.matches.step(by):
            return False
        self.redraw()
        return self._to_place(self.matches.place)

    @property
    def found(self) -> str:
        """The number of the match, such as "3 of 17"; "" = there is no search."""
        if not self.matches.needle:
            return ""
        if not len(self.matches):
            return "not here"
        return f"{self.matches.at + 1:,} of {len(self.matches):,}"

    def to_blamed(self) -> bool:
        """Go to the place that is the reason for dropping the trajectory, if it is known."""
        spot = self.doc.blamed if self.doc is not None else None
        return spot is not None and self._to_place(spot.start)

    def _to_place(self, at: int) -> bool:
        """Go to the token of the character ``at``; a mode or view that hides it is left."""
        if self.doc is None:
            return False
        token = self.doc.token_at(at)
        if self._layout is None or not self._layout.shows(token):
            self.mode = "all"
            self.set_view("context" if self._layout is None else self._wanted)
        layout = self._layout
        if layout is not None:
            self._go(lambda: self._cursor.on_token(layout, token, at))
        return layout is not None

    # --- copying ----------------------------------------------------------------------------

    def span_text(self) -> Span:
        """The turn under the cursor, exactly as it was recorded."""
        doc = self.doc
        if doc is None or not len(doc):
            return Span("message", self._message)
        info = doc.turn_info(self.turn)
        return Span(
            f"{'command' if info.command else 'turn'} {self.turn + 1}", doc.turn_text(self.turn)
        )

    def plain(self) -> str:
        """The turn under the cursor, for copying; the certificate if that is shown."""
        if self._sheet:
            return super().plain()
        return self.span_text().text

    def whole(self) -> str:
        """The whole document as it was rendered."""
        return self.doc.text if self.doc is not None else self._message

    def exporter(self) -> Callable[[Path], None]:
        """A function that writes the present view to a path, as HTML or SVG by its suffix, and may
        be called on another thread."""
        if self.doc is None:
            raise BadInput("nothing is shown", mend="choose a trajectory first")
        from sekft_engine.maskview.export import export

        return partial(
            export, self.doc, view=self.view_name, width=max(40, self._width), mode=self.mode
        )

    # --- legends ----------------------------------------------------------------------------

    def statistics(self, width: int) -> Parts:
        """Tokens, trained, position, terminal, length against the limit, in ``width`` cells."""
        if self.doc is None:
            return ()
        layout = self._layout
        share = None
        if layout is not None:
            share = layout.row_of(self._cursor.line) / max(1, layout.rows - 1)
        return token_lines.statistics(self.doc, share, width)

    def readout(self, width: int) -> Parts:
        """The token under the cursor."""
        return token_lines.readout(self.doc, self.token, width) if self.doc is not None else ()

    def legend(self, width: int) -> Parts:
        """The legend of this view, and its name."""
        if self.doc is None:
            return ()
        return token_lines.legend(self.view_name, self.mode, self.views, width)

    # --- drawing ----------------------------------------------------------------------------

    def line(self, y: int, width: int) -> Parts:
        if self._layout is None:
            return self._sheet[y] if y < len(self._sheet) else ()
        layout = self._layout
        number, lane = layout.at_row(y)
        if layout.is_head(number):
            turn = layout.turn_of(number)
            return token_lines.head(
                layout.doc,
                turn,
                width,
                current=turn == self.turn,
                marked=turn in self.marks,
                losses=layout.view == "loss",
            )
        line = layout.line(number)
        here = number == self._cursor.line and self.has_focus and layout.doc.tokenised
        chosen = self._cursor.token if here else -1
        return paint(layout, line, lane, self._overlays(line), chosen)

    def _overlays(self, line: MaskLine) -> list[Overlay]:
        if self.doc is None or not line.pieces:
            return []
        start, end = line.pieces[0].start, line.pieces[-1].end
        found = self.matches.within(start, end)
        if not found and self.doc.blamed is not None:
            return [Overlay(*self.doc.blamed, "blame")]
        return [Overlay(a, b, "match-now" if now else "match") for a, b, now in found]

    def cache_key(self, y: int) -> Hashable:
        layout = self._layout
        if layout is None:
            return None
        number, _ = layout.at_row(y)
        if layout.is_head(number):
            return number == self._cursor.line, layout.turn_of(number) == self.turn
        return self._cursor.token if number == self._cursor.line else -1

    def line_style(self, y: int) -> str:
        layout = self._layout
        if layout is None or layout.at_row(y)[0] != self._cursor.line:
            return ""
        return "cursor" if self.has_focus else "cursor-off"

    def on_click(self, event: events.Click) -> None:
        layout = self._layout
        if layout is None or not len(layout):
            return
        line, _ = layout.at_row(min(event.y + round(self.scroll_y), layout.rows - 1))
        self._cursor.column = max(0, event.x - GUTTER)
        self._go(lambda: self._cursor.on_line(layout, line))
