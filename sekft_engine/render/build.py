"""Build rows: render, tokenise once, mask, certify. What cannot be certified is dropped by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import msgspec
import numpy as np
from tokenizers import Encoding

from sekft_engine.errors import BadInput
from sekft_engine.render.guard import Guard
from sekft_engine.render.layout import Layout, Seam
from sekft_engine.render.normalise import Refused, normalize_for_template
from sekft_engine.render.row import Certificate, IntArray, Row, Span
from sekft_engine.render.scaffold import messages
from sekft_engine.render.tokenizer import ChatTokenizer
from sekft_engine.sources.dropped import Dropped
from sekft_engine.trajectory import Trajectory, Turn

#: Sessions are tokenised so many at a time, on all cores.
_BATCH = 64


def build_row(
    trajectory: Trajectory, tokenizer: ChatTokenizer, *, max_length: int = 0
) -> Row | Dropped:
    """The certified row of ``trajectory``, or why there is none.

    Args:
        trajectory: a session.
        tokenizer: the base's.
        max_length: the most tokens a row may have; 0 = any number.
    """
    return next(build_rows([trajectory], tokenizer, max_length=max_length))


def build_rows(
    trajectories: Iterable[Trajectory], tokenizer: ChatTokenizer, *, max_length: int = 0
) -> Iterator[Row | Dropped]:
    """:func:`build_row` for many, in order and lazily, tokenised in batches."""
    source = iter(trajectories)
    while batch := list(islice(source, _BATCH)):
        prepared = [_prepare(trajectory, tokenizer) for trajectory in batch]
        encoded = _encode(prepared)
        for item in prepared:
            if isinstance(item, Dropped):
                yield item
            else:
                yield _finish(item, next(encoded), tokenizer, max_length)


class _Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A rendered session before it is tokenised. ``places`` are the contents' in ``text``."""

    trajectory: Trajectory
    turns: tuple[Turn, ...]
    text: str
    places: list[tuple[int, int]]
    layout: Layout
    guard: Guard


def _encode(prepared: list[_Prepared | Dropped]) -> Iterator[Encoding]:
    """The encodings of what was not dropped, in order; one call per guard in a row."""
    group: list[_Prepared] = []
    for item in prepared:
        if isinstance(item, Dropped):
            continue
        if group and item.guard is not group[-1].guard:
            yield from group[0].guard.encode_batch([one.text for one in group])
            group = []
        group.append(item)
    if group:
        yield from group[0].guard.encode_batch([one.text for one in group])


def _prepare(trajectory: Trajectory, tokenizer: ChatTokenizer) -> _Prepared | Dropped:
    """Normalise and render; the template must show every content as it stands."""
    try:
        return _render(trajectory, tokenizer)
    except Refused as error:
        detail = f"{error.what}; {error.mend}" if error.mend else error.what
        return Dropped(trajectory.id, error.reason, detail)
    except BadInput as error:
        return Dropped(trajectory.id, "bad_input", error.what)


def _render(trajectory: Trajectory, tokenizer: ChatTokenizer) -> _Prepared:
    turns = normalize_for_template(trajectory.turns)
    contents = [turn.content for turn in turns]
    if len(turns) < 2:
        raise Refused("no_command", "the session has no command, so nothing would be trained")
    for number, content in enumerate(contents):
        try:
            content.encode()
        except UnicodeEncodeError as error:
            raise Refused(
                "lone_surrogate",
                f"turn {number} holds half of a surrogate pair at character {error.start}",
            ) from error
    guard = tokenizer.guard_for(contents)
    layout = tokenizer.layouts.get(len(turns), guard)
    _check_faithful(contents, tokenizer)
    for marker in layout.markers:
        for number, content in enumerate(contents):
            if marker in content:
                raise Refused(
                    "forged_control",
                    f"turn {number} holds {marker!r}, which this template writes as plain text "
                    "to part the turns",
                )
    text, places = layout.fill(contents)
    return _Prepared(
        trajectory=trajectory, turns=turns, text=text, places=places, layout=layout, guard=guard
    )


def _check_faithful(contents: list[str], tokenizer: ChatTokenizer) -> None:
    """The template's own renders, of the whole and of what precedes each command, are the
    scaffold with the contents put in."""
    template, scaffolds = tokenizer.template, tokenizer.scaffolds
    if template.render(messages(contents)) != scaffolds.get(len(contents)).fill(contents):
        raise Refused(
            "template_rewrites_content",
            f"the chat template trims or rewrites {_culprit(contents, tokenizer)}",
        )
    for turn in range(1, len(contents), 2):
        before = contents[:turn]
        prompt = template.render(messages(before), add_generation_prompt=True)
        if prompt != scaffolds.get(turn, prompt=True).fill(before):
            raise Refused(
                "not_additive",
                f"the chat template renders the turns before command turn {turn} in another way "
                "once more turns follow",
            )


def _culprit(contents: list[str], tokenizer: ChatTokenizer) -> str:
    """The first turn whose content alone makes the template deviate."""
    scaffold = tokenizer.scaffolds.get(len(contents))
    for number, content in enumerate(contents):
        probe = ["x"] * len(contents)
        probe[number] = content
        if tokenizer.template.render(messages(probe)) != scaffold.fill(probe):
            return f"the content of turn {number}"
    return "the contents"


def _finish(
    item: _Prepared, encoding: Encoding, tokenizer: ChatTokenizer, max_length: int
) -> Row | Dropped:
    """Cut the spans, check them, and make the row."""
    name = item.trajectory.id
    ids = item.guard.ids(encoding)
    controls = np.flatnonzero(np.isin(ids, tokenizer.control_array))
    if ids[controls].tolist() != list(item.layout.control_ids):
        return Dropped(name, *_forgery(ids, controls, item, tokenizer))
    offsets = np.asarray(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    lost = _lost(item.text, offsets)
    if lost and (detail := _lost_command(item, lost)):
        return Dropped(name, "unknown_token", detail)
    spans, additive, decodes = [], True, True
    for seam in item.layout.seams:
        span, whole = _span(seam, item, ids, offsets, controls, tokenizer)
        spans.append(span)
        additive = additive and whole
        decodes = decodes and _decodes(seam, span, item, ids, tokenizer)
    bos = tokenizer.bos_id
    last = item.layout.seams[-1]
    certificate = Certificate(
        additive=additive,
        decodes=decodes,
        terminal_whole=spans[-1].turn == last.turn
        and spans[-1].end == int(controls[last.closing]) + 1 <= len(ids),
        no_forged_control=True,
        single_bos=bos is None or ids[:2].tolist() != [bos, bos],
        template_faithful=True,
        within_limit=not max_length or len(ids) <= max_length,
        trained_tokens=sum(span.end - span.start for span in spans),
    )
    if not certificate.ok:
        return Dropped(name, *_reason(certificate, len(ids), max_length))
    return _row(item, ids, offsets, controls, tuple(spans), certificate, lost, tokenizer)


def _forgery(
    ids: IntArray, controls: np.ndarray, item: _Prepared, tokenizer: ChatTokenizer
) -> tuple[str, str]:
    if tokenizer.unk_id in ids and tokenizer.unk_id not in item.layout.control_ids:
        return "unknown_token", "a character that the tokenizer has no token for"
    return "forged_control", (
        f"{len(controls)} control tokens where the template writes {len(item.layout.control_ids)}"
    )


def _lost(text: str, offsets: np.ndarray) -> list[tuple[int, str]]:
    """Characters that no token covers, and where: some vocabularies lack bytes (SmolLM2's has no
    escape character) and leave them out without a word, in training and serving alike."""
    starts = np.append(offsets[:, 0], len(text))
    covered = np.maximum.accumulate(np.insert(offsets[:, 1], 0, 0))
    gaps = np.flatnonzero(starts > covered)
    return [(int(covered[k]), text[covered[k] : starts[k]]) for k in gaps]


def _lost_command(item: _Prepared, lost: list[tuple[int, str]]) -> str:
    """Says which command would not come back whole from its tokens; '' when all do."""
    for seam in item.layout.seams:
        begin, end = item.places[seam.turn]
        if any(begin <= at < end for at, _ in lost):
            each = dict.fromkeys(item.turns[seam.turn].content)
            silent = "".join(one for one in each if not item.guard.encode(one).ids)
            return f"command turn {seam.turn} holds {silent!r}, which have no token"
    return ""


_REASONS = {
    "additive": ("boundary_merge", "a token crosses the beginning of a command"),
    "decodes": ("decode_mismatch", "the trained ids do not decode to the command text"),
    "terminal_whole": ("terminal_cut", "the last command's end-of-turn token is missing"),
    "single_bos": ("double_bos", "the template opens with two BOS tokens"),
}


def _reason(certificate: Certificate, length: int, max_length: int) -> tuple[str, str]:
    """The first line that does not hold, as (reason, detail)."""
    for line, reason in _REASONS.items():
        if not certificate.lines[line]:
            return reason
    if not certificate.within_limit:
        return "too_long", f"{length} tokens, the limit is {max_length}"
    return "nothing_trained", "no token would be trained"


def _span(
    seam: Seam,
    item: _Prepared,
    ids: IntArray,
    offsets: np.ndarray,
    controls: np.ndarray,
    tokenizer: ChatTokenizer,
) -> tuple[Span, bool]:
    """The trained span of a command turn, and whether what precedes it is cut as a prompt is."""
    begin = item.places[seam.turn][0] - len(seam.lead)
    start = int(np.searchsorted(offsets[:, 0], begin, side="left"))
    end = int(controls[seam.closing]) + 1
    whole = start < end and (start == 0 or int(offsets[start - 1, 1]) <= begin)
    if whole:
        # A control token is a hard cut, so the tokens after the last one decide.
        opening = controls[: np.searchsorted(controls, start)]
        first = int(opening[-1]) if len(opening) else 0
        prompt = item.text[int(offsets[first, 0]) if len(opening) else 0 : begin]
        whole = tokenizer.tail_ids(item.guard, prompt) == ids[first:start].tolist()
    return Span(start, max(start, end), seam.turn), whole


def _decodes(
    seam: Seam, span: Span, item: _Prepared, ids: IntArray, tokenizer: ChatTokenizer
) -> bool:
    """Whether the span's ids are the command: the template's own lead and tail (white space)
    around it are trained too, and a SentencePiece decoder drops one leading space."""
    command = item.turns[seam.turn].content
    if (seam.lead + seam.tail).strip():
        return False
    text = tokenizer.decode(ids[span.start : span.end - 1])
    return text in (seam.lead + command + seam.tail, seam.lead[1:] + command + seam.tail)


def _row(
    item: _Prepared,
    ids: IntArray,
    offsets: np.ndarray,
    controls: np.ndarray,
    spans: tuple[Span, ...],
    certificate: Certificate,
    lost: list[tuple[int, str]],
    tokenizer: ChatTokenizer,
) -> Row:
    starts, ends = offsets[:, 0], offsets[:, 1]
    opens = np.array([place[0] for place in item.places])
    closes = np.array([place[1] for place in item.places])
    turn = np.minimum(np.searchsorted(closes, starts, side="right"), len(closes) - 1)
    content = (ends > opens[turn]) & (starts < closes[turn])
    content[controls] = False
    control = np.zeros(len(ids), dtype=np.bool_)
    control[controls] = True
    # A turn's first control token after its content closes it and belongs to it.
    for number, part in enumerate(item.layout.parts[1:]):
        closing = item.guard.sentinel.search(part)
        if closing is not None:
            edge = item.places[number][1] + closing.end()
            turn[(starts >= closes[number]) & (ends <= edge)] = number
    grown = np.zeros(len(ids), dtype=np.int64)
    for place, token in zip(controls, item.layout.control_ids, strict=True):
        grown[place] = len(item.guard.literals[token]) - item.guard.width(token)
    shown = np.maximum.accumulate(ends + np.cumsum(grown))
    row = Row(
        id=item.trajectory.id,
        archetype=item.trajectory.archetype,
        turns=item.turns,
        text=item.guard.unmark(item.text),
        ids=ids.astype(np.int32),
        ends=shown.astype(np.int32),
        turn_of=turn.astype(np.int32),
        content=content,
        control=control,
        spans=spans,
        certificate=certificate,
        lost=sum(len(text) for _, text in lost),
        render_digest=tokenizer.render_digest,
    )
    for array in (row.ids, row.ends, row.turn_of, row.content, row.control):
        array.setflags(write=False)
    return row
