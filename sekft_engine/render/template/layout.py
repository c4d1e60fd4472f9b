"""Where the contents are in a scaffold, and where each command's trained span begins and ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.data.clock import Clock
from sekft_engine.render.template.endings import followed as followed_scaffold
from sekft_engine.render.template.guard import Guard
from sekft_engine.render.template.normalise import Refused
from sekft_engine.render.template.remarks.families import append_only
from sekft_engine.render.template.scaffold import TurnCache, fill
from sekft_engine.render.template.streaming import SessionScaffold, TemplateAnalysis, digests

Int64Array = npt.NDArray[np.int64]

#: Layouts are cached up to so many parts in all, of some 80 bytes each. Making one takes a fraction
#: of the time that rendering a session of as many turns takes.
_CACHED_PARTS = 300_000


class SpanLayout(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The scaffold of *n* turns, marked for one guard, with the places of its trained spans.

    Attributes:
        parts: *n* + 1 texts with control tokens as sentinels.
        scaffold: the same unmarked, with the prompts.
        turns: ``(commands,)`` int64, the numbers of the command turns.
        leads: per command, the text between the end of its generation prompt and the command. A
            prompt does not write it, so the model has to, and it is trained.
        lead_widths: ``(commands,)`` int64, their lengths in characters.
        tails: per command, the text between the command and its end-of-turn token.
        closing: ``(commands,)`` int64, the index in ``control_ids`` of its end-of-turn token.
        control_ids: ``(controls,)`` int64, all control tokens of the scaffold in order.
        markers: boundaries that the template writes as plain text (``[/INST]`` in the first
            Mistral template). A content with one in it looks like scaffold.
        widths: ``(n + 1,)`` int64, the lengths of ``parts`` in characters.
        edges: ``(n,)`` int64, how far into the part after turn *k* the control token that closes
            the turn reaches, in characters; 0 = no token closes it.
        digest: of the scaffold's text; it changes with the date if the template prints the date.
        followed: the template closes a session in another way than one that goes on, and this is
            the beginning of the latter.
        clock: what the template prints as now; None = it does not print it.
    """

    parts: tuple[str, ...]
    scaffold: SessionScaffold
    turns: Int64Array
    leads: tuple[str, ...]
    lead_widths: Int64Array
    tails: tuple[str, ...]
    closing: Int64Array
    control_ids: Int64Array
    markers: tuple[str, ...]
    widths: Int64Array
    edges: Int64Array
    digest: bytes
    followed: bool
    clock: Clock | None

    def fill(self, contents: Sequence[str]) -> str:
        """The marked text."""
        return fill(self.parts, contents)

    def places(self, contents: Sequence[str]) -> tuple[Int64Array, Int64Array]:
        """Where each content begins and ends in the marked text.

        Args:
            contents: of the *n* turns.

        Returns:
            Two arrays ``(n,)`` int64 of characters: begins and ends.
        """
        lengths = np.fromiter(map(len, contents), dtype=np.int64, count=len(contents))
        closes = np.cumsum(self.widths[:-1] + lengths)
        return closes - lengths, closes


class SpanLayouts:
    """The layouts of one tokenizer, cached by number of turns. Thread-safe.

    Args:
        analysis: of the tokenizer's template.
        stops: ids at which generation stops, as the base's configuration says.
        served_end: says which token ends a command once another turn follows; None = not certain.
        clock: says what the template prints as now; None = it does not print it.
    """

    def __init__(
        self,
        analysis: TemplateAnalysis,
        stops: frozenset[int] = frozenset(),
        served_end: Callable[[], int | None] = lambda: None,
        clock: Callable[[], Clock | None] = lambda: None,
    ) -> None:
        self._analysis, self._stops = analysis, stops
        self._served_end, self._clock = served_end, clock
        self._cache: TurnCache[tuple[int, int], SpanLayout] = TurnCache(_CACHED_PARTS)

    def clear(self) -> None:
        """Drop all cached layouts."""
        self._cache.clear()

    def get(self, turns: int, guard: Guard) -> SpanLayout:
        """The layout of ``turns`` turns.

        Raises:
            Refused: the template is not additive, or leaves a command turn open.
        """
        return self._cache.get((turns, guard.nonce), turns, lambda: self._make(turns, guard))

    def _make(self, turns: int, guard: Guard) -> SpanLayout:
        refusal: Refused | None = None
        try:
            layout = _make(self._analysis.session(turns), turns, guard, self._clock())
        except _OtherEnding as error:
            refusal = error
        else:
            served = self._served_end()
            if served is None or (layout.control_ids[layout.closing] == served).all():
                return layout
        scaffold = followed_scaffold(self._analysis, turns, guard, self._stops)
        if scaffold is not None:
            goes_on = turns % 2 == 0
            return _make(scaffold, turns, guard, self._clock(), followed=goes_on)
        if refusal is not None:
            raise refusal
        return layout


class _OtherEnding(Refused):
    """Refused for how the template closes the last turn."""


class _MarkedParts:
    """The few different parts of a scaffold; each is marked and searched once."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._marked: dict[str, str] = {}
        self._ids: dict[str, list[int]] = {}

    def mark(self, part: str) -> str:
        found = self._marked.get(part)
        if found is None:
            found = self._marked[part] = self._guard.mark(part)
        return found

    def ids(self, marked: str) -> list[int]:
        found = self._ids.get(marked)
        if found is None:
            found = self._ids[marked] = self._guard.control_ids(marked)
        return found


def _make(
    scaffold: SessionScaffold,
    turns: int,
    guard: Guard,
    clock: Clock | None,
    *,
    followed: bool = False,
) -> SpanLayout:
    marks = _MarkedParts(guard)
    parts = tuple(map(marks.mark, scaffold.parts))
    leads, tails, closing = [], [], []
    controls = 0
    for number, turn in enumerate(range(1, turns, 2)):
        lead, tail = _command_edges(turn, scaffold, number, parts, marks, guard)
        leads.append(lead)
        tails.append(tail)
        controls += len(marks.ids(parts[turn - 1])) + len(marks.ids(parts[turn]))
        closing.append(controls)
    bare = (
        plain.strip() for plain in set(scaffold.parts[1:-1]) if not marks.ids(marks.mark(plain))
    )
    ends = {part: found.end() for part in set(parts) if (found := guard.sentinel.search(part))}
    return SpanLayout(
        parts=parts,
        scaffold=scaffold,
        turns=np.arange(1, turns, 2),
        leads=tuple(leads),
        lead_widths=np.fromiter(map(len, leads), dtype=np.int64, count=len(leads)),
        tails=tuple(tails),
        closing=np.array(closing, dtype=np.int64),
        control_ids=np.array(
            [token for part in parts for token in marks.ids(part)], dtype=np.int64
        ),
        markers=tuple(sorted({part for part in bare if part})),
        widths=np.fromiter(map(len, parts), dtype=np.int64, count=len(parts)),
        edges=np.array([ends.get(part, 0) for part in parts[1:]], dtype=np.int64),
        digest=digests(scaffold.parts)[-1],
        followed=followed,
        clock=clock,
    )


def _command_edges(
    turn: int,
    scaffold: SessionScaffold,
    number: int,
    parts: tuple[str, ...],
    marks: _MarkedParts,
    guard: Guard,
) -> tuple[str, str]:
    """The lead and the tail of a command turn."""
    append = append_only(guard.literals.values())
    plain = scaffold.headers[number]
    if plain is None:
        raise Refused(
            "not_additive",
            f"the chat template renders the turns before command turn {turn} in another way "
            "once more turns follow",
            mend=append,
        )
    header = marks.mark(plain)
    if not parts[turn].startswith(header):
        raise Refused(
            "not_additive",
            f"the chat template asks for command turn {turn} with {plain!r}, but shows "
            f"{scaffold.parts[turn]!r} before it once it is said",
            mend=append,
        )
    # With the command as the last turn, what follows closes it and is no next turn's header.
    closed = marks.mark(scaffold.closings[number])
    closing = guard.sentinel.search(closed)
    lead = parts[turn][len(header) :]
    if marks.ids(lead) or lead.strip():
        raise Refused(
            "writes_before_command",
            f"the chat template writes {guard.unmark(lead)!r} before command turn {turn}, "
            f"which its generation prompt, {plain!r}, does not ask with",
            mend=append,
        )
    if closing is None:
        raise _OtherEnding(
            "no_end_of_turn",
            f"no control token closes command turn {turn}: {scaffold.closings[number]!r} follows "
            "it",
            mend=append,
        )
    if not parts[turn + 1].startswith(closed[: closing.end()]):
        raise _OtherEnding(
            "not_additive",
            f"the chat template closes command turn {turn} with {scaffold.closings[number]!r} at "
            f"the end, and with {scaffold.parts[turn + 1]!r} once more turns follow",
            mend=append,
        )
    return lead, closed[: closing.start()]
