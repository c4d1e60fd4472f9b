"""The lines of a document in one view at one width: where each begins, how high it is.

A million tokens are a hundred thousand lines; a few numbers of each are stored, and a line's
pieces are made when it is drawn.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from sekft_engine.core.cells import cells
from sekft_engine.maskview.cells import LINE_END, PER_CELL, shown
from sekft_engine.maskview.document import Document
from sekft_engine.maskview.wrap import Pieces, cut, lines

Mode = Literal["all", "trained", "masked"]
MODES: tuple[Mode, ...] = ("all", "trained", "masked")
View = Literal["context", "edges", "ids", "marks", "labels", "loss", "certificate"]
VIEWS: tuple[View, ...] = ("context", "edges", "ids", "marks", "labels", "loss", "certificate")
#: Cells before the text of a line: the bar that tells trained lines.
GUTTER = 2
_POWERS = np.array([10**power for power in range(1, 10)])

Ints = npt.NDArray[np.signedinteger[Any]]


def views_of(doc: Document) -> tuple[View, ...]:
    """The views that make sense of ``doc``."""
    wanted: dict[View, bool] = {
        "ids": doc.tokenised, "labels": doc.tokenised, "loss": doc.losses is not None,
        "edges": doc.tokenised,
    }  # fmt: skip
    return tuple(view for view in VIEWS if wanted.get(view, True))


class LinePiece(NamedTuple):
    """``text[start:end]`` of the document, all or a part of ``token``."""

    token: int
    start: int
    end: int


class MaskLine(NamedTuple):
    """A line: the head of ``turn``, or pieces of its tokens. ``trained``: one of them is."""

    head: bool
    turn: int
    pieces: tuple[LinePiece, ...] = ()
    trained: bool = False


class MaskLayout:
    """Lines and the screen rows that they take, from the top.

    Args:
        doc: what is laid out.
        width: cells of a row, gutter included.
        view: a view that shows tokens (not the certificate).
        mode: all tokens, or only the trained or the masked ones.
    """

    def __init__(self, doc: Document, width: int, view: View = "context", mode: Mode = "all"):
        self.doc = doc
        self.view = view
        self.mode = mode
        self.width = width
        self.room = max(8, width - GUTTER - 1)
        #: Lines made so far; a view of any length makes as many as are looked at.
        self.made = 0
        pieces = cut(doc.text, doc.ends, self.room - (view in ("ids", "labels")))
        if mode != "all":
            pieces = pieces.only(doc.mask[pieces.token] == (mode == "trained"))
        turn = doc.turn[pieces.token]
        ends = pieces.line.copy()
        ends[:-1] |= turn[1:] != turn[:-1]
        first = lines(self._widths(pieces), ends, self.room)
        self._set(pieces, first, turn)

    def _widths(self, pieces: Pieces) -> Ints:
        """The width of each piece with what stands under it."""
        doc, width = self.doc, pieces.width
        if self.view == "marks" and doc.tokenised:
            names = np.flatnonzero(doc.control[pieces.token])
            texts = [doc.text[pieces.start[k] : pieces.end[k]] for k in names.tolist()]
            known = {text: cells(control_name(text)) for text in set(texts)}
            width = width.copy()
            width[names] = [min(known[text], self.room) * PER_CELL for text in texts]
        if self.view not in ("ids", "labels") or doc.ids is None:
            return width
        column = -(-width // PER_CELL)
        ids = doc.ids[pieces.token]
        digits = np.searchsorted(_POWERS, ids, side="right").astype(np.int32) + 1
        opens = np.concatenate([np.ones(1, dtype=np.bool_), np.diff(pieces.token) > 0])
        digits = np.where(opens[: len(digits)], digits, 1)
        if self.view == "ids":
            return np.asarray((np.maximum(column, digits) + 1) * PER_CELL)
        trained = doc.mask[pieces.token]
        return np.asarray(np.where(trained, np.maximum(column, digits) + 1, column) * PER_CELL)

    def _set(self, pieces: Pieces, first: Ints, turn: npt.NDArray[np.int32]) -> None:
        count = len(first)
        last = np.append(first[1:], len(pieces.token))[:count] - 1
        turns = turn[first]
        marked = np.zeros(len(self.doc) + 1, dtype=np.int32)
        np.cumsum(self.doc.mask, out=marked[1:])
        opens, closes = pieces.token[first], pieces.token[last]
        trained = marked[closes + 1] > marked[opens]
        if self.mode == "masked":
            trained[:] = False
        heads = np.flatnonzero(np.diff(turns, prepend=-1))
        at = heads  # each head stands before the first line of its turn
        self._head = np.insert(np.zeros(count, dtype=np.bool_), at, True)
        self._token = np.insert(opens, at, opens[at]).astype(np.int32)
        self._last = np.insert(closes, at, opens[at]).astype(np.int32)
        self._start = np.insert(pieces.start[first], at, pieces.start[first][at]).astype(np.int32)
        self._end = np.insert(pieces.end[last], at, pieces.start[first][at]).astype(np.int32)
        self._trained = np.insert(trained, at, False)
        self._heads = np.flatnonzero(self._head)
        height = np.ones(len(self._head), dtype=np.int32)
        if self.view in ("ids", "labels"):
            height[~self._head] = 2
        elif self.view == "loss":
            height[self._trained] = 3
        self._row = np.concatenate([np.zeros(1, dtype=np.int32), np.cumsum(height)])

    # --- lines and rows ---------------------------------------------------------------------

    def __len__(self) -> int:
        """The number of lines."""
        return len(self._head)

    @property
    def rows(self) -> int:
        """The number of screen rows."""
        return int(self._row[-1])

    def at_row(self, row: int) -> tuple[int, int]:
        """The line at a screen row, and which of its rows that is."""
        line = int(np.searchsorted(self._row, row, side="right")) - 1
        line = max(0, min(line, len(self) - 1))
        return line, row - int(self._row[line])

    def row_of(self, line: int) -> int:
        return int(self._row[line])

    def height(self, line: int) -> int:
        return int(self._row[line + 1] - self._row[line])

    def turn_of(self, line: int) -> int:
        return int(self.doc.turn[self._token[line]])

    def is_head(self, line: int) -> bool:
        return bool(self._head[line])

    def token_of(self, line: int) -> int:
        """The first token of a line; of a head, its turn's first that is shown."""
        return int(self._token[line])

    def start_of(self, line: int) -> int:
        """The first character of a line."""
        return int(self._start[line])

    def line(self, line: int) -> MaskLine:
        """The line with its pieces."""
        self.made += 1
        turn = self.turn_of(line)
        if self._head[line]:
            return MaskLine(True, turn)
        doc = self.doc
        low, high = int(self._start[line]), int(self._end[line])
        first, last = int(self._token[line]), int(self._last[line])
        ends = doc.ends[first : last + 1].tolist()
        shows = doc.mask[first : last + 1].tolist()
        start, out = doc.start(first), []
        for token, (end, trained) in enumerate(zip(ends, shows, strict=True), first):
            if self.mode == "all" or trained == (self.mode == "trained"):
                out.append(LinePiece(token, max(start, low), min(end, high)))
            start = end
        return MaskLine(False, turn, tuple(out), bool(self._trained[line]))

    # --- finding lines ----------------------------------------------------------------------

    def head_of(self, turn: int) -> int:
        """The head of ``turn``, or of the last shown one before it."""
        turns = self.doc.turn[self._token[self._heads]]
        at = int(np.searchsorted(turns, turn, side="right")) - 1
        return int(self._heads[max(0, at)])

    def head_beside(self, line: int, by: int) -> int:
        """The head ``by`` turns after the one of ``line``; the outermost where there is none."""
        at = int(np.searchsorted(self._heads, line, side="right")) - 1 + by
        return int(self._heads[max(0, min(at, len(self._heads) - 1))])

    def end_of_turn(self, line: int) -> int:
        """The line after the last of the turn of ``line``."""
        at = int(np.searchsorted(self._heads, line, side="right"))
        return int(self._heads[at]) if at < len(self._heads) else len(self)

    def line_of(self, token: int) -> int:
        """The line on which ``token`` begins; where it is not shown, the one before."""
        at = int(np.searchsorted(self._token, token, side="left"))
        while at < len(self) and self._token[at] == token and self._head[at]:
            at += 1
        starts = at < len(self) and self._token[at] == token
        if starts and (not at or self._start[at] <= self.doc.start(token)):
            return at
        return max(0, at - 1)

    def line_at(self, place: int) -> int:
        """The line that shows the character at ``place``; where it is not shown, the one before."""
        return max(0, int(np.searchsorted(self._start, place, side="right")) - 1)

    def shows(self, token: int) -> bool:
        return self.mode == "all" or bool(self.doc.mask[token]) == (self.mode == "trained")


#: Literals that are known under a name.
_NAMES = {
    "BOS": ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "[BOS]"),
    "EOS": ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "[EOS]"),
    "END OF TURN": ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|eot|>"),
    "TURN": ("<|im_start|>", "<start_of_turn>"),
    "HEADER": ("<|start_header_id|>",),
    "END OF HEADER": ("<|end_header_id|>",),
    "INSTRUCTION": ("[INST]",),
    "END OF INSTRUCTION": ("[/INST]",),
}
_NAMED = {literal: name for name, literals in _NAMES.items() for literal in literals}


def control_name(literal: str) -> str:
    """A control token as a mark that no content can look like by chance."""
    name = _NAMED.get(literal.strip())
    return f"⟦{name} {shown(literal)}⟧" if name else f"⟦{shown(literal)}⟧"


__all__ = [
    "GUTTER",
    "LINE_END",
    "MODES",
    "VIEWS",
    "LinePiece",
    "MaskLayout",
    "MaskLine",
    "Mode",
    "View",
]
