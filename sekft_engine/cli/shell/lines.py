"""A session as lines for a pipe: one for each turn, and the verdict at its end."""

from __future__ import annotations

from collections.abc import Callable

from sekft_engine.core.text import visible
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.endings import ending_of
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.takeover.view import TakeOverView


class SessionLines:
    """Prints what is new of a session.

    A line has four parts, with a tab between them: the seconds since the session began, who (the
    world, or who typed), the exit status of a command, and the turn, with ``⏎`` for line breaks.

    Args:
        out: takes each line.
    """

    def __init__(self, out: Callable[[str], None]) -> None:
        self._out = out
        self._turns = 0
        self._judged: FinishedEpisode | None = None

    def show(self, view: TakeOverView) -> None:
        """Print what ``view`` has that was not printed yet."""
        for turn in view.turns[self._turns :]:
            self._out(turn_line(turn))
        self._turns = len(view.turns)
        if view.finished is not None and view.finished is not self._judged and view.settled:
            self._judged = view.finished
            for line in verdict_lines(view, view.finished):
                self._out(line)


def turn_line(turn: Turn) -> str:
    """The line of a turn."""
    who = str(turn.extra.get("by") or "") if turn.is_command else "world"
    status = "" if turn.exit_status is None else str(turn.exit_status)
    return "\t".join((f"{turn.t or 0.0:.1f}", visible(who), status, visible(turn.content)))


def verdict_lines(view: TakeOverView, finished: FinishedEpisode) -> list[str]:
    """The lines of the verdict, the checker and the certificate."""
    verdict, at = finished.verdict, f"{finished.seconds:.1f}"
    count = f"{verdict.steps} command{'s' * (verdict.steps != 1)}"
    said = [
        f"{ending_of(finished)}: {verdict.outcome} after {count}",
        "verified" if verdict.verified else "not verified",
    ]
    if not verdict.clean:
        said.append("prose")
    if verdict.outcome != verdict.expected:
        said.append(f"{verdict.expected} was right")
    if verdict.invalid:
        said.append(f"does not count: {verdict.invalid}")
    out = [f"{at}\tverdict\t\t{visible(', '.join(said))}"]
    checker = finished.trajectory.meta.get("checker")
    if isinstance(checker, dict):
        text = visible(str(checker.get("output", "")).strip("\n"))
        out.append(f"{at}\tchecker\t{checker.get('status', '')}\t{text}")
    if view.certificate is not None:
        facts = view.certificate
        text = f"whole, {facts['tokens']} tokens, {facts['trained_tokens']} of them trained"
    else:
        text = f"none: {view.uncertified}"
    out.append(f"{at}\tcertificate\t\t{visible(text)}")
    return out
