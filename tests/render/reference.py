"""The ids of a transformers tokenizer, in whichever form its release returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.render.template.normalise import normalize_for_template


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
