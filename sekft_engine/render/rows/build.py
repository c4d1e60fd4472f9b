"""Build rows: render, tokenise once, mask, certify. What cannot be certified is dropped by name.

What is proven of the template, and how, in time linear in the number of turns:

- *The whole.* The session is rendered once with the template, and that text must be the scaffold
  with the contents filled in. A template that trims, cuts or rewrites a content is found here.
- *Each prompt.* What precedes each command, rendered with the generation prompt, must be the
  beginning of the whole. For placeholders that is checked at every command turn
  (:mod:`~sekft_engine.render.template.layout`), on scaffolds that are read off few runs where the
  template is known to stream (:mod:`~sekft_engine.render.template.streaming`). It holds for the
  real contents as well if the template is *blind* to them: a traced run prints them and asks
  nothing about them that these contents would answer in another way
  (:mod:`~sekft_engine.render.template.taint_string`).
- If it inspects contents in another way, or some content answers otherwise (it contains
  ``</think>``, say), every prompt of the session is rendered and compared. That is quadratic, and
  exact. The first session of each length is compared as well, as a check on the tracing.

docs/render.md has a worked example. :func:`sekft_engine.render.rows.audit.audit` uses none of this
and compares everything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, groupby, islice
from operator import attrgetter

from sekft_engine.core.errors import BadInput
from sekft_engine.data.dropped import Dropped
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render.rows.explain import Prepared
from sekft_engine.render.rows.finish import finish
from sekft_engine.render.rows.row import Row
from sekft_engine.render.template.cut import Cut
from sekft_engine.render.template.guard import Guard
from sekft_engine.render.template.layout import SpanLayout
from sekft_engine.render.template.normalise import Refused, normalize_for_template
from sekft_engine.render.template.remarks.families import append_only
from sekft_engine.render.template.scaffold import Scaffold, fill, messages
from sekft_engine.render.template.tokenizer import ChatTokenizer

#: Sessions are tokenised so many at a time, or so many characters, on all cores.
_BATCH, _CHARACTERS = 128, 4_000_000
#: What the environment says after a session, to find how the template shows one that goes on.
_FOLLOWING = "$"
#: The first session of each length up to so many turns is compared prompt by prompt.
_ALWAYS_COMPARED = 64


def build_row(
    trajectory: Trajectory, tokenizer: ChatTokenizer, *, max_length: int = 0
) -> Row | Dropped:
    """The certified row of ``trajectory``, or why there is none.

    Args:
        trajectory: a session.
        tokenizer: the base's.
        max_length: the most tokens a row may have; 0 = any number.

    Returns:
        The row, or :class:`Dropped` with a named reason.
    """
    return next(build_here([trajectory], tokenizer, max_length=max_length))


def build_here(
    trajectories: Iterable[Trajectory], tokenizer: ChatTokenizer, *, max_length: int = 0
) -> Iterator[Row | Dropped]:
    """The row of each trajectory, in order and lazily, tokenised in batches by this process."""
    prepared = (
        [_prepare(trajectory, tokenizer) for trajectory in batch] for batch in batches(trajectories)
    )
    first, second = next(prepared, []), next(prepared, [])
    if not second:  # one batch is not worth a thread
        yield from _finish(first, _cut(first), tokenizer, max_length)
        return
    # The tokenizer's threads need no lock, so that Python finishes one batch while they cut the
    # next.
    with ThreadPoolExecutor(1, "cut") as thread:
        waiting: deque[tuple[list[Prepared | Dropped], Future[list[Cut]]]] = deque()
        for some in chain((first, second), prepared):
            waiting.append((some, thread.submit(_cut, some)))
            if len(waiting) > 1:
                done, cuts = waiting.popleft()
                yield from _finish(done, cuts.result(), tokenizer, max_length)
        for done, cuts in waiting:
            yield from _finish(done, cuts.result(), tokenizer, max_length)


def batches(trajectories: Iterable[Trajectory]) -> Iterator[list[Trajectory]]:
    """As many trajectories as are tokenised at once."""
    batch: list[Trajectory] = []
    size = 0
    for trajectory in trajectories:
        batch.append(trajectory)
        size += sum(len(turn.content) for turn in trajectory.turns)
        if len(batch) == _BATCH or size > _CHARACTERS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _cut(prepared: Sequence[Prepared | Dropped]) -> list[Cut]:
    """The tokens of each that was not dropped, in order; one call per guard in a row."""
    items = [item for item in prepared if isinstance(item, Prepared)]
    out: list[Cut] = []
    for guard, some in groupby(items, key=attrgetter("guard")):
        out += guard.cut([item.text for item in some])
    return out


def _finish(
    prepared: Sequence[Prepared | Dropped],
    cuts: Iterable[Cut],
    tokenizer: ChatTokenizer,
    max_length: int,
) -> Iterator[Row | Dropped]:
    each = iter(cuts)
    for guard, group in groupby(prepared, key=_guard_of):
        if guard is None:
            yield from (item for item in group if isinstance(item, Dropped))
            continue
        items = [item for item in group if isinstance(item, Prepared)]
        yield from finish(items, list(islice(each, len(items))), tokenizer, max_length)


def _guard_of(item: Prepared | Dropped) -> Guard | None:
    return None if isinstance(item, Dropped) else item.guard


def _prepare(trajectory: Trajectory, tokenizer: ChatTokenizer) -> Prepared | Dropped:
    """Normalise and render; the template must show every content as it stands."""
    try:
        return _render(trajectory, tokenizer)
    except Refused as error:
        detail = f"{error.what}; {error.mend}" if error.mend else error.what
        return Dropped(trajectory.id, error.reason, detail)
    except BadInput as error:
        return Dropped(trajectory.id, "bad_input", error.what)


def _render(trajectory: Trajectory, tokenizer: ChatTokenizer) -> Prepared:
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
    expected = fill(layout.scaffold.parts, contents)
    shown = _rendered(contents, layout, len(expected), tokenizer)
    if shown != expected:
        raise Refused(
            "template_rewrites_content",
            f"the chat template trims or rewrites {_culprit(shown, contents, tokenizer)}",
        )
    _check_prompts(contents, layout, tokenizer)
    for marker in layout.markers:
        for number, content in enumerate(contents):
            if marker in content:
                raise Refused(
                    "forged_control",
                    f"turn {number} holds {marker!r}, which this template writes as plain text "
                    "to part the turns",
                )
    return Prepared(
        trajectory=trajectory,
        turns=turns,
        contents=contents,
        shown=expected,
        text=layout.fill(contents),
        layout=layout,
        guard=guard,
    )


def _rendered(
    contents: list[str], layout: SpanLayout, length: int, tokenizer: ChatTokenizer
) -> str:
    """The template's text of the session. If the template closes a session in another way than one
    that goes on, the beginning of what a server shows before the command after it."""
    render = tokenizer.template.render
    try:
        if layout.followed:
            longer = messages([*contents, _FOLLOWING])
            return render(longer, add_generation_prompt=True)[:length]
        return render(messages(contents))
    except Refused as error:
        culprit = _refused_turn(contents, tokenizer)
        raise Refused(error.reason, f"{error.what}{culprit}", mend=error.mend) from error


def _refused_turn(contents: list[str], tokenizer: ChatTokenizer) -> str:
    """Says which turn alone makes the template raise an error; '' where none does alone."""
    if tokenizer.template.reached_limit:
        return ""
    for number in range(min(len(contents), _ALWAYS_COMPARED)):
        probe = ["x"] * len(contents)
        probe[number] = contents[number]
        try:
            tokenizer.template.render(messages(probe))
        except Refused:
            return f" (for turn {number})"
    return ""


def _check_prompts(contents: list[str], layout: SpanLayout, tokenizer: ChatTokenizer) -> None:
    """Refuse a session in which some prompt is not the beginning of the whole render."""
    turns = len(contents)
    proven = layout.scaffold.covers(contents)
    if proven and (turns > _ALWAYS_COMPARED or tokenizer.analysis.was_compared(turns)):
        return
    for turn in range(1, turns, 2):
        before = contents[:turn]
        prompt = tokenizer.template.render(messages(before), add_generation_prompt=True)
        if prompt == tokenizer.scaffolds.get(turn, prompt=True).fill(before):
            continue
        if proven:
            tokenizer.distrust()
        raise Refused(
            "not_additive",
            f"the chat template renders the turns before command turn {turn} in another way "
            "once more turns follow",
            mend=append_only(tokenizer.guard.literals.values()),
        )
    if proven:
        tokenizer.analysis.note_compared(turns)


def _culprit(shown: str, contents: list[str], tokenizer: ChatTokenizer) -> str:
    """The first turn whose content alone makes the template deviate."""
    scaffold = tokenizer.scaffolds.get(len(contents))
    likely = _first_difference(shown, contents, scaffold)
    for number in (likely, *range(len(contents))):
        probe = ["x"] * len(contents)
        probe[number] = contents[number]
        if tokenizer.template.render(messages(probe)) != scaffold.fill(probe):
            return f"the content of turn {number}"
    return "the contents"


def _first_difference(shown: str, contents: list[str], scaffold: Scaffold) -> int:
    """The last turn whose content begins before the first character that is not as expected."""
    at = 0
    for number, content in enumerate(contents):
        expected = scaffold.parts[number] + content
        if not shown.startswith(expected, at):
            return number
        at += len(expected)
    return len(contents) - 1
