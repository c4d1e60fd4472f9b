"""Hold the ids of an episode, as they were fed and sampled, against the row of its trajectory.

A model may sample a command in other tokens than the tokenizer would write it in, and an eval cuts
white space off what it types. An episode keeps what was sampled; a row is made of the text. Where
the two differ, training on the episode teaches other tokens than the model said.
"""

from __future__ import annotations

from collections.abc import Sequence

from sekft_engine.errors import BadInput
from sekft_engine.render.build import build_row
from sekft_engine.render.difference import Difference, first_difference
from sekft_engine.render.tokenizer import ChatTokenizer
from sekft_engine.sources.dropped import Dropped
from sekft_engine.trajectory import Trajectory, Turn


def as_sampled(turns: Sequence[Turn], tokenizer: ChatTokenizer) -> list[int]:
    """What a model saw and said in an episode, up to the end of its last command.

    Args:
        turns: as an eval stores them: alternating, every command with its ``ids``.

    Raises:
        BadInput: a command has no ids, so it was not sampled by a model.
    """
    ids: list[int] = []
    for number, turn in enumerate(turns):
        if not turn.is_command:
            if number + 1 == len(turns):
                break  # shown, but never answered
            if ids:
                ids += tokenizer.bridge(turn.content, after=number)
            else:
                ids = tokenizer.encode_prompt(turns[:1])
            continue
        if turn.ids is None:
            raise BadInput(
                f"command turn {number} has no sampled ids",
                mend="only episodes of a model on this machine keep them",
            )
        ids += turn.ids
        if turn.ids[-1:] == () or turn.ids[-1] not in tokenizer.end_of_turn_ids:
            ids.append(tokenizer.end_of_turn_id)  # cut by the cap, and closed for the model
    return ids


def sampled_difference(
    trajectory: Trajectory, tokenizer: ChatTokenizer
) -> Difference | Dropped | None:
    """The first token in which an episode (``ours``) and its training row (``theirs``) differ;
    None when they are equal at every position, :class:`Dropped` where no row can be made."""
    sampled = as_sampled(trajectory.turns, tokenizer)
    row = build_row(trajectory, tokenizer)
    if isinstance(row, Dropped):
        return row
    return first_difference(sampled, row.ids[: row.spans[-1].end].tolist(), tokenizer)
