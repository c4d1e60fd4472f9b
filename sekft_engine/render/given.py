"""Compare with a given transformers tokenizer, whichever way its release returns ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sekft_engine.errors import BadInput
from sekft_engine.render.difference import first_difference
from sekft_engine.render.normalise import normalize_for_template
from sekft_engine.render.tokenizer import ChatTokenizer
from sekft_engine.trajectory import Turn


def template_ids(
    tokenizer: Any, turns: Sequence[Turn], *, add_generation_prompt: bool = False
) -> list[int]:
    """The ids of ``apply_chat_template``: a list in transformers 4, a BatchEncoding in 5."""
    chat = [{"role": turn.role, "content": turn.content} for turn in normalize_for_template(turns)]
    return as_ids(
        tokenizer.apply_chat_template(
            chat, tokenize=True, add_generation_prompt=add_generation_prompt
        )
    )


def as_ids(returned: Any) -> list[int]:
    """Plain ids from whatever a tokenizer returned: a mapping with ``input_ids``, an array, a
    list, or a batch of one of them."""
    if isinstance(returned, Mapping) or hasattr(returned, "input_ids"):
        returned = returned["input_ids"]
    if hasattr(returned, "tolist"):
        returned = returned.tolist()
    ids = list(returned)
    if len(ids) == 1 and not isinstance(ids[0], int):
        return as_ids(ids[0])
    if not all(isinstance(token, int) for token in ids):
        raise BadInput(
            f"the tokenizer returned {type(returned).__name__} instead of ids",
            mend="give a tokenizer whose apply_chat_template returns ids",
        )
    return ids


def difference(ours: ChatTokenizer, tokenizer: Any, turns: Sequence[Turn]) -> str:
    """Where the prompt of ``turns`` differs between ours and the given tokenizer; '' = nowhere."""
    left = ours.encode_prompt(turns)
    right = template_ids(tokenizer, turns, add_generation_prompt=True)
    found = first_difference(left, right, ours)
    return "" if found is None else found.sentence()
