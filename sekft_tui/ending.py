"""What stands under a session that is over: the verdict, the checker's words, the final world."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.events import EpisodeDone
from sekft_engine.trajectory import Trajectory
from sekft_tui.text import Parts, chop, duration, visible, visible_lines, wrapped

if TYPE_CHECKING:
    from sekft_engine.evaluate.reference import StateDifference
    from sekft_engine.evaluate.state import Difference

_HOME = "/home/user/"
#: So many lines of what a checker said, and of one file that differs, are enough to see why.
_CHECKER_LINES, _FILE_LINES = 40, 12
#: What it means that a limit of this name ended a session.
_LIMITS = {
    "commands": "was cut off: it may type no more commands",
    "context": "was cut off: its context was full",
    "time": "was cut off: its session time was up",
    "hand": "was ended by hand",
}
_SIGNS = {"+": "good", "-": "bad", "~": "warn"}


class Checker(NamedTuple):
    """How the checker of a world ended, and what it printed."""

    status: int
    output: str


class Ending(NamedTuple):
    """``pending``: what is being done to know the difference; empty = nothing is. ``limit``: which
    one cut the session off, where that is known."""

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
    """What the checker of a stored episode did; None where none was run."""
    found = trajectory.meta.get("checker")
    if not isinstance(found, dict):
        return None
    status = found.get("status")
    return Checker(status if isinstance(status, int) else -1, str(found.get("output", "")))


def limit_of(trajectory: Trajectory) -> str:
    """Which limit cut a stored episode off; '' where none did."""
    return str(trajectory.meta.get("limit") or "")


def _head(title: str, width: int) -> list[Parts]:
    title = f"── {title} "
    return [(), ((title, "head"), ("─" * max(0, width - len(title) - 1), "rule"))]


def verdict_lines(verdict: EpisodeDone, width: int, limit: str = "") -> list[Parts]:
    """The verdict, said in words."""
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
            f"not a clean {verdict.expected}, which the directives ask for",
        ),
        (verdict.verified, "the checker passed", "the checker failed"),
    )
    for ok, yes, no in rows:
        mark = ("✓ ", "good") if ok else ("✗ ", "bad")
        out += _wrapped(*mark, yes if ok else no, "text", width)
    took = f"{verdict.steps} commands in {duration(verdict.seconds)}"
    out.append((("  ", ""), (took, "quiet")))
    return out


def _checker_lines(checker: Checker, width: int) -> list[Parts]:
    out = _head("the checker said", width)
    said = visible_lines(checker.output.strip("\n"))
    if not checker.output.strip():
        said = ["(nothing)"]
    for line in said[:_CHECKER_LINES]:
        out += _wrapped("  ", "", line, "text", width)
    if len(said) > _CHECKER_LINES:
        out.append((("  ", ""), (f"… {len(said) - _CHECKER_LINES} more lines", "quiet")))
    out.append((("  ", ""), (f"exit {checker.status}", "quiet" if not checker.status else "bad")))
    return out


def _difference_lines(found: StateDifference, width: int) -> list[Parts]:
    if found.unknown:
        return _wrapped("! ", "warn", f"cannot be told: {visible(found.unknown)}", "warn", width)
    out: list[Parts] = []
    if found.same:
        out += _wrapped("✓ ", "good", "as the reference solution leaves it", "text", width)
    for one in found.differences:
        out += _path_lines(one, width)
    if found.partly:
        out += _wrapped("! ", "warn", f"this may not be all: {found.partly}", "warn", width)
    return out


def _path_lines(one: Difference, width: int) -> list[Parts]:
    path = "~/" + one.path.removeprefix(_HOME) if one.path.startswith(_HOME) else one.path
    style = _SIGNS[one.sign]
    missing = "not there: " if one.sign == "-" else ""
    text = f"{visible(path)}  {missing}{visible(one.what)}"
    out = _wrapped(f"{one.sign} ", style, text, "text", width)
    for line in one.lines[:_FILE_LINES]:
        shade = {"+": "good", "-": "bad"}.get(line[:1], "quiet")
        out += _wrapped("  │ ", "rule", visible(line), shade, width)
    if len(one.lines) > _FILE_LINES:
        more = f"… {len(one.lines) - _FILE_LINES} more lines"
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
