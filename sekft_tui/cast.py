"""An episode as something that can be played: frames on a clock, markers, lines at a moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sekft_engine.events import EpisodeDone, TurnDone
from sekft_engine.trajectory import Trajectory
from sekft_tui.text import Parts, duration, visible_lines

#: Waits longer than this are cut to it when the idle limit is on.
IDLE_LIMIT_S = 2.0
#: A command appears character by character over at most so long before its time.
TYPING_S = 1.2
_PROMPT_ENDS = ("$", "#", "%", ">")
#: Between turns of a session that was recorded without a clock.
STEP_S = 1.0


class Frame(NamedTuple):
    """Something that appeared at ``at`` seconds. ``status`` is the exit status of a command."""

    at: float
    kind: Literal["environment", "command"]
    text: str
    status: int | None = None


class Marker(NamedTuple):
    at: float
    label: str
    style: str


class Moment(NamedTuple):
    """What is on the screen: frames shown whole, and how much of the next one is typed."""

    shown: int
    typed: int


class Cast:
    """A recorded or still running episode.

    Args:
        frames: in the order of their times.
        verdict: at the end; None while the episode runs, or for a session never judged.
        idle_limit: cut longer waits to this many seconds; 0 = as recorded.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        verdict: EpisodeDone | None = None,
        idle_limit: float = IDLE_LIMIT_S,
    ) -> None:
        self.frames = tuple(frames)
        self.verdict = verdict
        self.idle_limit = idle_limit
        self.times = tuple(_play_times(self.frames, idle_limit))
        self.markers = tuple(self._find_markers())

    @property
    def length(self) -> float:
        """Seconds that playing takes."""
        return self.times[-1] if self.times else 0.0

    @property
    def recorded(self) -> float:
        """Seconds that it took."""
        return self.frames[-1].at if self.frames else 0.0

    def with_limit(self, idle_limit: float) -> Cast:
        return Cast(self.frames, self.verdict, idle_limit)

    def recorded_at(self, position: float) -> float:
        """The recorded time at a playing position."""
        shown = bisect_right(self.times, position)
        if shown == 0:
            return self.frames[0].at if self.frames else 0.0
        if shown == len(self.frames):
            return self.recorded
        before, after = self.times[shown - 1], self.times[shown]
        share = (position - before) / (after - before) if after > before else 1.0
        start, end = self.frames[shown - 1].at, self.frames[shown].at
        return start + share * (end - start)

    def moment(self, position: float) -> Moment:
        """What is on the screen at ``position``."""
        shown = bisect_right(self.times, position + 1e-9)
        if shown >= len(self.frames):
            return Moment(len(self.frames), 0)
        following = self.frames[shown]
        if following.kind != "command" or not shown:
            return Moment(shown, 0)
        start, end = self.times[shown - 1], self.times[shown]
        begins = max(start, end - TYPING_S)
        if position <= begins or end <= begins:
            return Moment(shown, 0)
        return Moment(shown, int(len(following.text) * (position - begins) / (end - begins)))

    def step_from(self, position: float, by: int) -> float:
        """The position of the next or previous turn."""
        shown = self.moment(position).shown
        target = max(1, min(shown + by, len(self.frames)))
        return self.times[target - 1] if self.times else 0.0

    def marker_from(self, position: float, by: int) -> Marker | None:
        """The next or previous marker."""
        if by > 0:
            found = [marker for marker in self.markers if marker.at > position + 1e-6]
            return found[0] if found else None
        found = [marker for marker in self.markers if marker.at < position - 1e-6]
        return found[-1] if found else None

    def _find_markers(self) -> list[Marker]:
        commands = [n for n, frame in enumerate(self.frames) if frame.kind == "command"]
        if not commands:
            return []
        found = [Marker(self.times[commands[0]], "first command", "key")]
        for number in commands:
            status = self.frames[number].status
            if status:
                found.append(Marker(self.times[number], f"first failure (exit {status})", "warn"))
                break
        last = commands[-1]
        verdict = self.verdict
        word = self.frames[last].text.strip().split(" ")[0]
        if verdict is not None and verdict.terminates:
            found.append(Marker(self.times[last], f"ends itself with {verdict.outcome}", "good"))
        elif verdict is None and word in ("exit", "panic"):
            found.append(Marker(self.times[last], f"ends itself with {word}", "good"))
        if verdict is not None:
            good = verdict.clean_termination and verdict.verified
            found.append(Marker(self.length, "verdict", "good" if good else "bad"))
        return found

    # --- lines ------------------------------------------------------------------------------

    def lines(self, moment: Moment, width: int) -> list[Parts]:
        """The terminal at ``moment``: outputs, prompts and commands told apart."""
        out: list[Parts] = []
        prompt: Parts = ()
        for number, frame in enumerate(self.frames[: moment.shown]):
            if frame.kind == "command":
                out += _command(prompt, frame.text, frame.status, width)
                prompt = ()
            else:
                body = visible_lines(frame.text)
                out += [piece for line in body[:-1] for piece in _output(line, width)]
                prompt = (("  ", ""), (body[-1], "note"))
                if number == len(self.frames) - 1:  # nobody types here any more
                    waiting = body[-1].endswith(_PROMPT_ENDS)
                    out += [prompt] if waiting else _output(body[-1], width)
                    prompt = ()
        if moment.shown < len(self.frames):
            typed = self.frames[moment.shown].text[: moment.typed]
            waiting = self.frames[moment.shown].kind == "command"
            if prompt or typed:
                out += _command(prompt, typed, None, width, caret=waiting)
        elif self.verdict is not None:
            out += verdict_lines(self.verdict, width)
        return out


def _command(
    prompt: Parts, text: str, status: int | None, width: int, *, caret: bool = False
) -> list[Parts]:
    gutter: Parts = (("✗ ", "bad"),) if status else (("▌ ", "trained"),)
    rows = visible_lines(text)
    out: list[Parts] = []
    for number, row in enumerate(rows):
        last = number == len(rows) - 1
        head = (*gutter, *prompt[1:], (" ", "")) if not number else (*gutter, ("> ", "quiet"))
        used = sum(len(piece) for piece, _ in head)
        pieces = _chop(row, max(8, width - used - 11))
        for cut, piece in enumerate(pieces):
            tail: Parts = ()
            if last and cut == len(pieces) - 1:
                tail = ((f"  exit {status}", "bad"),) if status else ()
                tail = (("▏", "accent"),) if caret else tail
            indent = head if not cut else (*gutter, (" " * max(0, used - 2), ""))
            out.append((*indent, (piece, "trained"), *tail))
    return out


def _output(line: str, width: int) -> list[Parts]:
    return [(("  ", ""), (piece, "text")) for piece in _chop(line, max(8, width - 3))]


def _chop(line: str, width: int) -> list[str]:
    from rich.cells import chop_cells

    return chop_cells(line, width) or [""]


def verdict_lines(verdict: EpisodeDone, width: int) -> list[Parts]:
    """The verdict, said in words."""
    rule = "─" * max(0, width - 13)
    out: list[Parts] = [(), (("── verdict ", "head"), (rule, "rule"))]
    if verdict.invalid:
        return [*out, (("! ", "warn"), (f"invalid, does not count: {verdict.invalid}", "warn"))]
    ended = {
        "cap": "was cut off: too many steps or too long a command",
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
        out.append((mark, (yes if ok else no, "text")))
    took = f"{verdict.steps} commands in {duration(verdict.seconds)}"
    out.append((("  ", ""), (took, "quiet")))
    return out


def _play_times(frames: Sequence[Frame], limit: float) -> list[float]:
    times: list[float] = []
    # Playing begins with the first frame: what came before it is nobody's waiting.
    position, before = 0.0, frames[0].at if frames else 0.0
    for frame in frames:
        gap = max(0.0, frame.at - before)
        position += min(gap, limit) if limit else gap
        before = max(before, frame.at)
        times.append(position)
    return times


def cast_of(trajectory: Trajectory, verdict: EpisodeDone | None = None) -> Cast:
    """A stored session. Without a clock each turn takes a second."""
    frames = []
    before = 0.0
    for number, turn in enumerate(trajectory.turns):
        at = turn.t if turn.t is not None else (before + STEP_S if number else 0.0)
        before = max(before, at)
        kind: Literal["environment", "command"] = "command" if turn.is_command else "environment"
        frames.append(Frame(before, kind, turn.content, turn.exit_status))
    return Cast(frames, verdict)


def cast_of_events(said: Sequence[TurnDone], verdict: EpisodeDone | None = None) -> Cast:
    """An episode as its events tell it, also while it runs."""
    frames = []
    before = 0.0
    for event in said:
        before = max(before, event.at)
        kind: Literal["environment", "command"] = (
            "command" if event.role == "assistant" else "environment"
        )
        frames.append(Frame(before, kind, event.content))
    return Cast(frames, verdict)


def verdict_of(trajectory: Trajectory) -> EpisodeDone | None:
    """The verdict that a stored episode carries in its meta; None where it was never judged."""
    meta = trajectory.meta
    if "expected" not in meta and "clean_termination" not in meta:
        return None
    return EpisodeDone(
        job="",
        subject=str(meta.get("subject", "")),
        scenario=trajectory.scenario,
        archetype=trajectory.archetype,
        outcome=trajectory.outcome,
        expected=str(meta.get("expected", "exit")),
        steps=trajectory.steps,
        turns=len(trajectory.turns),
        clean=trajectory.clean,
        operates=bool(meta.get("operates")),
        terminates=bool(meta.get("terminates", trajectory.outcome in ("exit", "panic"))),
        verified=trajectory.verified,
        clean_termination=bool(meta.get("clean_termination")),
        invalid=str(meta.get("invalid") or ""),
        seconds=float(meta.get("seconds") or 0.0),
    )
