"""Certify a finished row anew, from nothing but its ids, spans and turns.

:func:`~sekft_engine.render.rows.build.build_row` checks while it builds, each thing once and
locally. The audit does it the slow and plain way, every prompt tokenised whole, so that each can be
compared with the other; it also shows whether a row from a cache or another program is right.
"""

from __future__ import annotations

from sekft_engine.render.rows.row import Certificate, Row, Span, by_training
from sekft_engine.render.template.normalise import normalize_for_template
from sekft_engine.render.template.prompt import encode_prompt
from sekft_engine.render.template.scaffold import fill, messages
from sekft_engine.render.template.tokenizer import ChatTokenizer


def audit(row: Row, tokenizer: ChatTokenizer, *, max_length: int = 0) -> Certificate:
    """The certificate that ``row`` deserves.

    Args:
        row: from any source.
        tokenizer: the base's.
        max_length: the most tokens a row may have; 0 = any number.
    """
    ids = row.ids.tolist()
    contents = [turn.content for turn in row.turns]
    commands = [number for number, turn in enumerate(row.turns) if turn.is_command]
    spans = row.commands
    trained, untrained = by_training(spans, row.turns)
    controls, markers = _scaffold(row, tokenizer)
    bos = tokenizer.bos_id
    return Certificate(
        additive=all(
            ids[: span.start] == encode_prompt(tokenizer, row.turns[: span.turn]) for span in spans
        ),
        decodes=[span.turn for span in spans] == commands
        and (row.spans, row.untrained) == (trained, untrained)
        and all(_says(span, row, ids, tokenizer) for span in spans),
        terminal_whole=bool(spans)
        and spans[-1].turn == commands[-1]
        and spans[-1].end <= len(ids)
        and ids[spans[-1].end - 1] in tokenizer.end_of_turn_ids,
        no_forged_control=[token for token in ids if token in tokenizer.control_ids] == controls
        and not any(marker in content for marker in markers for content in contents),
        single_bos=bos is None or ids[:2] != [bos, bos],
        template_faithful=row.turns == normalize_for_template(row.turns)
        and _is_rendered(row, contents, tokenizer)
        and fill(_parts(row, tokenizer), contents) == row.text,
        within_limit=not max_length or len(ids) <= max_length,
        trained_tokens=int(row.trained.sum()),
        untrained_commands=len(untrained),
    )


def _is_rendered(row: Row, contents: list[str], tokenizer: ChatTokenizer) -> bool:
    """Whether the template writes the row's text: as it stands, or as the beginning of the prompt
    for one more command, up to the token that ends the last one."""
    render = tokenizer.template.render
    if render(messages(contents)) == row.text:
        return True
    if len(contents) % 2 or row.spans[-1].end != len(row.ids):
        return False
    return render(messages([*contents, "$"]), add_generation_prompt=True).startswith(row.text)


def _parts(row: Row, tokenizer: ChatTokenizer) -> tuple[str, ...]:
    """What the template writes around the contents of the row."""
    count = len(row.turns)
    own = tokenizer.scaffolds.get(count)
    if count % 2 or own.fill([turn.content for turn in row.turns]) == row.text:
        return own.parts
    longer = tokenizer.scaffolds.get(count + 1, prompt=True).parts
    marked = tokenizer.guard.mark(longer[count])
    found = tokenizer.guard.sentinel.search(marked)
    end = tokenizer.guard.unmark(marked[: found.end()]) if found is not None else ""
    return (*longer[:count], end)


def _says(span: Span, row: Row, ids: list[int], tokenizer: ChatTokenizer) -> bool:
    """Whether the span is the command of its turn and the token that ends it.

    White space that the template itself writes around a command is trained with it; a
    SentencePiece decoder drops one leading space of what it decodes.
    """
    prompt = tokenizer.scaffolds.get(span.turn, prompt=True).parts[span.turn]
    around = _parts(row, tokenizer)[span.turn : span.turn + 2]
    lead = around[0].removeprefix(prompt)
    tail = around[1][: len(around[1]) - len(around[1].lstrip())]
    said = tokenizer.decode(ids[span.start : span.end - 1])
    command = row.turns[span.turn].content
    return (
        not lead.strip()
        and said in (lead + command + tail, lead[1:] + command + tail)
        and ids[span.end - 1 : span.end] != []
        and ids[span.end - 1] in tokenizer.end_of_turn_ids
    )


def _scaffold(row: Row, tokenizer: ChatTokenizer) -> tuple[list[int], set[str]]:
    """The control ids that the template writes, and the plain text that it writes between turns."""
    guard = tokenizer.guard_for([turn.content for turn in row.turns])
    parts = _parts(row, tokenizer)
    found = [guard.control_ids(guard.mark(part)) for part in parts]
    bare = {part.strip() for part, ids in zip(parts, found, strict=True) if not ids}
    inner = {part.strip() for part in parts[1:-1]}
    return [token for ids in found for token in ids], (bare & inner) - {""}
