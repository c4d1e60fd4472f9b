"""From rendered sessions and their tokens to rows: cut the spans, check them, certify.

Work per token is done by numpy on whole arrays of many sessions at once, since a call on a short
array costs as much as one on a long one. Work per command and per session is done in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sekft_engine.data.dropped import Dropped
from sekft_engine.render.rows.explain import (
    SHOWN,
    Prepared,
    forgery,
    lost_characters,
    lost_command,
    merged,
    misread,
    reason,
    shown_tokens,
    too_long,
)
from sekft_engine.render.rows.row import Certificate, Row, Span, by_training
from sekft_engine.render.template.cut import Cut, Int64Array
from sekft_engine.render.template.tokenizer import ChatTokenizer

#: Unused characters between two joined texts, so that no place belongs to both.
_APART = 1


def finish(
    items: Sequence[Prepared], cuts: Sequence[Cut], tokenizer: ChatTokenizer, max_length: int
) -> list[Row | Dropped]:
    """The rows of sessions that were cut into tokens, or why there is none, in order.

    Args:
        items: the rendered sessions, all with one guard.
        cuts: the tokens of each.
        tokenizer: that made both.
        max_length: the most tokens a row may have; 0 = any number.
    """
    forged = _forged(items, cuts, tokenizer)
    sound = [at for at in range(len(items)) if at not in forged]
    if not sound:
        return [forged[at] for at in range(len(items))]
    joined = _Joined([items[at] for at in sound], [cuts[at] for at in sound], tokenizer)
    rows = iter(_rows(joined, tokenizer, max_length))
    return [forged[at] if at in forged else next(rows) for at in range(len(items))]


def _forged(
    items: Sequence[Prepared], cuts: Sequence[Cut], tokenizer: ChatTokenizer
) -> dict[int, Dropped]:
    """The sessions whose control tokens are not just those that the template writes."""
    ids = np.concatenate([cut.ids for cut in cuts])
    ends = _ends(len(cut.ids) for cut in cuts)
    controls = np.flatnonzero(tokenizer.is_control[ids])
    written = [item.layout.control_ids for item in items]
    bounds = np.searchsorted(controls, ends)
    if np.array_equal(bounds, _ends(map(len, written))) and np.array_equal(
        ids[controls], np.concatenate(written)
    ):
        return {}
    out = {}
    for at, (item, cut, expected) in enumerate(zip(items, cuts, written, strict=True)):
        found = np.flatnonzero(tokenizer.is_control[cut.ids])
        if not np.array_equal(cut.ids[found], expected):
            out[at] = Dropped(item.trajectory.id, *forgery(cut, found, item, tokenizer))
    return out


def _ends(sizes: Iterable[int]) -> Int64Array:
    """Where the parts of these sizes end, once joined."""
    return np.cumsum(np.fromiter(sizes, dtype=np.int64))


def _begins(ends: Int64Array) -> Int64Array:
    """Where joined parts begin that end there."""
    begins = np.zeros_like(ends)
    begins[1:] = ends[:-1]
    return begins


class _Joined:
    """Sessions one behind the other; places are counted through all of them.

    Attributes:
        items, cuts: the sessions, none of them with a forged control token.
        ids, starts, ends: ``(tokens,)``, the tokens and their places in the texts.
        first, last: ``(sessions,)``, where the tokens of each session begin and end.
        text_at: ``(sessions,)``, where its text begins.
        controls: ``(controls,)``, the places of control tokens in ``ids``.
        opens, closes: ``(turns,)``, where each content begins and ends in the texts.
        turn_at: ``(sessions,)``, the session's first turn.
        spans_at: ``(sessions + 1,)``, its first command.
        span_starts, span_ends: ``(commands,)``, the trained tokens of each command.
        prompts_end: ``(commands,)``, where the prompt of each command ends in the texts.
        trained: ``(commands,)`` bool, whether it is to be trained.
    """

    def __init__(
        self, items: Sequence[Prepared], cuts: Sequence[Cut], tokenizer: ChatTokenizer
    ) -> None:
        self.items, self.cuts = items, cuts
        layouts = [item.layout for item in items]
        self.last = _ends(len(cut.ids) for cut in cuts)
        self.first = _begins(self.last)
        self.text_at = _begins(_ends(len(item.text) + _APART for item in items))
        self.ids = np.concatenate([cut.ids for cut in cuts])
        text_of_token = np.repeat(self.text_at, self.last - self.first)
        self.starts = np.concatenate([cut.starts for cut in cuts]) + text_of_token
        self.ends = np.concatenate([cut.ends for cut in cuts]) + text_of_token
        self.controls = np.flatnonzero(tokenizer.is_control[self.ids])
        self.controls_at = _begins(_ends(len(layout.control_ids) for layout in layouts))
        self.turn_at = _begins(_ends(len(item.turns) for item in items))
        self._place_turns()
        commands = [len(layout.turns) for layout in layouts]
        self.spans_at = np.append(0, _ends(commands))
        session = np.repeat(np.arange(len(items)), commands)
        turn = np.concatenate([layout.turns for layout in layouts]) + self.turn_at[session]
        leads = np.concatenate([layout.lead_widths for layout in layouts])
        self.prompts_end = self.opens[turn] - leads
        self.span_starts = np.searchsorted(self.starts, self.prompts_end, side="left")
        closing = np.concatenate([layout.closing for layout in layouts])
        self.span_closing = self.controls[closing + self.controls_at[session]] + 1
        self.span_ends = np.maximum(self.span_starts, self.span_closing)
        self.session = session
        self.trained = np.array(
            [item.turns[turn].train for item in items for turn in item.layout.turns.tolist()],
            dtype=np.bool_,
        )

    def _place_turns(self) -> None:
        items = self.items
        lengths = np.fromiter(
            (len(content) for item in items for content in item.contents), dtype=np.int64
        )
        before = np.concatenate([item.layout.widths[:-1] for item in items])
        behind = np.array([item.layout.widths[-1] for item in items]) + _APART
        before[self.turn_at[1:]] += behind[:-1]
        self.closes = np.cumsum(before + lengths)
        self.opens = self.closes - lengths


def _rows(joined: _Joined, tokenizer: ChatTokenizer, max_length: int) -> list[Row | Dropped]:
    listed = joined.ids.tolist()  # short slices of a list cost a tenth of those of an array
    melted = _merged(joined, listed, tokenizer)
    said = _misread(joined, listed, tokenizer)
    incomplete = _incomplete(joined)
    finals = joined.spans_at[1:] - 1
    whole = (joined.span_ends[finals] == joined.span_closing[finals]) & (
        joined.span_closing[finals] <= joined.last
    )
    widths = np.where(joined.trained, joined.span_ends - joined.span_starts, 0)
    trained = np.add.reduceat(widths, joined.spans_at[:-1]).tolist()
    untrained = np.add.reduceat(~joined.trained, joined.spans_at[:-1], dtype=np.int64).tolist()
    arrays = _arrays(joined)
    bounds = zip(joined.first.tolist(), joined.last.tolist(), whole.tolist(), strict=True)
    bos = tokenizer.bos_id
    out: list[Row | Dropped] = []
    for at, (first, last, ends_whole) in enumerate(bounds):
        item, name = joined.items[at], joined.items[at].trajectory.id
        lost = lost_characters(item, joined.cuts[at]) if at in incomplete else []
        if lost and (detail := lost_command(item, lost)):
            out.append(Dropped(name, "unknown_token", detail))
            continue
        certificate = Certificate(
            additive=at not in melted,
            decodes=at not in said,
            terminal_whole=ends_whole,
            no_forged_control=True,
            single_bos=bos is None or listed[first : first + 2] != [bos, bos],
            template_faithful=True,
            within_limit=not max_length or last - first <= max_length,
            trained_tokens=trained[at],
            untrained_commands=untrained[at],
        )
        if certificate.ok:
            characters = sum(len(text) for _, text in lost)
            out.append(_row(joined, arrays, at, certificate, characters, tokenizer))
            continue
        details = {
            "additive": melted.get(at, ""),
            "decodes": said.get(at, ""),
            "terminal_whole": f"the end-of-turn token of command turn {item.layout.turns[-1]} is "
            f"missing; the session ends in {shown_tokens(listed[first:last][-SHOWN:], tokenizer)}",
            "single_bos": "the template opens with two BOS tokens: "
            f"{shown_tokens(listed[first : first + 2], tokenizer)}",
        }
        out.append(Dropped(name, *reason(certificate, details, last - first, max_length)))
    return out


def limited(built: Row | Dropped, max_length: int) -> Row | Dropped:
    """``built``, or why it is dropped if it is longer than ``max_length``; 0 = no limit."""
    if isinstance(built, Row) and max_length and len(built) > max_length:
        return Dropped(built.id, *too_long(len(built), max_length))
    return built


def _incomplete(joined: _Joined) -> set[int]:
    """The sessions of whose text some characters are in no token."""
    covered = np.maximum.accumulate(joined.ends)
    gaps = np.zeros(len(joined.ids), dtype=np.bool_)
    gaps[1:] = joined.starts[1:] > covered[:-1]
    gaps[joined.first] = joined.starts[joined.first] > joined.text_at
    lengths = np.fromiter((len(item.text) for item in joined.items), dtype=np.int64)
    gaps[joined.last - 1] |= covered[joined.last - 1] < joined.text_at + lengths
    places = np.flatnonzero(gaps)
    return set(np.searchsorted(joined.last, places, side="right").tolist())


def _merged(joined: _Joined, ids: list[int], tokenizer: ChatTokenizer) -> dict[int, str]:
    """The sessions in which what precedes some command is not cut as the prompt for it is, and how.

    A control token is a hard cut, so only the tokens after the last one before the command can
    differ; what stands from there on is tokenised by itself.
    """
    starts, session = joined.span_starts, joined.session
    ordinals = np.searchsorted(joined.controls, starts)
    behind = ordinals > joined.controls_at[session]
    firsts = np.where(behind, joined.controls[np.maximum(ordinals - 1, 0)], joined.first[session])
    text_at = joined.text_at[session]
    places = np.where(behind, joined.starts[firsts] - text_at, 0).tolist()
    prompts_end = (joined.prompts_end - text_at).tolist()
    texts = [joined.items[at].text for at in session.tolist()]
    prompts = [text[a:b] for text, a, b in zip(texts, places, prompts_end, strict=True)]
    tails = tokenizer.tails(joined.items[0].guard, prompts)
    opens_row = starts == joined.first[session]
    before = joined.ends[np.maximum(starts - 1, 0)]
    apart = (starts < joined.span_ends) & (opens_row | (before <= joined.prompts_end))
    out: dict[int, str] = {}
    bounds = zip(firsts.tolist(), starts.tolist(), tails, apart.tolist(), strict=True)
    for number, (first, start, tail, separate) in enumerate(bounds):
        if separate and ids[first:start] == tail:
            continue
        at = int(session[number])
        end = min(first + max(start - first, len(tail)) + 1, int(joined.last[at]))
        command = number - int(joined.spans_at[at])
        out.setdefault(at, merged(joined.items[at], command, tail, ids[first:end], tokenizer))
    return out


def _misread(joined: _Joined, ids: list[int], tokenizer: ChatTokenizer) -> dict[int, str]:
    """The sessions in which some span's ids are not the command, and how.

    The template's own lead and tail (white space) around it are trained too, and a SentencePiece
    decoder drops one leading space.
    """
    bounds = list(zip(joined.span_starts.tolist(), joined.span_ends.tolist(), strict=True))
    said = iter(tokenizer.decode_all([ids[start : end - 1] for start, end in bounds]))
    out: dict[int, str] = {}
    number = 0
    for at, item in enumerate(joined.items):
        commands, layout = item.contents[1::2], item.layout
        for count, command in enumerate(commands):
            text, lead, tail = next(said), layout.leads[count], layout.tails[count]
            if text != command or lead or tail:
                shown = (lead + command + tail, lead[1:] + command + tail)
                if (lead + tail).strip() or text not in shown:
                    start, end = bounds[number + count]
                    out.setdefault(at, misread(item, count, ids[start:end], text, tokenizer))
        number += len(commands)
    return out


class _Arrays(NamedTuple):
    """Arrays of rows, ``(tokens,)`` through all sessions, counted within each session."""

    ids: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    turn_of: npt.NDArray[np.int32]
    content: npt.NDArray[np.bool_]
    control: npt.NDArray[np.bool_]


def _arrays(joined: _Joined) -> _Arrays:
    items, counts = joined.items, joined.last - joined.first
    starts, ends, closes = joined.starts, joined.ends, joined.closes
    turn_at = np.repeat(joined.turn_at, counts)
    final = np.repeat(np.append(joined.turn_at[1:], len(closes)) - 1, counts)
    closed = np.searchsorted(closes, starts, side="right")
    turn = np.minimum(closed, final)
    content = (ends > joined.opens[turn]) & (starts < closes[turn])
    content[joined.controls] = False
    control = np.zeros(len(starts), dtype=np.bool_)
    control[joined.controls] = True
    # A turn's first control token after its content closes it and belongs to it.
    last = np.maximum(closed - 1, turn_at)
    widths = np.concatenate([item.layout.edges for item in items])
    edges = np.where(widths > 0, closes + widths, -1)
    turn = np.where((closed > turn_at) & (starts < edges[last]), last, turn)
    grown = np.zeros(len(starts), dtype=np.int64)
    written = np.concatenate([item.layout.control_ids for item in items])
    grown[joined.controls] = items[0].guard.growth(written)
    shown = ends + np.cumsum(grown)
    # Within a session no token ends before the one before it; sessions are kept apart meanwhile.
    apart = np.repeat(np.arange(len(items)) * (int(np.ptp(shown)) + 1), counts)
    shown = np.maximum.accumulate(shown + apart) - apart
    base = joined.text_at + np.append(0, np.cumsum(grown)[joined.last[:-1] - 1])
    return _Arrays(
        ids=joined.ids,
        ends=(shown - np.repeat(base, counts)).astype(np.int32),
        turn_of=(turn - turn_at).astype(np.int32),
        content=content,
        control=control,
    )


def _row(
    joined: _Joined,
    arrays: _Arrays,
    at: int,
    certificate: Certificate,
    lost: int,
    tokenizer: ChatTokenizer,
) -> Row:
    item, first, last = joined.items[at], joined.first[at], joined.last[at]
    own = _Arrays(
        ids=arrays.ids[first:last].copy(),
        ends=arrays.ends[first:last].copy(),
        turn_of=arrays.turn_of[first:last].copy(),
        content=arrays.content[first:last].copy(),
        control=arrays.control[first:last].copy(),
    )
    freeze(*own)
    spans = slice(joined.spans_at[at], joined.spans_at[at + 1])
    starts = (joined.span_starts[spans] - first).tolist()
    stops = (joined.span_ends[spans] - first).tolist()
    bounds = zip(starts, stops, item.layout.turns.tolist(), strict=True)
    trained, untrained = by_training((Span(*bound) for bound in bounds), item.turns)
    return Row(
        id=item.trajectory.id,
        archetype=item.trajectory.archetype,
        turns=item.turns,
        text=item.shown,
        ids=own.ids,
        ends=own.ends,
        turn_of=own.turn_of,
        content=own.content,
        control=own.control,
        spans=trained,
        untrained=untrained,
        certificate=certificate,
        lost=lost,
        render_digest=tokenizer.render_digest,
        clock=item.layout.clock,
    )


def freeze(*arrays: npt.NDArray[np.generic]) -> None:
    """Make arrays read-only: whoever displays a row must not change it."""
    for array in arrays:
        array.setflags(write=False)
