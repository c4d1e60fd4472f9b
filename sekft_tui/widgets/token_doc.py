"""A rendered trajectory as lines of tokens: pure data, no widget.

The token is the unit: what is trained and what is masked is decided per token, so a line is a list
of tokens and pieces of tokens, and wrapping prefers to break between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from rich.cells import cell_len, chop_cells

from sekft_tui.text import Parts, visible

Mode = Literal["all", "trained", "masked"]
MODES: tuple[Mode, ...] = ("all", "trained", "masked")
#: Shown where a token holds a line end; the line ends there.
LINE_END = "⏎"
GUTTER = 2


class Token(NamedTuple):
    """One token as drawn: raw ``text``, is it trained, a control token, of which turn."""

    text: str
    trained: bool
    special: bool
    turn: int


class TurnInfo(NamedTuple):
    """What the head line of a turn says. ``note`` e.g. an exit status."""

    command: bool
    tokens: int
    trained: int
    note: str = ""


class Piece(NamedTuple):
    token: int
    text: str


class Line(NamedTuple):
    """A drawn line: the head of turn ``turn``, or pieces of its tokens."""

    head: bool
    turn: int
    pieces: tuple[Piece, ...] = ()
    trained: bool = False


class TokenDoc:
    """The tokens of one trajectory and what is known of its turns."""

    def __init__(self, tokens: Sequence[Token], notes: Sequence[str] = ()) -> None:
        self.tokens = tuple(tokens)
        self.notes = tuple(notes)

    @cached_property
    def turns(self) -> tuple[TurnInfo, ...]:
        count = max((token.turn for token in self.tokens), default=-1) + 1
        totals, trained = [0] * count, [0] * count
        for token in self.tokens:
            totals[token.turn] += 1
            trained[token.turn] += token.trained
        return tuple(
            TurnInfo(
                trained[turn] > 0,
                totals[turn],
                trained[turn],
                self.notes[turn] if turn < len(self.notes) else "",
            )
            for turn in range(count)
        )

    @cached_property
    def trained(self) -> int:
        return sum(token.trained for token in self.tokens)

    def layout(self, width: int, mode: Mode = "all") -> tuple[Line, ...]:
        """Lines that fit ``width`` cells, gutter included."""
        room = max(4, width - GUTTER - 1)
        lines: list[Line] = []
        pieces: list[Piece] = []
        used, turn = 0, -1

        def flush() -> None:
            nonlocal used
            if pieces:
                trained = any(self.tokens[piece.token].trained for piece in pieces)
                lines.append(Line(False, turn, tuple(pieces), trained))
            pieces.clear()
            used = 0

        for index, token in enumerate(self.tokens):
            if (mode == "trained" and not token.trained) or (mode == "masked" and token.trained):
                continue
            if token.turn != turn:
                flush()
                turn = token.turn
                lines.append(Line(True, turn))
            rows = token.text.split("\n")
            for number, row in enumerate(rows):
                shown = visible(row)
                size = cell_len(shown)
                if used and used + size > room:
                    flush()
                for part in chop_cells(shown, room) if size > room else [shown]:
                    if used and used + cell_len(part) > room:
                        flush()
                    if part:
                        pieces.append(Piece(index, part))
                        used += cell_len(part)
                if number < len(rows) - 1:
                    pieces.append(Piece(index, LINE_END))
                    flush()
        flush()
        return tuple(lines)


def boundaries(lines: Sequence[Line], tokens: Sequence[Token]) -> tuple[int, ...]:
    """The lines on which trained text begins or ends."""
    found = []
    before = False
    for number, line in enumerate(lines):
        changed = False
        for piece in line.pieces:
            trained = tokens[piece.token].trained
            changed |= trained != before
            before = trained
        if changed:
            found.append(number)
    return tuple(found)


def highlight(parts: Parts, needle: str) -> Parts:
    """``parts`` with every occurrence of ``needle`` (any case) in the style ``match``."""
    if not needle:
        return parts
    whole = "".join(text for text, _ in parts)
    folded, needle = whole.lower(), needle.lower()
    if len(folded) != len(whole) or needle not in folded:
        return parts
    marks = bytearray(len(whole))
    at = folded.find(needle)
    while at >= 0:
        marks[at : at + len(needle)] = b"\1" * len(needle)
        at = folded.find(needle, at + len(needle))
    out: list[tuple[str, str]] = []
    at = 0
    for text, style in parts:
        start = 0
        for end in range(1, len(text) + 1):
            if end == len(text) or marks[at + end] != marks[at + start]:
                out.append((text[start:end], "match" if marks[at + start] else style))
                start = end
        at += len(text)
    return tuple(out)
