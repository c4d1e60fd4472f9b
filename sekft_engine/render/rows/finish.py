"""From a rendered session and its tokens to the row: cut the spans, check them, certify.

Work per token is done by numpy on whole arrays, work per command in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sekft_engine.data.dropped import Dropped
from sekft_engine.data.reasons import WAYS
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render.rows.row import Certificate, Row, Span, by_training
from sekft_engine.render.template.cut import Cut, Int64Array
from sekft_engine.render.template.guard import Guard
from sekft_engine.render.template.layout import SpanLayout
from sekft_engine.render.template.tokenizer import ChatTokenizer


class Prepared(NamedTuple):
    """A rendered session before it is tokenised.

    Attributes:
        shown: the template's text.
        text: the same with the control tokens as the sentinels of ``guard``.
    """

    trajectory: Trajectory
    turns: tuple[Turn, ...]
    contents: list[str]
    shown: str
    text: str
    layout: SpanLayout
    guard: Guard


class _Spans(NamedTuple):
    """The trained spans: per command, the first token, the one after the last, and where its
    prompt ends in the text (characters). Arrays ``(commands,)`` int64."""

    starts: Int64Array
    ends: Int64Array
    begins: Int64Array


def finish(item: Prepared, cut: Cut, tokenizer: ChatTokenizer, max_length: int) -> Row | Dropped:
    """The row of a session that was cut into tokens, or why there is none.

    Args:
        item: the rendered session.
        cut: its tokens.
        tokenizer: that made both.
        max_length: the most tokens a row may have; 0 = any number.
    """
    name, layout, ids = item.trajectory.id, item.layout, cut.ids
    controls = np.flatnonzero(tokenizer.is_control[ids])
    if not np.array_equal(ids[controls], layout.control_ids):
        return Dropped(name, *_forgery(cut, controls, item, tokenizer))
    opens, closes = layout.places(item.contents)
    lost = _lost(item.text, cut)
    if lost and (detail := _lost_command(item, lost, opens, closes)):
        return Dropped(name, "unknown_token", detail)
    spans = _spans(layout, cut, controls, opens)
    bos = tokenizer.bos_id
    trained = np.array([item.turns[turn].train for turn in layout.turns.tolist()], dtype=np.bool_)
    listed = ids.tolist()  # short slices of a list cost a tenth of those of an array
    certificate = Certificate(
        additive=not (merged := _merged(spans, item, cut, listed, controls, tokenizer)),
        decodes=not (misread := _misread(spans, item, listed, tokenizer)),
        terminal_whole=int(spans.ends[-1]) == int(controls[layout.closing[-1]]) + 1 <= len(ids),
        no_forged_control=True,
        single_bos=bos is None or listed[:2] != [bos, bos],
        template_faithful=True,
        within_limit=not max_length or len(ids) <= max_length,
        trained_tokens=int((spans.ends - spans.starts)[trained].sum()),
        untrained_commands=int(np.count_nonzero(~trained)),
    )
    if not certificate.ok:
        details = {
            "additive": merged,
            "decodes": misread,
            "terminal_whole": f"the end-of-turn token of command turn {layout.turns[-1]} is "
            f"missing; the session ends in {_shown(listed[-_SHOWN:], tokenizer)}",
            "single_bos": "the template opens with two BOS tokens: "
            f"{_shown(listed[:2], tokenizer)}",
        }
        return Dropped(name, *_reason(certificate, details, len(ids), max_length))
    return _row(item, cut, controls, opens, closes, spans, certificate, lost, tokenizer)


#: How many tokens, and how many characters of a text, a detail shows.
_SHOWN, _SHOWN_CHARACTERS = 4, 60


def _shown(ids: Sequence[int], tokenizer: ChatTokenizer) -> str:
    """Tokens as a detail shows them."""
    return " ".join(repr(tokenizer.token_text(int(token))) for token in ids) or "nothing"


def _cited(text: str) -> str:
    short = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return repr(short)


def _forgery(
    cut: Cut, controls: Int64Array, item: Prepared, tokenizer: ChatTokenizer
) -> tuple[str, str]:
    """The token that is not the template's, and the turn that it comes from."""
    ids, written = cut.ids, item.layout.control_ids
    unk = -1 if tokenizer.unk_id is None else tokenizer.unk_id
    unknown = np.flatnonzero(ids == unk)
    if len(unknown) and unk not in written:
        turn = _turn_at(int(cut.starts[unknown[0]]), item)
        return "unknown_token", f"turn {turn} holds a character that the tokenizer has no token for"
    short = min(len(controls), len(written))
    apart = np.flatnonzero(ids[controls[:short]] != written[:short])
    first = int(apart[0]) if len(apart) else short
    if first >= len(controls):
        return "forged_control", (
            f"{len(controls)} control tokens where the template writes {len(written)}: "
            f"{_shown(written[first : first + 1].tolist(), tokenizer)} is missing"
        )
    place = int(controls[first])
    expected = written[first : first + 1].tolist()
    return "forged_control", (
        f"turn {_turn_at(int(cut.starts[place]), item)} becomes the control token "
        f"{_shown([int(ids[place])], tokenizer)} where the template writes "
        f"{_shown(expected, tokenizer)}"
    )


def _turn_at(place: int, item: Prepared) -> int:
    """The turn whose content the character belongs to, or follows."""
    opens, _ = item.layout.places(item.contents)
    return max(0, int(np.searchsorted(opens, place, side="right")) - 1)


def _lost(text: str, cut: Cut) -> list[tuple[int, str]]:
    """Characters that no token covers, and where: some vocabularies lack bytes (SmolLM2's has no
    escape character) and leave them out without a word, in training and serving alike."""
    covered = np.maximum.accumulate(cut.ends)
    if (
        len(covered)
        and cut.starts[0] == 0
        and covered[-1] == len(text)
        and (cut.starts[1:] <= covered[:-1]).all()
    ):
        return []
    starts = np.append(cut.starts, len(text))
    covered = np.maximum.accumulate(np.insert(cut.ends, 0, 0))
    gaps = np.flatnonzero(starts > covered)
    return [(int(covered[k]), text[covered[k] : starts[k]]) for k in gaps]


def _lost_command(
    item: Prepared, lost: list[tuple[int, str]], opens: Int64Array, closes: Int64Array
) -> str:
    """Says which command would not come back whole from its tokens; '' when all do."""
    places = np.array([at for at, _ in lost])
    turns = np.minimum(np.searchsorted(closes, places, side="right"), len(closes) - 1)
    inside = (opens[turns] <= places) & (places < closes[turns]) & (turns % 2 == 1)
    if not inside.any():
        return ""
    turn = int(turns[inside].min())
    each = dict.fromkeys(item.contents[turn])
    silent = "".join(letter for letter in each if not item.guard.encode(letter).ids)
    has = "has" if len(silent) == 1 else "have"
    return f"command turn {turn} holds {silent!r}, which {has} no token"


_REASONS = {
    "additive": "boundary_merge",
    "decodes": "decode_mismatch",
    "terminal_whole": "terminal_cut",
    "single_bos": "double_bos",
}


def _reason(
    certificate: Certificate, details: Mapping[str, str], length: int, max_length: int
) -> tuple[str, str]:
    """The first line that does not hold, as (reason, detail)."""
    for line, reason in _REASONS.items():
        if not certificate.lines[line]:
            return reason, details[line]
    if not certificate.within_limit:
        return too_long(length, max_length)
    return "nothing_trained", "no token would be trained"


def too_long(length: int, max_length: int) -> tuple[str, str]:
    """Reason and detail of a row that is longer than the limit."""
    return "too_long", f"{length} tokens, the limit is {max_length}"


def limited(built: Row | Dropped, max_length: int) -> Row | Dropped:
    """``built``, or why it is dropped if it is longer than ``max_length``; 0 = no limit."""
    if isinstance(built, Row) and max_length and len(built) > max_length:
        return Dropped(built.id, *too_long(len(built), max_length))
    return built


def _spans(layout: SpanLayout, cut: Cut, controls: Int64Array, opens: Int64Array) -> _Spans:
    begins = opens[layout.turns] - layout.lead_widths
    starts = np.searchsorted(cut.starts, begins, side="left")
    return _Spans(starts, np.maximum(starts, controls[layout.closing] + 1), begins)


def _merged(
    spans: _Spans,
    item: Prepared,
    cut: Cut,
    ids: list[int],
    controls: Int64Array,
    tokenizer: ChatTokenizer,
) -> str:
    """Whether what precedes some command is not cut as the prompt for it is, and how; '' = none.

    A control token is a hard cut, so only the tokens after the last one before the command can
    differ; what stands from there on is tokenised by itself.
    """
    ordinals = np.searchsorted(controls, spans.starts)
    firsts = np.where(ordinals > 0, controls[np.maximum(ordinals - 1, 0)], 0)
    places = np.where(ordinals > 0, cut.starts[firsts], 0)
    text = item.text
    ends = spans.begins.tolist()
    prompts = [text[a:b] for a, b in zip(places.tolist(), ends, strict=True)]
    tails = tokenizer.tails(item.guard, prompts)
    before = cut.ends[np.maximum(spans.starts - 1, 0)]
    apart = (spans.starts < spans.ends) & ((spans.starts == 0) | (before <= spans.begins))
    bounds = zip(firsts.tolist(), spans.starts.tolist(), tails, apart.tolist(), strict=True)
    for number, (first, start, tail, separate) in enumerate(bounds):
        if separate and ids[first:start] == tail:
            continue
        # From the first token that differs, to the one that the command begins in or after.
        length = max(start - first, len(tail)) + 1
        pairs = zip(ids[first : first + length], tail, strict=False)
        same = next((at for at, (a, b) in enumerate(pairs) if a != b), min(length - 1, len(tail)))
        same = max(0, min(same, len(tail) - 1))
        turn = int(item.layout.turns[number])
        return (
            f"command turn {turn} melts into the prompt before it: the prompt ends in the tokens "
            f"{_shown(tail[same:][-_SHOWN:], tokenizer)}, and with the command after it there are "
            f"{_shown(ids[first + same :][:_SHOWN], tokenizer)}; {WAYS['boundary_merge']}"
        )
    return ""


def _misread(spans: _Spans, item: Prepared, ids: list[int], tokenizer: ChatTokenizer) -> str:
    """Whether some span's ids are not the command, and how; '' = none.

    The template's own lead and tail (white space) around it are trained too, and a SentencePiece
    decoder drops one leading space.
    """
    layout = item.layout
    bounds = list(zip(spans.starts.tolist(), spans.ends.tolist(), strict=True))
    said = tokenizer.decode_all([ids[start : end - 1] for start, end in bounds])
    commands = item.contents[1::2]
    each = zip(said, commands, layout.leads, layout.tails, strict=True)
    for number, (text, command, lead, tail) in enumerate(each):
        if text == command and not (lead or tail):
            continue
        if (lead + tail).strip() or text not in (lead + command + tail, lead[1:] + command + tail):
            start, end = bounds[number]
            return (
                f"command turn {layout.turns[number]} is {_cited(command)}, but its tokens "
                f"{_shown(ids[start:end][:_SHOWN], tokenizer)} say {_cited(text)}; "
                f"{WAYS['decode_mismatch']}"
            )
    return ""


def _row(
    item: Prepared,
    cut: Cut,
    controls: Int64Array,
    opens: Int64Array,
    closes: Int64Array,
    spans: _Spans,
    certificate: Certificate,
    lost: list[tuple[int, str]],
    tokenizer: ChatTokenizer,
) -> Row:
    ids, starts, ends = cut
    layout = item.layout
    closed = np.searchsorted(closes, starts, side="right")
    turn = np.minimum(closed, len(closes) - 1)
    content = (ends > opens[turn]) & (starts < closes[turn])
    content[controls] = False
    control = np.zeros(len(ids), dtype=np.bool_)
    control[controls] = True
    # A turn's first control token after its content closes it and belongs to it.
    last = np.maximum(closed - 1, 0)
    edges = np.where(layout.edges > 0, closes + layout.edges, -1)
    turn = np.where((closed > 0) & (starts < edges[last]), last, turn)
    grown = np.zeros(len(ids), dtype=np.int64)
    grown[controls] = item.guard.growth(layout.control_ids)
    shown = np.maximum.accumulate(ends + np.cumsum(grown))
    bounds = zip(spans.starts.tolist(), spans.ends.tolist(), layout.turns.tolist(), strict=True)
    trained, untrained = by_training((Span(*bound) for bound in bounds), item.turns)
    row = Row(
        id=item.trajectory.id,
        archetype=item.trajectory.archetype,
        turns=item.turns,
        text=item.shown,
        ids=ids,
        ends=shown.astype(np.int32),
        turn_of=turn.astype(np.int32),
        content=content,
        control=control,
        spans=trained,
        untrained=untrained,
        certificate=certificate,
        lost=sum(len(text) for _, text in lost),
        render_digest=tokenizer.render_digest,
        clock=layout.clock,
    )
    freeze(row.ids, row.ends, row.turn_of, row.content, row.control)
    return row


def freeze(*arrays: npt.NDArray[np.generic]) -> None:
    """Make arrays read-only: whoever displays a row must not change it."""
    for array in arrays:
        array.setflags(write=False)
