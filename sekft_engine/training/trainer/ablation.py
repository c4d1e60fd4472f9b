"""Rows with a part of the render contract left out, to measure what that part is worth.

The session passed its certificate; what is changed here is changed on purpose. Such an adapter is
for comparison only, and its recipe says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

import numpy as np

from sekft_engine.data.recipe import Ablation
from sekft_engine.data.trajectory import Turn
from sekft_engine.render import ChatTokenizer, Row
from sekft_engine.training.trainer.train_row import TrainRow, train_row


def ablated(row: Row, ablation: Ablation, tokenizer: ChatTokenizer) -> TrainRow:
    """The row without the part that ``ablation`` names.

    ``mask``: every token is trained, be it the world's or the model's. ``end-of-turn``: the token
    that closes a command is not trained. ``normaliser``: the login stays a system turn, as many
    harnesses record it, instead of being folded into the first prompt.
    """
    match ablation:
        case "none":
            return train_row(row)
        case "mask":
            end = row.spans[-1].end
            return TrainRow(id=row.id, ids=row.ids[:end], at=np.arange(end - 1, dtype=np.int32))
        case "end-of-turn":
            spans = [(span.start, span.end - 1) for span in row.spans]
            return _with_spans(row.id, row.ids[: spans[-1][1]], spans)
        case "normaliser":
            return _unfolded(row, tokenizer)
        case _:
            assert_never(ablation)


def _unfolded(row: Row, tokenizer: ChatTokenizer) -> TrainRow:
    """The row with the login as a system turn; as it was where the login is a bare prompt, or where
    something in it looks like a control token."""
    login, newline, prompt = row.turns[0].content.rpartition("\n")
    literals = tokenizer.guard.literals.values()
    if (
        not newline
        or not login.strip()
        or any(literal in turn.content for turn in row.turns for literal in literals)
    ):
        return train_row(row)
    messages = [{"role": "system", "content": login}, {"role": "user", "content": prompt}]
    messages += [{"role": turn.role, "content": turn.content} for turn in row.turns[1:]]
    ids, spans = _encoded(messages, [None, *row.turns], tokenizer)
    return _with_spans(row.id, ids[: spans[-1][1]], spans)


def _encoded(
    messages: list[dict[str, str]], turns: Sequence[Turn | None], tokenizer: ChatTokenizer
) -> tuple[np.ndarray[tuple[int], np.dtype[np.int32]], list[tuple[int, int]]]:
    """The ids of the messages, and the spans of the commands that are trained.

    Between two places where the template goes on as before a session can be cut: each command and
    what precedes it are encoded by themselves, as they are when a model acts.
    """
    ids: list[int] = []
    spans: list[tuple[int, int]] = []
    shown = 0
    for number, turn in enumerate(turns):
        if turn is None or not turn.is_command:
            continue
        before = tokenizer.template.render(messages[:number], add_generation_prompt=True)
        ids += tokenizer.encode_text(before[shown:])
        start = len(ids)
        ids += [*tokenizer.encode_text(turn.content), tokenizer.end_of_turn_id]
        if turn.train:
            spans.append((start, len(ids)))
        ended = tokenizer.template.render(messages[: number + 1])
        closing = tokenizer.decode([tokenizer.end_of_turn_id])
        shown = ended.index(closing, len(before) + len(turn.content)) + len(closing)
    return np.array(ids, dtype=np.int32), spans


def _with_spans(
    identity: str,
    ids: np.ndarray[tuple[int], np.dtype[np.int32]],
    spans: Sequence[tuple[int, int]],
) -> TrainRow:
    at = [position - 1 for start, end in spans for position in range(start, end)]
    return TrainRow(id=identity, ids=ids, at=np.array(at, dtype=np.int32))
