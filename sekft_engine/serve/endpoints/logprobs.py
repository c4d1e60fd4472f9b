"""Log-probabilities in OpenAI's two shapes: that of chat, and that of completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sekft_engine.operators.decoder import Top
from sekft_engine.render import ChatTokenizer
from sekft_engine.serve.text import TextStream


class Offsets:
    """The places of ids in the text that they make.

    A character may be of several ids: each of them is at its beginning.

    Args:
        tokenizer: gives the text of ids.
        start: the place of the first id.
    """

    def __init__(self, tokenizer: ChatTokenizer, start: int = 0) -> None:
        self._text = TextStream(tokenizer.decode)
        self._at = start

    def push(self, ids: Sequence[int]) -> list[int]:
        """The places of ``ids``, which follow those before."""
        places = []
        for token in ids:
            places.append(self._at)
            self._at += len(self._text.push([token]))
        return places


def chat_logprobs(
    tokenizer: ChatTokenizer, ids: Sequence[int], logprobs: Sequence[float], top: Sequence[Top]
) -> dict[str, Any]:
    """The ``logprobs`` of a choice of a chat.

    Args:
        ids, logprobs: of the answer.
        top: the likeliest ids at each place; empty = they are not wanted.
    """
    content = []
    for at, (token, logprob) in enumerate(zip(ids, logprobs, strict=True)):
        likely = top[at] if at < len(top) else ()
        entry = _entry(tokenizer, token, logprob)
        content.append(entry | {"top_logprobs": [_entry(tokenizer, *each) for each in likely]})
    return {"content": content, "refusal": None}


def _entry(tokenizer: ChatTokenizer, token: int, logprob: float) -> dict[str, Any]:
    text = tokenizer.decode([token])
    whole = "\ufffd" not in text
    return {
        "token": tokenizer.token_text(token),
        "logprob": logprob,
        "bytes": list(text.encode()) if whole else None,
    }


def completion_logprobs(
    tokenizer: ChatTokenizer,
    ids: Sequence[int],
    logprobs: Sequence[float | None],
    top: Sequence[Top | None],
    offsets: Sequence[int],
) -> dict[str, Any]:
    """The ``logprobs`` of a choice of a completion.

    Args:
        ids, logprobs: of the answer, and of the prompt where it is part of the text; the first id
            of a prompt has no log-probability.
        top: the likeliest ids at each place; empty = they are not wanted.
        offsets: the place of each id in the text.
    """
    texts = [tokenizer.token_text(token) for token in ids]
    likely = None
    if top:
        likely = [
            None
            if each is None
            else {tokenizer.token_text(token): value for token, value in reversed(each)}
            for each in top
        ]
    return {
        "tokens": texts,
        "token_logprobs": list(logprobs),
        "top_logprobs": likely,
        "text_offset": list(offsets),
    }
