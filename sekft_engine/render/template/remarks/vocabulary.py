"""Ids that a tokenizer has and its base has no row of the embedding for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sekft_engine.core.errors import BadInput
from sekft_engine.render.template.normalise import Refused

if TYPE_CHECKING:
    from sekft_engine.render.template.tokenizer import ChatTokenizer


def refuse_rowless(tokenizer: ChatTokenizer, rows: int) -> None:
    """Refuse a base whose embedding has no row for an id that a session can hold.

    A control token that the template never writes does no harm: content cannot write it.

    Args:
        tokenizer: of the base.
        rows: of its embedding.

    Raises:
        BadInput: there is such an id.
    """
    if tokenizer.top_id < rows:
        return
    written = _written_ids(tokenizer)
    beyond = [
        token
        for token in range(rows, tokenizer.top_id + 1)
        if token in written or (token not in tokenizer.control_ids and tokenizer.token_text(token))
    ]
    if not beyond:
        return
    shown = ", ".join(repr(tokenizer.token_text(token)) for token in beyond[:3])
    raise BadInput(
        f"the tokenizer has ids up to {beyond[-1]}, but the base has {rows} rows for them: "
        f"none for {shown}{' and others' if len(beyond) > 3 else ''}",
        where=tokenizer.where,
        mend="take the tokenizer that belongs to these weights, or give the weights rows for its "
        f"new tokens (resize_token_embeddings({tokenizer.top_id + 1}) in transformers)",
    )


def _written_ids(tokenizer: ChatTokenizer) -> frozenset[int]:
    """Control ids that the template writes around ordinary turns."""
    found: set[int] = set()
    for turns, prompt in ((1, True), (2, False), (3, True), (4, False)):
        try:
            scaffold = tokenizer.scaffolds.get(turns, prompt=prompt)
        except Refused:
            continue
        for part in scaffold.parts:
            found.update(tokenizer.guard.control_ids(tokenizer.guard.mark(part)))
    return frozenset(found)
