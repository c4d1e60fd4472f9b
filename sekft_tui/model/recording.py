"""An episode that can be played: frames on a clock, markers, and the lines at a moment."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sekft_engine.data.trajectory import Trajectory
from sekft_engine.episodes.divergence import first_divergence
from sekft_engine.records.events import EpisodeDone, TurnDone
from sekft_tui.model.verdict_text import Ending, checker_of, limit_of
from sekft_tui.text import Parts, chop, visible_lines

#: Longer waits are shortened to this when the idle limit is on.
IDLE_LIMIT_S = 2.0
#: A command is typed character by character during at most this time before it is run.
TYPING_S = 1.2
_PROMPT_ENDS = ("$", "#", "%", ">")
#: Seconds between turns of a session that was recorded without times.
STEP_S = 1.0
_LEAST_S = 0.001
#: From so many columns on, a wrapped command is indented to where it begins.
_ROOMY = 60
#: The verdict appears this long after the last turn.
VERDICT_S = 0.8


class Frame(NamedTuple):
    """Something that appeared at ``at`` seconds. ``status`` is the exit status of a command."""

    at: float
    kind: Literal["environment", "command"]
    text: str
    status: int | None = None


class Marker(NamedTuple):
    """A moment worth finding; ``key`` jumps to it and marks it on the time bar."""

    at: float
    key: str
    label: str
    style: str


class Moment(NamedTuple):
    """What is on the screen: whole frames, typed characters of the next one, the verdict."""

    shown: int
    typed: int
    judged: bool = False


class Cast:
    """A recorded or still running episode.

    Args:
        frames: in the order of their times.
        verdict: at the end; None while the episode runs, or for a session that was never judged.
        idle_limit: shorten longer waits to this many seconds; 0 = as recorded.
        ending: what is shown under the session besides the verdict.
        clock: a clock shared with another session; None = its own. See :func:`in_step`.
    """

    def __init__(
        self,
        frames: Sequence[Frame],
        verdict: EpisodeDone | None = None,
        idle_limit: float = IDLE_LIMIT_S,
        *,
        ending: Ending | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.frames = tuple(frames)
        self.ending = (ending or Ending())._replace(verdict=verdict)
        self.verdict = verdict
        self.idle_limit = idle_limit
        times = clock.times[: len(frames)] if clock else _play_times(self.frames, idle_limit)
        self.times = tuple(times)
        self.part_at = clock.part_at if clock else None
        #: When the verdict appears.
        last = self.times[-1] if self.times else 0.0
        self.judged_at = last + VERDICT_S if verdict is not None else None
        own = (*self.times, self.judged_at) if self.judged_at is not None else self.times
        #: The positions that a step can go to, in order.
        self.stops = clock.stops if clock else own
        self.markers = tuple(self._find_markers())

    @property
    def length(self) -> float:
        """Seconds that it takes to play."""
        return self.stops[-1] if self.stops else 0.0

    @property
    def recorded(self) -> float:
        """Seconds that the session took."""
        return self.frames[-1].at if self.frames else 0.0

    def changed(
        self,
        *,
        idle_limit: float | None = None,
        ending: Ending | None = None,
        clock: Clock | None = None,
    ) -> Cast:
        """The same session with another idle limit, ending or clock."""
        limit = self.idle_limit if idle_limit is None else idle_limit
        verdict = self.verdict if ending is None else ending.verdict
        return Cast(self.frames, verdict, limit, ending=ending or self.ending, clock=clock)

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
            judged = self.judged_at is not None and position >= self.judged_at - 1e-9
            return Moment(len(self.frames), 0, judged)
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
        passed = bisect_right(self.stops, position + 1e-9)
        target = max(1, min(passed + by, len(self.stops)))
        return self.stops[target - 1] if self.stops else 0.0

    def marker_of(self, key: str) -> Marker | None:
        return next((marker for marker in self.markers if marker.key == key), None)

    def marker_from(self, position: float, by: int) -> Marker | None:
        """The next or previous marker."""
        if by > 0:
            found = [marker for marker in self.markers if marker.at > position + 1e-6]
            return found[0] if found else None
        found = [marker for marker in self.markers if marker.at < position - 1e-6]
        return found[-1] if found else None

    def _find_markers(self) -> list[Marker]:
        commands = [n for n, frame in enumerate(self.frames) if frame.kind == "command"]
        found: list[Marker] = []
        if commands:
            found.append(Marker(self.times[commands[0]], "0", "first command", "key"))
        for number in commands:
            status = self.frames[number].status
            if status:
                label = f"first failure (exit {status})"
                found.append(Marker(self.times[number], "!", label, "warn"))
                break
        terminal = self._terminal(commands[-1]) if commands else ""
        if terminal:
            label = f"ends by itself with {terminal}"
            found.append(Marker(self.times[commands[-1]], "$", label, "good"))
        if self.part_at is not None and self.times:
            at = self.times[min(self.part_at, len(self.times) - 1)]
            found.append(Marker(at, "d", "here they part", "accent"))
        verdict = self.verdict
        if verdict is not None and self.judged_at is not None:
            good = verdict.clean_termination and verdict.verified
            found.append(Marker(self.judged_at, "v", "verdict", "good" if good else "bad"))
        return sorted(found, key=lambda marker: marker.at)

    def _terminal(self, last: int) -> str:
        """The command with which the session ended itself; "" = it did not."""
        if self.verdict is not None:
            return self.verdict.outcome if self.verdict.terminates else ""
        word = self.frames[last].text.strip().split(" ")[0]
        return word if word in ("exit", "panic") else ""

    # --- lines ------------------------------------------------------------------------------

    def lines(self, moment: Moment, width: int) -> list[Parts]:
        """The terminal at ``moment``: outputs, prompts and commands, each in its own style."""
        out: list[Parts] = []
        prompt: Parts = ()
        for number, frame in enumerate(self.frames[: moment.shown]):
            if frame.kind == "command":
                parts = number == self.part_at
                out += _command(prompt, frame.text, frame.status, width, parts=parts)
                prompt = ()
            else:
                body = visible_lines(frame.text)
                out += [piece for line in body[:-1] for piece in _output(line, width)]
                prompt = (("  ", ""), (body[-1], "note"))
                if number == len(self.frames) - 1:  # no command follows
                    waiting = body[-1].endswith(_PROMPT_ENDS)
                    out += [prompt] if waiting else _output(body[-1], width)
                    prompt = ()
        if moment.shown < len(self.frames):
            typed = self.frames[moment.shown].text[: moment.typed]
            waiting = self.frames[moment.shown].kind == "command"
            if prompt or typed:
                out += _command(prompt, typed, None, width, caret=waiting)
        elif moment.judged:
            out += self.ending.lines(width)
        return out


def _command(
    prompt: Parts,
    text: str,
    status: int | None,
    width: int,
    *,
    caret: bool = False,
    parts: bool = False,
) -> list[Parts]:
    gutter: Parts = (("✗ ", "bad"),) if status else (("▌ ", "trained"),)
    if parts:
        gutter = (("≠ ", "accent"),)
    rows = visible_lines(text)
    out: list[Parts] = []
    for number, row in enumerate(rows):
        last = number == len(rows) - 1
        head = (*gutter, *prompt[1:], (" ", "")) if not number else (*gutter, ("> ", "quiet"))
        used = sum(len(piece) for piece, _ in head)
        # Under its beginning, if there is room.
        indent = used if width >= _ROOMY else 4
        first = chop(row, max(8, width - used - 2))[0]
        rest = row[len(first) :]
        pieces = [first, *(chop(rest, max(8, width - indent - 2)) if rest else ())]
        for cut, piece in enumerate(pieces):
            before = head if not cut else (*gutter, (" " * max(0, indent - 2), ""))
            out.append((*before, (piece, "trained")))
        if last and caret:
            out[-1] = (*out[-1], ("▏", "accent"))
        elif last and status:
            ending = f"  exit {status}"
            if sum(len(piece) for piece, _ in out[-1]) + len(ending) < width:
                out[-1] = (*out[-1], (ending, "bad"))
            else:
                out.append((*gutter, (ending, "bad")))
    return out


def _output(line: str, width: int) -> list[Parts]:
    return [(("  ", ""), (piece, "text")) for piece in chop(line, max(8, width - 3))]


class Clock(NamedTuple):
    """One clock for two sessions: both show their turn n at the same time."""

    times: tuple[float, ...]
    stops: tuple[float, ...]
    part_at: int | None


def in_step(a: Cast, b: Cast) -> tuple[Cast, Cast]:
    """Both on one clock, which gives each turn the time of the slower session."""
    a, b = a.changed(), b.changed()
    times: list[float] = []
    for number in range(max(len(a.frames), len(b.frames))):
        gaps = [
            cast.times[number] - (cast.times[number - 1] if number else 0.0)
            for cast in (a, b)
            if number < len(cast.times)
        ]
        times.append((times[-1] if times else 0.0) + max(gaps))
    stops = set(times)
    for cast in (a, b):
        if cast.verdict is not None:
            stops.add((times[len(cast.frames) - 1] if cast.frames else 0.0) + VERDICT_S)
    typed = ([(frame.kind == "command", frame.text) for frame in cast.frames] for cast in (a, b))
    running = a.verdict is None or b.verdict is None
    part_at = first_divergence(*typed, running=running)
    clock = Clock(tuple(times), tuple(sorted(stops)), part_at)
    return a.changed(clock=clock), b.changed(clock=clock)


def _play_times(frames: Sequence[Frame], limit: float) -> list[float]:
    times: list[float] = []
    # Playing begins with the first frame: the time before it is not a wait.
    position, before = 0.0, frames[0].at if frames else 0.0
    for frame in frames:
        gap = max(0.0, frame.at - before)
        gap = min(gap, limit) if limit else gap
        # Each turn has a position of its own, so that one can step to it.
        position += max(gap, _LEAST_S) if times else gap
        before = max(before, frame.at)
        times.append(position)
    return times


def cast_of(trajectory: Trajectory, verdict: EpisodeDone | None = None) -> Cast:
    """The recording of a stored session. Without recorded times each turn takes a second."""
    frames = []
    before = 0.0
    for number, turn in enumerate(trajectory.turns):
        at = turn.t if turn.t is not None else (before + STEP_S if number else 0.0)
        before = max(before, at)
        kind: Literal["environment", "command"] = "command" if turn.is_command else "environment"
        frames.append(Frame(before, kind, turn.content, turn.exit_status))
    ending = Ending(checker=checker_of(trajectory), limit=limit_of(trajectory))
    return Cast(frames, verdict, ending=ending)


def cast_of_events(turns: Sequence[TurnDone], verdict: EpisodeDone | None = None) -> Cast:
    """The recording of an episode, made of its events so far."""
    frames = []
    before = 0.0
    for event in turns:
        before = max(before, event.at)
        kind: Literal["environment", "command"] = (
            "command" if event.role == "assistant" else "environment"
        )
        frames.append(Frame(before, kind, event.content))
    return Cast(frames, verdict)


def verdict_of(trajectory: Trajectory) -> EpisodeDone | None:
    """The verdict in the metadata of a stored episode; None if it was never judged."""
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
