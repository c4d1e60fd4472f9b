"""A stored episode as an asciicast (version 2), which every asciinema and its web player play.

Format: https://docs.asciinema.org/manual/asciicast/v2. Version 3 is played by asciinema 3 alone.
Control characters are made visible, or a recording could control the terminal that plays it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from sekft_engine.core.text import visible
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.endings import ending_of
from sekft_engine.episodes.episode import FinishedEpisode

COLUMNS, ROWS = 80, 24
#: A command appears character by character, over at most so many seconds before its time.
_TYPING_S = 1.0
BOLD, PLAIN = "\x1b[1m", "\x1b[0m"
#: Seconds between turns of a session that was recorded without a clock.
_STEP_S = 1.0


def asciicast(finished: FinishedEpisode) -> str:
    """The recording of an episode: lines of JSON, a header and then
    ``[seconds from the beginning, code, data]``.
    """
    lines = [msgspec.json.encode(cast_header(finished.trajectory.id))]
    before = 0.0
    for at, code, data in _events(finished):
        before = max(round(at, 4), before)
        lines.append(msgspec.json.encode([before, code, data]))
    return b"\n".join(lines).decode() + "\n"


def cast_header(title: str) -> dict[str, Any]:
    """The first line of a recording."""
    return {
        "version": 2,
        "width": COLUMNS,
        "height": ROWS,
        "title": visible(title),
        "idle_time_limit": 2.0,
        "env": {"TERM": "xterm-256color"},
    }


def _events(finished: FinishedEpisode) -> Iterator[tuple[float, str, str]]:
    """Events as (seconds from the start, code, data); times may decrease by rounding."""
    now, first, failed = 0.0, True, False
    turns = finished.trajectory.turns
    for number, turn in enumerate(turns):
        # The time of a command is that of its typing, before the world ran it.
        at = turn.t if turn.t is not None else number * _STEP_S
        if not turn.is_command:
            now = max(now, at)
            typed_next = number + 1 < len(turns) and turns[number + 1].is_command
            yield now, "o", shown(turn.content) + gap(turn.content if typed_next else "")
            continue
        if first:
            yield now, "m", "first command"
            first = False
        yield from _typed(turn, now, max(now, at))
        now = max(now, at)
        yield now, "o", "\r\n"
        if turn.exit_status and not failed:
            yield now, "m", f"first failure: status {turn.exit_status}"
            failed = True
    verdict = finished.verdict
    end = max(now, finished.seconds)
    if verdict.terminates:
        yield now, "m", verdict.outcome
    yield end, "m", ending_of(finished)


def _typed(turn: Turn, begin: float, end: float) -> Iterator[tuple[float, str, str]]:
    text = shown(turn.content)
    begin = max(begin, end - _TYPING_S)
    yield begin, "o", BOLD
    for at, letter in enumerate(text):
        yield begin + (end - begin) * (at + 1) / len(text), "o", letter
    yield end, "o", PLAIN


def gap(prompt: str) -> str:
    """The space between a prompt, with which an environment turn ends, and a command."""
    return " " if prompt and not prompt[-1].isspace() else ""


def shown(text: str) -> str:
    """``text`` with CR LF line ends, and with all other control characters made visible."""
    lines = text.replace("\r\n", "\n").split("\n")
    return "\r\n".join(visible(line.expandtabs(8)) for line in lines)
