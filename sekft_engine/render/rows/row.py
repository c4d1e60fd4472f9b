"""Row: a rendered trajectory with its mask and the certificate that the mask is right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.data.clock import Clock
from sekft_engine.data.trajectory import Turn

IntArray = npt.NDArray[np.int32]
BoolArray = npt.NDArray[np.bool_]

#: The label of a masked token.
MASKED = -100


class Span(msgspec.Struct, frozen=True):
    """A span ``[start, end)`` in the ids: a command and its end-of-turn token."""

    start: int
    end: int
    turn: int


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What has been checked of one row; it is trained on only if every line is true.

    additive: the render of the turns before each command, with the generation prompt, is a
        prefix of the whole render, and its tokens are a prefix of the whole row's.
    decodes: the trained ids decode to exactly the command text and the end-of-turn token.
    terminal_whole: the last command's span is there up to its end-of-turn token.
    no_forged_control: no control token comes from content.
    single_bos: the row does not open with two BOS tokens.
    template_faithful: the template neither trimmed nor rewrote content.
    within_limit: the row is no longer than the limit.

    ``untrained_commands`` are those that the session itself says not to train; they are checked as
    the others are.
    """

    additive: bool
    decodes: bool
    terminal_whole: bool
    no_forged_control: bool
    single_bos: bool
    template_faithful: bool
    within_limit: bool
    trained_tokens: int
    untrained_commands: int = 0

    @property
    def lines(self) -> dict[str, bool]:
        """Whether each line holds, by name."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in _COUNTS}

    @property
    def ok(self) -> bool:
        """Whether the row may be trained on."""
        return self.trained_tokens > 0 and all(self.lines.values())

    def to_json(self) -> dict[str, bool | int]:
        counts = {name: getattr(self, name) for name in _COUNTS}
        return {"ok": self.ok, **self.lines, **counts}


#: What a certificate counts.
_COUNTS = ("trained_tokens", "untrained_commands")


def by_training(
    spans: Iterable[Span], turns: Sequence[Turn]
) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    """Spans of commands, those that are trained and those that are not.

    Args:
        spans: of commands.
        turns: the normalised turns that they are in.
    """
    trained: list[Span] = []
    untrained: list[Span] = []
    for span in spans:
        (trained if turns[span.turn].train else untrained).append(span)
    return tuple(trained), tuple(untrained)


class RowSize(msgspec.Struct, frozen=True, kw_only=True):
    """What a count needs to know of a certified row."""

    id: str
    archetype: str
    tokens: int
    trained_tokens: int
    untrained_commands: int

    @classmethod
    def of(cls, row: Row) -> RowSize:
        return cls(
            id=row.id,
            archetype=row.archetype,
            tokens=len(row),
            trained_tokens=row.trained_tokens,
            untrained_commands=row.certificate.untrained_commands,
        )


class Row(msgspec.Struct, frozen=True, kw_only=True, eq=False, dict=True):
    """A trajectory as the model sees it. Its arrays are read-only.

    Attributes:
        turns: the normalised turns.
        text: the rendered text with control tokens as their literals.
        ids: ``(tokens,)`` int32.
        ends: ``(tokens,)`` int32; token *k* shows ``text[ends[k-1]:ends[k]]``, so the pieces join
            to exactly the text.
        turn_of: ``(tokens,)`` int32, the index in ``turns`` of the turn that a token belongs to;
            its header and end-of-turn token belong to it.
        content: ``(tokens,)`` bool, tokens of the turns' contents and not of the template.
        control: ``(tokens,)`` bool, control tokens of the template.
        spans: the trained spans in order.
        untrained: the spans of commands that are not to be trained, in order.
        certificate: what was checked.
        lost: characters of the environment's turns that the vocabulary has no token for.
        render_digest: of the tokenizer, template and normaliser that made it.
        clock: what the template prints as now; None = it does not print it.
    """

    id: str
    archetype: str
    turns: tuple[Turn, ...]
    text: str
    ids: IntArray
    ends: IntArray
    turn_of: IntArray
    content: BoolArray
    control: BoolArray
    spans: tuple[Span, ...]
    certificate: Certificate
    lost: int
    render_digest: str
    untrained: tuple[Span, ...] = ()
    clock: Clock | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def trained(self) -> BoolArray:
        """``(tokens,)`` bool: whether it is trained."""
        mask = np.zeros(len(self.ids), dtype=np.bool_)
        for span in self.spans:
            mask[span.start : span.end] = True
        return mask

    @property
    def commands(self) -> tuple[Span, ...]:
        """The spans of all commands in order."""
        if not self.untrained:
            return self.spans
        return tuple(sorted((*self.spans, *self.untrained), key=lambda span: span.start))

    @cached_property
    def labels(self) -> IntArray:
        """``(tokens,)`` int32: the id where trained, :data:`MASKED` elsewhere."""
        return np.where(self.trained, self.ids, np.int32(MASKED)).astype(np.int32)

    @property
    def trained_tokens(self) -> int:
        return self.certificate.trained_tokens

    def piece(self, token: int) -> str:
        """The characters of ``text`` that end with this token; '' within a character."""
        start = int(self.ends[token - 1]) if token else 0
        return self.text[start : int(self.ends[token])]

    def pieces(self) -> list[str]:
        """All pieces in order; they join to ``text`` but for what follows the last token."""
        return [self.piece(token) for token in range(len(self.ids))]
