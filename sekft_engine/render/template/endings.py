"""Which control token ends a command turn.

A template may close the last turn of a session in another way than the turns before it: Olmo 3
closes them with ``<|im_end|>`` and the last one with EOS. No session that is continued shows that,
so what counts is how a turn is closed once another follows.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

import msgspec

from sekft_engine.render.template.guard import Guard
from sekft_engine.render.template.normalise import Refused
from sekft_engine.render.template.remarks.families import append_only
from sekft_engine.render.template.streaming import SessionScaffold, TemplateAnalysis


def openers(parts: Iterable[str], guard: Guard) -> frozenset[int]:
    """The control tokens that stand last before a content: they open turns.

    Args:
        parts: those of a scaffold that precede contents.
        guard: knows control tokens.
    """
    found = (guard.control_ids(guard.mark(part)) for part in set(parts))
    return frozenset(ids[-1] for ids in found if ids)


def closing_of(part: str, opening: Set[int], guard: Guard, stops: Set[int]) -> str | None:
    """How a turn is closed once another follows: the beginning of ``part`` up to the control token
    that ends the turn, marked; None where it is not certain that one does.

    A token that opens turns does not end one, unless the base's own configuration says that
    generation stops at it (GLM's ``<|user|>``).

    Args:
        part: what the template writes between the two contents.
        opening: the tokens that open turns.
        guard: knows control tokens.
        stops: at which generation stops.
    """
    marked = guard.mark(part)
    found = guard.sentinel.search(marked)
    if found is None or (int(found[1]) in opening and int(found[1]) not in stops):
        return None
    return marked[: found.end()]


def open_ended(guard: Guard, where: str) -> Refused:
    """That no control token ends a command turn.

    Args:
        guard: knows control tokens.
        where: what the error names.
    """
    return Refused(
        "no_end_of_turn",
        "the chat template closes a command turn with no control token",
        where=where,
        mend=append_only(guard.literals.values()),
    )


def followed(
    analysis: TemplateAnalysis, turns: int, guard: Guard, stops: Set[int]
) -> SessionScaffold | None:
    """The scaffold of a session that goes on, up to the token that ends its last command; None
    where it is not certain which token that is.

    It is what a server shows before the command after the session, cut there.

    Args:
        analysis: of the template.
        turns: of the session.
        guard: knows control tokens.
        stops: at which generation stops.
    """
    ends_with_command = turns % 2 == 0
    longer = analysis.session(turns + 2 if ends_with_command else turns)
    if ends_with_command and longer.headers[-1] is None:
        return None
    opening = openers(longer.parts[:-1], guard)
    closings = []
    for turn in range(1, turns, 2):
        closing = closing_of(longer.parts[turn + 1], opening, guard, stops)
        if closing is None:
            return None
        closings.append(guard.unmark(closing))
    parts = longer.parts[: turns + 1]
    if ends_with_command:
        parts = (*parts[:-1], closings[-1])
    return msgspec.structs.replace(
        longer, parts=parts, headers=longer.headers[: turns // 2], closings=tuple(closings)
    )
