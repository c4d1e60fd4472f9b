"""The verdict: what is true of an episode. It judges how the session ended, what it left, and that
it was typed as commands; never what was said."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from sekft_engine.trajectory import Outcome

#: What rates are told of, in the order of the tables.
MEASURES = ("operates", "terminates", "verified", "clean_termination")


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """DESIGN section 7.

    Attributes:
        outcome: how the session ended; ``cap`` = by a limit, ``error`` = the shell or sandbox died.
        expected: the terminal that the scenario asks for.
        steps: commands typed; a blank line is none.
        clean: command-only; no turn is prose.
        operates: it typed commands, and nothing but commands.
        terminates: it ended by its own ``exit`` or ``panic``.
        verified: the checker passed on the state it left.
        clean_termination: it ended with the *right* terminal and is clean.
        invalid: why the episode does not count, '' = it counts.
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
        """Whether the session is worth training on."""
        return self.clean_termination and self.verified and not self.invalid


def judge(
    *,
    outcome: Outcome,
    expected: Literal["exit", "panic"],
    steps: int,
    prose_turns: int,
    verified: bool,
    invalid: str = "",
) -> Verdict:
    """Put the facts of an episode together. An invalid episode is credited with nothing."""
    counts = not invalid
    clean = prose_turns == 0 and counts
    terminates = outcome in ("exit", "panic") and counts
    return Verdict(
        outcome=outcome,
        expected=expected,
        steps=steps,
        clean=clean,
        operates=steps > 0 and clean,
        terminates=terminates,
        verified=verified and counts,
        clean_termination=terminates and outcome == expected and clean,
        invalid=invalid,
    )


def verdict_of(meta: dict[str, Any], *, outcome: Outcome, steps: int, verified: bool) -> Verdict:
    """The verdict of a stored episode, from its trajectory's ``meta``."""
    return judge(
        outcome=outcome,
        expected="panic" if meta.get("expected") == "panic" else "exit",
        steps=steps,
        prose_turns=0 if meta.get("clean") else 1,
        verified=verified,
        invalid=str(meta.get("invalid") or ""),
    )
