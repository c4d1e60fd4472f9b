"""Where the contents stand in a scaffold, and where each command's trained span begins and ends."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.render.guard import Guard
from sekft_engine.render.normalise import Refused
from sekft_engine.render.scaffold import Kept, fill
from sekft_engine.render.shape import Shape, Shapes, digests

Int64Array = npt.NDArray[np.int64]

#: The way out of a template that renders a session anew at every turn.
APPEND = "put a chat_template.jinja that only appends into the base's folder"
#: Layouts are kept up to so many parts in all, of some 80 bytes each; one is made in a fraction of
#: the time that rendering a session of as many turns takes.
_KEPT = 300_000


class Layout(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A scaffold of some number of turns, marked for one guard.

    Per command turn, in order (``turns`` are their numbers): what a generation prompt supplies
    ends ``leads`` (a text) before the command: that much the template writes though the model has
    to, so it is trained. ``tails`` (a text) stands between the command and its end-of-turn token,
    whose ordinal among the scaffold's control tokens (``control_ids``) is in ``closing``.

    ``markers`` are boundaries that the template writes as plain text (``[/INST]`` in the first
    Mistral template): content that holds one cannot be told from the scaffold. ``widths`` are the
    lengths of the ``parts`` in characters, ``edges[k]`` how far into the part after turn *k* the
    control token that closes it reaches (0 = none does). ``digest`` tells what the template
    writes from what it writes at another time, should it print the date.
    """

    parts: tuple[str, ...]
    shape: Shape
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

    def fill(self, contents: Sequence[str]) -> str:
        """The marked text."""
        return fill(self.parts, contents)

    def places(self, contents: Sequence[str]) -> tuple[Int64Array, Int64Array]:
        """Where in the marked text each content begins and ends."""
        lengths = np.fromiter(map(len, contents), dtype=np.int64, count=len(contents))
        closes = np.cumsum(self.widths[:-1] + lengths)
        return closes - lengths, closes


class Layouts:
    """The layouts of one tokenizer, kept per number of turns. Safe to use from several threads."""

    def __init__(self, shapes: Shapes) -> None:
        self._shapes = shapes
        self._kept: Kept[tuple[int, int], Layout] = Kept(_KEPT)

    def forget(self) -> None:
        """Make all layouts anew."""
        self._kept.forget()

    def get(self, turns: int, guard: Guard) -> Layout:
        """The layout of ``turns`` turns.

        Raises:
            Refused: the template is not additive, or leaves a command turn open.
        """
        return self._kept.get(
            (turns, guard.nonce), turns, lambda: _make(self._shapes.get(turns), turns, guard)
        )


class _Marks:
    """A scaffold's few different parts, marked and searched once each."""

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


def _make(shape: Shape, turns: int, guard: Guard) -> Layout:
    marks = _Marks(guard)
    parts = tuple(map(marks.mark, shape.parts))
    leads, tails, closing = [], [], []
    controls = 0
    for number, turn in enumerate(range(1, turns, 2)):
        lead, tail = _seam(turn, shape, number, parts, marks, guard)
        leads.append(lead)
        tails.append(tail)
        controls += len(marks.ids(parts[turn - 1])) + len(marks.ids(parts[turn]))
        closing.append(controls)
    bare = (plain.strip() for plain in set(shape.parts[1:-1]) if not marks.ids(marks.mark(plain)))
    ends = {part: found.end() for part in set(parts) if (found := guard.sentinel.search(part))}
    return Layout(
        parts=parts,
        shape=shape,
        turns=np.arange(1, turns, 2),
        leads=tuple(leads),
        lead_widths=np.fromiter(map(len, leads), dtype=np.int64, count=len(leads)),
        tails=tuple(tails),
        closing=np.array(closing, dtype=np.int64),
        control_ids=np.array([one for part in parts for one in marks.ids(part)], dtype=np.int64),
        markers=tuple(sorted({part for part in bare if part})),
        widths=np.fromiter(map(len, parts), dtype=np.int64, count=len(parts)),
        edges=np.array([ends.get(part, 0) for part in parts[1:]], dtype=np.int64),
        digest=digests(shape.parts)[-1],
    )


def _seam(
    turn: int, shape: Shape, number: int, parts: tuple[str, ...], marks: _Marks, guard: Guard
) -> tuple[str, str]:
    """The lead and the tail of a command turn."""
    plain = shape.headers[number]
    if plain is None:
        raise Refused(
            "not_additive",
            f"the chat template renders the turns before command turn {turn} in another way "
            "once more turns follow",
            mend=APPEND,
        )
    header = marks.mark(plain)
    if not parts[turn].startswith(header):
        raise Refused(
            "not_additive",
            f"the chat template asks for command turn {turn} with {plain!r}, but shows "
            f"{shape.parts[turn]!r} before it once it is said",
            mend=APPEND,
        )
    # As the last turn: what follows there closes the command and is no next turn's header.
    closed = marks.mark(shape.closings[number])
    closing = guard.sentinel.search(closed)
    lead = parts[turn][len(header) :]
    if closing is None:
        raise Refused(
            "no_end_of_turn",
            f"no control token closes command turn {turn}",
            mend="use an instruct base whose template ends turns",
        )
    if marks.ids(lead) or lead.strip():
        raise Refused(
            "writes_before_command",
            f"the chat template writes {guard.unmark(lead)!r} before command turn {turn}, "
            "which its generation prompt does not ask with",
            mend=APPEND,
        )
    if not parts[turn + 1].startswith(closed[: closing.end()]):
        raise Refused(
            "not_additive",
            f"the chat template closes command turn {turn} in another way once more follow",
            mend=APPEND,
        )
    return lead, closed[: closing.start()]
