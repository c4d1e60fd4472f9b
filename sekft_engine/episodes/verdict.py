"""The verdict of an episode: how it ended, the state it left, and whether it is all commands.

The text of the commands is judged only for being commands; what counts besides is the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from sekft_engine.data.trajectory import Outcome

#: The measures whose rates are reported, in the order of the tables.
MEASURES = ("operates", "terminates", "verified", "clean_termination")


class Judged(Protocol):
    """What :data:`KINDS` asks of a verdict, be it :class:`Verdict` or an event."""

    @property
    def outcome(self) -> str: ...
    @property
    def expected(self) -> str: ...
    @property
    def verified(self) -> bool: ...
    @property
    def clean_termination(self) -> bool: ...
    @property
    def invalid(self) -> str: ...


class KindMeasure(NamedTuple):
    """A measure of one kind of world: the terminal that is right there, and what is true of an
    episode in such a world."""

    terminal: Literal["exit", "panic"]
    holds: Callable[[Judged], bool]


def _done_rightly(verdict: Judged) -> bool:
    return verdict.clean_termination and verdict.verified


#: Measures by the kind of world: a doable one has to be done, a blocked one given up with a reason.
#: Together they hide what a program could score that gives up everywhere.
KINDS: Mapping[str, KindMeasure] = {
    "solved": KindMeasure("exit", _done_rightly),
    "wrongly_given_up": KindMeasure("exit", lambda verdict: verdict.outcome == "panic"),
    "rightly_given_up": KindMeasure("panic", _done_rightly),
}


def fulfils(verdict: Judged, measure: str) -> bool:
    """Whether an episode fulfils a measure of :data:`KINDS`."""
    kind = KINDS[measure]
    return not verdict.invalid and verdict.expected == kind.terminal and kind.holds(verdict)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is true of an episode.

    Attributes:
        outcome: how the session ended; ``cap`` = by a limit, ``error`` = the shell or sandbox died.
        expected: the terminal that the scenario asks for.
        steps: number of commands typed; a blank line is not one.
        clean: no turn is prose, see :func:`~sekft_engine.episodes.clean.is_prose`.
        operates: at least one command was typed that the shell knew, and no prose. Episodes of
            older versions, which did not record what the shell knew, operate with any command.
        terminates: the session ended by its own ``exit`` or ``panic``.
        verified: the checker passed on the state that the session left.
        clean_termination: it ended with the *right* terminal and is clean.
        invalid: why the episode does not count; empty where it counts. Something other than the
            operator failed then, such as the sandbox or a server.
    """

    outcome: Outcome
    expected: Literal["exit", "panic"]
    steps: int
    clean: bool
    operates: bool
    terminates: bool
    verified: bool
    clean_termination: bool
    invalid: str = ""

    @property
    def keep(self) -> bool:
        """Whether the session is worth training on: nothing speaks against it."""
        return not self.why_not_kept

    @property
    def why_not_kept(self) -> str:
        """Why the session is not worth training on; empty where it is."""
        if self.invalid:
            return f"it does not count: {self.invalid}"
        wrong = self.terminates and self.outcome != self.expected
        reasons = (
            (not self.clean, "a turn is prose"),
            (not self.terminates, "it did not end by itself"),
            (wrong, f"it ended by {self.outcome}, and {self.expected} was right"),
            (not self.verified, "the checker failed"),
        )
        return ", ".join(reason for true, reason in reasons if true)


def judge(
    *,
    outcome: Outcome,
    expected: Literal["exit", "panic"],
    steps: int,
    prose_turns: int,
    verified: bool,
    invalid: str = "",
    known_commands: int | None = None,
) -> Verdict:
    """The verdict that follows from the facts of an episode.

    Args:
        outcome: how the session ended.
        expected: the terminal that the scenario asks for.
        steps: number of commands typed.
        prose_turns: number of turns that are prose.
        verified: whether the checker passed.
        invalid: why the episode does not count; then every measure is false.
        known_commands: in how many turns the shell knew a command; None = it is not recorded.
    """
    counts = not invalid
    clean = prose_turns == 0 and counts
    terminates = outcome in ("exit", "panic") and counts
    return Verdict(
        outcome=outcome,
        expected=expected,
        steps=steps,
        clean=clean,
        operates=steps > 0 and clean and known_commands != 0,
        terminates=terminates,
        verified=verified and counts,
        clean_termination=terminates and outcome == expected and clean,
        invalid=invalid,
    )


def verdict_of(meta: dict[str, Any], *, outcome: Outcome, steps: int, verified: bool) -> Verdict:
    """The verdict of a stored episode, from its trajectory and its ``meta``."""
    known = meta.get("known_commands")
    return judge(
        outcome=outcome,
        expected="panic" if meta.get("expected") == "panic" else "exit",
        steps=steps,
        prose_turns=0 if meta.get("clean") else 1,
        verified=verified,
        invalid=str(meta.get("invalid") or ""),
        known_commands=known if isinstance(known, int) else None,
    )
