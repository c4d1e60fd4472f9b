"""What a model reads when it is served: the ids of a session, up to the command that it writes.

They are the ids of the same turns in a row that it was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.render.template.endings import open_ended
from sekft_engine.render.template.normalise import Refused, normalize_for_template, valid_unicode
from sekft_engine.render.template.scaffold import fill, messages, written_content
from sekft_engine.render.template.tokenizer import ChatTokenizer


def encode_prompt(tokenizer: ChatTokenizer, turns: Sequence[Turn]) -> list[int]:
    """The ids of the turns and the generation prompt, which a model continues with a command.

    Args:
        tokenizer: of the model's base.
        turns: any session that ends with an environment turn.

    Raises:
        BadInput: it ends with a command.
        Refused: the template or the normaliser refuses it.
    """
    normal = normalize_for_template(turns)
    if normal[-1].is_command:
        raise BadInput(
            "the session ends with a command, so there is nothing to answer",
            where=tokenizer.where,
            mend="append the environment's turn",
        )
    contents = _as_written(tokenizer, [turn.content for turn in normal])
    parts = tokenizer.scaffolds.get(len(normal), prompt=True).parts
    guard = tokenizer.guard_for(contents)
    marked = fill([guard.mark(part) for part in parts], contents)
    encoding = guard.encode(valid_unicode(marked, tokenizer.where))
    return [int(token) for token in guard.ids(encoding).tolist()]


def encode_bridge(tokenizer: ChatTokenizer, environment: str, *, after: int = 2) -> list[int]:
    """The ids to append after a closed command turn: the next environment turn and the prompt.

    Args:
        tokenizer: of the model's base.
        environment: the content of the next environment turn.
        after: the number of turns so far, the closed command included.
    """
    parts = tokenizer.scaffolds.get(after + 1, prompt=True).parts
    written = _as_written(tokenizer, ["x"] * after + [environment])[-1]
    guard = tokenizer.guard_for([written])
    lead = guard.mark(parts[after])
    closing = guard.sentinel.search(lead)
    if closing is None or int(closing[1]) not in tokenizer.end_of_turn_ids:
        raise open_ended(guard, tokenizer.where)
    # The end-of-turn token goes first so that what follows is cut as in the whole render.
    text = lead[closing.start() :] + written + guard.mark(parts[after + 1])
    ids = guard.ids(guard.encode(valid_unicode(text, tokenizer.where))).tolist()
    return [int(token) for token in ids[1:]]


def encode_sampled(tokenizer: ChatTokenizer, turns: Sequence[Turn]) -> list[int]:
    """The ids that a model read and sampled in an episode, up to the end of its last command.

    A model may sample a command in other tokens than the tokenizer would write it in. An episode
    keeps what was sampled; a row is made of the text.

    Args:
        tokenizer: of the model's base.
        turns: as an eval stores them: alternating, every command with its ``ids``.

    Raises:
        BadInput: a command has no ids, so no model sampled it.
    """
    ids: list[int] = []
    for number, turn in enumerate(turns):
        if not turn.is_command:
            if number + 1 == len(turns):
                break  # shown, but never answered
            if ids:
                ids += encode_bridge(tokenizer, turn.content, after=number)
            else:
                ids = encode_prompt(tokenizer, turns[:1])
            continue
        if turn.ids is None:
            raise BadInput(
                f"command turn {number} has no sampled ids",
                mend="only episodes of a model on this machine keep them",
            )
        ids += turn.ids
        if turn.ids[-1:] != () and turn.ids[-1] in tokenizer.end_of_turn_ids:
            ids.pop()
        # Cut by the cap, or stopped at another id than the one that closes turns in history.
        ids.append(tokenizer.end_of_turn_id)
    return ids


def _as_written(tokenizer: ChatTokenizer, contents: list[str]) -> list[str]:
    """``contents`` as the template writes them in a prompt (some templates trim).

    A server that applies the template sends the model that text, so a prompt must be it. Training
    refuses such a session instead: see ``template_faithful``.
    """
    template = tokenizer.template
    scaffold = tokenizer.scaffolds.get(len(contents), prompt=True)
    whole = template.render(messages(contents), add_generation_prompt=True)
    if whole == scaffold.fill(contents):
        return contents
    written: list[str] = []
    for turn in range(len(contents)):
        text = written_content(template, scaffold, contents, turn)
        written += [] if text is None else [text]
    if len(written) < len(contents) or whole != scaffold.fill(written):
        raise Refused(
            "template_rewrites_content",
            "the chat template rewrites what the session says",
            where=tokenizer.where,
        )
    return written
