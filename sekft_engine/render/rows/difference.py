"""The first token in which two renders of one session differ, named so that a person can act."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from sekft_engine.core.text import visible
from sekft_engine.render.template.tokenizer import ChatTokenizer


class TokenDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The first place at which two token sequences differ.

    Attributes:
        index: of the first token that differs.
        before: the last tokens that both have, as text.
        ours, theirs: the first tokens from ``index`` on, as text; empty if the sequence ends there.
        same_text: both decode to the same text, as when a model samples a token sequence that is
            not the tokenizer's own for that text.
    """

    index: int
    before: tuple[str, ...]
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    same_text: bool

    def sentence(self, ours: str = "here", theirs: str = "there") -> str:
        """One line, safe for a terminal; ``ours`` and ``theirs`` name the two sides."""
        here, there = _shown(self.ours[:1]), _shown(self.theirs[:1])
        parts = [f"token {self.index}: {here} {ours}, {there} {theirs}"]
        if self.before:
            parts.append(f"after {_shown(self.before)}")
        if self.same_text:
            parts.append("the same text in other tokens")
        return "; ".join(parts)


def first_difference(
    ours: Sequence[int], theirs: Sequence[int], tokenizer: ChatTokenizer, context: int = 3
) -> TokenDifference | None:
    """The first token in which ``ours`` and ``theirs`` differ; None when they are equal.

    Args:
        ours, theirs: token ids; those that the tokenizer does not know are shown by number.
        tokenizer: shows ids as text.
        context: how many tokens to give before the difference and on each side of it.
    """
    index = _common_length(ours, theirs)
    if index == max(len(ours), len(theirs)):
        return None
    texts = [
        tuple(_text(int(token), tokenizer) for token in ids)
        for ids in (
            ours[max(0, index - context) : index],
            ours[index : index + context],
            theirs[index : index + context],
        )
    ]
    return TokenDifference(
        index=index,
        before=texts[0],
        ours=texts[1],
        theirs=texts[2],
        same_text=(text := _decoded(ours, tokenizer)) is not None
        and text == _decoded(theirs, tokenizer),
    )


def _common_length(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """How many leading tokens are equal."""
    short = min(len(ours), len(theirs))
    apart = np.flatnonzero(np.asarray(ours[:short]) != np.asarray(theirs[:short]))
    return int(apart[0]) if len(apart) else short


def _decoded(ids: Sequence[int], tokenizer: ChatTokenizer) -> str | None:
    """The text of ``ids``; None when some are no ids of this tokenizer."""
    return tokenizer.decode(ids) if all(_is_known(int(token), tokenizer) for token in ids) else None


def _is_known(token: int, tokenizer: ChatTokenizer) -> bool:
    return 0 <= token < tokenizer.vocab_size


def _text(token: int, tokenizer: ChatTokenizer) -> str:
    text = tokenizer.token_text(token) if _is_known(token, tokenizer) else ""
    return text or f"<id {token}>"


def _shown(texts: Sequence[str]) -> str:
    return " ".join(f"'{visible(text)}'" for text in texts) or "the end"
