"""How and why an episode ended: one name for each way to succeed or fail."""

from __future__ import annotations

from collections.abc import Sequence

from sekft_engine.episodes.episode import FinishedEpisode

#: Every ending with its meaning, in the order of the tables; :func:`ending_of` gives the first that
#: applies.
ENDINGS = {
    "done": "right terminal, only commands, checker passed",
    "invalid": "something other than the model broke; the episode does not count",
    "prose": "a turn was prose instead of a command",
    "wrong terminal": "panicked where the job could be done, or left where it could not",
    "early exit": "left with the right terminal after fewer commands than the job takes",
    "not done": "left with the right terminal, but the checker failed",
    "loop": "a limit ended it while it repeated itself",
    "no room": "its context was full, or its session time up",
    "cap": "a limit on commands ended it",
    "died": "it killed its own shell",
}
#: The same commands so many times in a row are a loop.
_REPEATS = 3
#: The longest loop that is recognised, in commands.
_LONGEST_CYCLE = 4


def ending_of(finished: FinishedEpisode) -> str:
    """The ending of an episode: a key of :data:`ENDINGS`."""
    verdict, meta = finished.verdict, finished.trajectory.meta
    if verdict.invalid:
        return "invalid"
    if not verdict.clean:
        return "prose"
    if verdict.terminates:
        if not verdict.clean_termination:
            return "wrong terminal"
        if verdict.verified:
            return "done"
        needed = meta.get("commands_needed")
        # The terminal is a command too.
        early = isinstance(needed, int) and verdict.steps - 1 < needed
        return "early exit" if early else "not done"
    commands = [turn.content for turn in finished.trajectory.turns if turn.is_command]
    if is_loop(commands):
        return "loop"
    if verdict.outcome == "error":
        return "died"
    return "no room" if meta.get("limit") in ("context", "time") else "cap"


def is_loop(commands: Sequence[str]) -> bool:
    """Whether the last commands repeat one command, or a few in turn, three times."""
    for length in range(1, _LONGEST_CYCLE + 1):
        tail = list(commands[-length * _REPEATS :])
        if len(tail) == length * _REPEATS and tail == tail[:length] * _REPEATS:
            return True
    return False
