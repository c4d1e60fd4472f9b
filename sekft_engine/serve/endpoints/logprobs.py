"""Log-probabilities in OpenAI's two shapes: that of chat, and that of completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sekft_engine.operators.decoder import Top
from sekft_engine.render import ChatTokenizer


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
    offset: int,
) -> dict[str, Any]:
    """The ``logprobs`` of a choice of a completion.

    Args:
        ids, logprobs: of the answer, and of the prompt where it is part of the text; the first id
            of a prompt has no log-probability.
        top: the likeliest ids at each place; empty = they are not wanted.
        offset: the place of the first id in the text.
    """
    texts = [tokenizer.token_text(token) for token in ids]
    offsets = []
    for text in texts:
        offsets.append(offset)
        offset += len(text)
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
        "text_offset": offsets,
    }
