"""A trajectory as one looks at it: the arrays of its row, and what is known besides.

No object per token: a document of a million tokens holds a handful of arrays and opens as fast as a
short one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.data.clock import Clock
from sekft_engine.data.trajectory import Turn

if TYPE_CHECKING:
    from sekft_engine.render.rows.row import Certificate, Row, Span
    from sekft_engine.render.template.tokenizer import RenderDigest

Ints = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


class Losses(Protocol):
    """Loss per token in nats, of the row's length, nan where there is none."""

    @property
    def before(self) -> Floats: ...
    @property
    def after(self) -> Floats: ...


class LossArrays(NamedTuple):
    """The plain form of :class:`Losses`."""

    before: Floats
    after: Floats

    @classmethod
    def at(
        cls, length: int, positions: Sequence[int], before: Sequence[float], after: Sequence[float]
    ) -> LossArrays:
        """Losses that are known at ``positions`` of a row of ``length`` tokens."""
        made = cls(*(np.full(length, np.nan, dtype=np.float32) for _ in range(2)))
        for array, values in zip(made, (before, after), strict=True):
            array[np.asarray(positions, dtype=np.int64)] = values
        return made


class TurnInfo(NamedTuple):
    """What the head line of a turn says. ``note``: e.g. an exit status, a role."""

    command: bool
    tokens: int
    trained: int
    note: str = ""


class Spot(NamedTuple):
    """A stretch of the text that something is said about."""

    start: int
    end: int


class Document:
    """Tokens, mask, turns, certificate of one trajectory; or, where it was not rendered, its turns.

    Token *k* shows ``text[ends[k-1]:ends[k]]``; ``turn`` is the turn that it is drawn with,
    ``mask`` tells the trained ones, ``content`` those that come from what was said, ``control``
    the template's control tokens. ``ids`` is None where nothing was tokenised: a "token" is a
    turn then.
    """

    def __init__(
        self,
        *,
        name: str,
        text: str,
        ends: Ints,
        turn: Ints,
        mask: Bools,
        content: Bools,
        control: Bools,
        ids: Ints | None = None,
        turns: Sequence[Turn] = (),
        spans: Sequence[Span] = (),
        notes: Sequence[str] = (),
        losses: Losses | None = None,
        certificate: Certificate | None = None,
        digest: Mapping[str, str] | None = None,
        limit: int = 0,
        lost: int = 0,
        reason: str = "",
        detail: str = "",
        clock: Clock | None = None,
    ) -> None:
        self.name = name
        self.text = text
        self.ends = ends
        self.turn = turn
        self.mask = mask
        self.content = content
        self.control = control
        self.ids = ids
        self.said = tuple(turns)
        self.spans = spans
        self.notes = tuple(notes)
        self.losses = losses
        self.certificate = certificate
        self.digest = dict(digest or {})
        self.limit = limit
        self.lost = lost
        self.reason = reason
        self.detail = detail
        self.clock = clock

    @classmethod
    def from_row(
        cls,
        row: Row,
        notes: Sequence[str] = (),
        losses: Losses | None = None,
        *,
        digest: RenderDigest | None = None,
        limit: int = 0,
    ) -> Self:
        """A view over ``row``.

        Args:
            row: a certified row, which may have been built without a limit; its arrays are used,
                not copied.
            notes: one per turn, shown at its head; by default the exit status where it is known.
            losses: per token, in nats.
            digest: what the row was rendered with; by default only the row's combined digest.
            limit: the most tokens a row may have; 0 = any number. One of more has a certificate
                that says so.
        """
        certificate = row.certificate
        if limit and len(row) > limit:
            certificate = msgspec.structs.replace(certificate, within_limit=False)
        known = {"render": row.render_digest}
        if digest is not None:
            known = {name: getattr(digest, name) for name in digest.__struct_fields__} | known
        return cls(
            name=row.id,
            text=row.text,
            ends=row.ends,
            turn=_drawn_with(row),
            mask=row.trained,
            content=row.content,
            control=row.control,
            ids=row.ids,
            turns=row.turns,
            spans=row.spans,
            notes=notes or tuple(map(_status, row.turns)),
            losses=losses,
            certificate=certificate,
            digest=known,
            limit=limit,
            lost=row.lost,
            clock=row.clock,
        )

    @classmethod
    def from_turns(
        cls,
        name: str,
        turns: Sequence[Turn],
        notes: Sequence[str] = (),
        *,
        reason: str = "",
        detail: str = "",
    ) -> Self:
        """A trajectory that is not trained on: its turns as they stand, nothing of them trained.

        ``reason`` and ``detail`` are those of its :class:`~sekft_engine.data.dropped.Dropped`;
        they count turns as the render does, so the turns are normalised where that is possible.
        """
        turns = _as_counted(turns)
        texts = [turn.content + "\n" for turn in turns]
        count = len(texts)
        return cls(
            name=name,
            text="".join(texts),
            ends=np.cumsum([len(text) for text in texts], dtype=np.int32),
            turn=np.arange(count, dtype=np.int32),
            mask=np.zeros(count, dtype=np.bool_),
            content=np.ones(count, dtype=np.bool_),
            control=np.zeros(count, dtype=np.bool_),
            turns=turns,
            notes=notes or [turn.role if turn.role == "system" else "" for turn in turns],
            reason=reason,
            detail=detail,
        )

    # --- tokens -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def tokenised(self) -> bool:
        return self.ids is not None

    @cached_property
    def trained(self) -> int:
        """How many tokens are trained."""
        return int(np.count_nonzero(self.mask))

    def start(self, token: int) -> int:
        return int(self.ends[token - 1]) if token else 0

    def piece(self, token: int) -> str:
        """The characters that end with this token; '' within a character."""
        return self.text[self.start(token) : int(self.ends[token])]

    def token_at(self, place: int) -> int:
        """The token that shows the character at ``place``."""
        found = int(np.searchsorted(self.ends, place, side="right"))
        return min(found, max(0, len(self) - 1))

    # --- turns ------------------------------------------------------------------------------

    @cached_property
    def turn_starts(self) -> npt.NDArray[np.int64]:
        """The first token of each turn, and the number of tokens after the last."""
        count = int(self.turn[-1]) + 1 if len(self) else 0
        return np.searchsorted(self.turn, np.arange(count + 1))

    @property
    def turn_count(self) -> int:
        return len(self.turn_starts) - 1

    def turn_info(self, turn: int) -> TurnInfo:
        low, high = (int(place) for place in self.turn_starts[turn : turn + 2])
        trained = int(np.count_nonzero(self.mask[low:high]))
        command = self.said[turn].is_command if turn < len(self.said) else trained > 0
        note = self.notes[turn] if turn < len(self.notes) else ""
        return TurnInfo(command, high - low, trained, note)

    def turn_text(self, turn: int) -> str:
        """What was said in ``turn``, exactly."""
        if turn < len(self.said):
            return self.said[turn].content
        low, high = (int(place) for place in self.turn_starts[turn : turn + 2])
        return self.text[self.start(low) : int(self.ends[high - 1])] if high > low else ""

    # --- places -----------------------------------------------------------------------------

    @cached_property
    def span_starts(self) -> npt.NDArray[np.int64]:
        """The first token of each trained span."""
        before = np.concatenate([np.zeros(1, dtype=np.bool_), self.mask[:-1]])
        return np.flatnonzero(self.mask & ~before[: len(self.mask)])

    @cached_property
    def boundaries(self) -> npt.NDArray[np.int64]:
        """The tokens at which trained text begins, or has ended."""
        return np.flatnonzero(np.diff(self.mask, prepend=np.zeros(1, dtype=np.bool_)))

    @cached_property
    def terminal(self) -> str:
        """The command that ends the session, ``exit`` or ``panic``; '' when it is neither."""
        last = next((turn for turn in reversed(self.said) if turn.is_command), None)
        first = (last.content.split(maxsplit=1) if last else [""]) or [""]
        return first[0] if first[0] in ("exit", "panic") else ""

    @cached_property
    def blamed(self) -> Spot | None:
        """Where in the text the reason for dropping it lies, where that is known."""
        turn = re.search(r"\bturn (\d+)", self.detail)
        if self.tokenised or not turn or int(turn[1]) >= self.turn_count:
            return None
        low = self.start(int(turn[1]))
        content = self.turn_text(int(turn[1]))
        place = re.search(r"\bat character (\d+)", self.detail)
        if place and int(place[1]) < len(content):
            return Spot(low + int(place[1]), low + int(place[1]) + 1)
        for quoted in re.findall(r"'(?:[^'\\]|\\.)+'|\"(?:[^\"\\]|\\.)+\"", self.detail):
            try:
                wanted = str(ast.literal_eval(quoted))
            except (ValueError, SyntaxError):
                continue
            if wanted and (at := content.find(wanted)) >= 0:
                return Spot(low + at, low + at + len(wanted))
        return Spot(low, low + len(content))


def _status(turn: Turn) -> str:
    status = f"exit {turn.exit_status}" if turn.exit_status is not None else ""
    if turn.is_command and not turn.train:
        return f"not to be trained · {status}" if status else "not to be trained"
    return status


def _drawn_with(row: Row) -> Ints:
    """The line end that a template writes after a turn is drawn with that turn."""
    turn = np.maximum.accumulate(row.turn_of)
    changes = np.flatnonzero(np.diff(turn)) + 1
    moved = turn.copy()
    for token in changes[~row.content[changes] & ~row.control[changes]].tolist():
        own, at = turn[token - 1], token
        while at < len(turn) and not row.content[at] and row.piece(at).isspace():
            moved[at] = own
            at += 1
    return np.asarray(np.maximum.accumulate(moved), dtype=np.int32)


def _as_counted(turns: Sequence[Turn]) -> tuple[Turn, ...]:
    from sekft_engine.render.template.normalise import Refused, normalize_for_template

    try:
        return normalize_for_template(turns)
    except Refused:
        return tuple(turns)
