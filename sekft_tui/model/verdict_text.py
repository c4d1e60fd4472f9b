"""The text under a session that is over: verdict, output of the checker, final world."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.core.text import count
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.records.events import EpisodeDone
from sekft_tui.text import Parts, chop, duration, visible, visible_lines, wrapped

if TYPE_CHECKING:
    from sekft_engine.episodes.reference import StateDifference
    from sekft_engine.episodes.state import PathDifference

_HOME = "/home/user/"
#: Lines that are shown of a checker's output, and of one file that differs.
_CHECKER_LINES, _FILE_LINES = 40, 12
#: How a session ended, by the name of the limit.
_LIMITS = {
    "commands": "was cut off at the command limit",
    "context": "was cut off: the context was full",
    "time": "was cut off at the time limit",
    "hand": "was ended by hand",
}
_SIGNS = {"+": "good", "-": "bad", "~": "warn"}


class Checker(NamedTuple):
    """Exit status and output of a world's checker."""

    status: int
    output: str


class Ending(NamedTuple):
    """What is shown under a session.

    ``difference`` is that of the final world; while it is computed, ``pending`` says what is being
    done. ``limit`` names the limit that cut the session off, if one did.
    """

    verdict: EpisodeDone | None = None
    checker: Checker | None = None
    difference: StateDifference | None = None
    pending: str = ""
    limit: str = ""

    def lines(self, width: int) -> list[Parts]:
        out: list[Parts] = []
        if self.verdict is not None:
            out += verdict_lines(self.verdict, width, self.limit)
        if self.checker is not None:
            out += _checker_lines(self.checker, width)
        if self.difference is not None or self.pending:
            out += _head("final world against the reference's", width)
            if self.difference is None:
                out.append((("… ", "accent"), (self.pending, "quiet")))
            else:
                out += _difference_lines(self.difference, width)
        return out


def checker_of(trajectory: Trajectory) -> Checker | None:
    """The checker's result of a stored episode; None if none was run."""
    found = trajectory.meta.get("checker")
    if not isinstance(found, dict):
        return None
    status = found.get("status")
    return Checker(status if isinstance(status, int) else -1, str(found.get("output", "")))


def limit_of(trajectory: Trajectory) -> str:
    """Which limit cut a stored episode off; "" = none."""
    return str(trajectory.meta.get("limit") or "")


def _head(title: str, width: int) -> list[Parts]:
    title = f"── {title} "
    return [(), ((title, "head"), ("─" * max(0, width - len(title) - 1), "rule"))]


def verdict_lines(verdict: EpisodeDone, width: int, limit: str = "") -> list[Parts]:
    """The verdict in words."""
    out = _head("verdict", width)
    if verdict.invalid:
        why = f"invalid, does not count: {visible(verdict.invalid)}"
        return [*out, *_wrapped("! ", "warn", why, "warn", width)]
    ended = {
        "cap": _LIMITS.get(limit, "was cut off by a limit"),
        "error": "the shell died",
    }.get(verdict.outcome, f"ended by itself with {verdict.outcome}")
    rows = (
        (verdict.clean, "commands only", "wrote prose where a command belongs"),
        (verdict.terminates, ended, ended),
        (
            verdict.clean_termination,
            "the right terminal",
            f"should have ended with a clean {verdict.expected}",
        ),
        (verdict.verified, "the checker passed", "the checker failed"),
    )
    for ok, yes, no in rows:
        mark = ("✓ ", "good") if ok else ("✗ ", "bad")
        out += _wrapped(*mark, yes if ok else no, "text", width)
    took = f"{count(verdict.steps, 'command')} in {duration(verdict.seconds)}"
    out.append((("  ", ""), (took, "quiet")))
    return out


def _checker_lines(checker: Checker, width: int) -> list[Parts]:
    out = _head("output of the checker", width)
    lines = visible_lines(checker.output.strip("\n"))
    if not checker.output.strip():
        lines = ["(nothing)"]
    for line in lines[:_CHECKER_LINES]:
        out += _wrapped("  ", "", line, "text", width)
    if len(lines) > _CHECKER_LINES:
        out.append((("  ", ""), (f"… {len(lines) - _CHECKER_LINES} more lines", "quiet")))
    out.append((("  ", ""), (f"exit {checker.status}", "quiet" if not checker.status else "bad")))
    return out


def _difference_lines(found: StateDifference, width: int) -> list[Parts]:
    if found.unknown:
        return _wrapped("! ", "warn", f"not known: {visible(found.unknown)}", "warn", width)
    out: list[Parts] = []
    if found.same:
        out += _wrapped("✓ ", "good", "as the reference solution leaves it", "text", width)
    for difference in found.differences:
        out += _path_lines(difference, width)
    if found.partly:
        out += _wrapped("! ", "warn", f"there may be more: {found.partly}", "warn", width)
    return out


def _path_lines(difference: PathDifference, width: int) -> list[Parts]:
    path = difference.path
    if path.startswith(_HOME):
        path = "~/" + path.removeprefix(_HOME)
    style = _SIGNS[difference.sign]
    missing = "not there: " if difference.sign == "-" else ""
    text = f"{visible(path)}  {missing}{visible(difference.what)}"
    out = _wrapped(f"{difference.sign} ", style, text, "text", width)
    for line in difference.lines[:_FILE_LINES]:
        shade = {"+": "good", "-": "bad"}.get(line[:1], "quiet")
        out += _wrapped("  │ ", "rule", visible(line), shade, width)
    if len(difference.lines) > _FILE_LINES:
        more = f"… {len(difference.lines) - _FILE_LINES} more lines"
        out.append((("  │ ", "rule"), (more, "quiet")))
    return out


def _wrapped(mark: str, mark_style: str, text: str, style: str, width: int) -> list[Parts]:
    """``text`` behind ``mark``, in as many lines as it takes."""
    room = max(8, width - len(mark) - 1)
    cut = wrapped if text.isascii() and mark_style != "rule" else chop
    return [
        ((mark if not number else " " * len(mark), mark_style), (piece, style))
        for number, piece in enumerate(cut(text, room))
    ]
