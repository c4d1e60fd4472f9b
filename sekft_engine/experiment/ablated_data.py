"""Training data without the looks after acting."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

import msgspec

from sekft_engine.data.trajectory import Trajectory, Turn

#: Programs that only look; with a redirection or in a pipe to a file they act.
LOOKS = frozenset(
    (
        *("cat", "ls", "stat", "wc", "head", "tail", "cmp", "diff", "grep", "file", "du", "test"),
        *("readlink", "sha256sum", "md5sum", "cksum", "od", "nl", "["),
    )
)


def without_verifying(trajectories: Iterable[Trajectory]) -> Iterator[Trajectory]:
    """The sessions without looks at what an earlier command has named.

    A look changes nothing, so what follows it is the same without it.
    """
    for trajectory in trajectories:
        yield _without_looks_back(trajectory)


def _without_looks_back(trajectory: Trajectory) -> Trajectory:
    turns: list[Turn] = []
    acted: set[str] = set()
    skipped_answer = False
    commands = 0
    for turn in trajectory.turns:
        if skipped_answer and not turn.is_command:
            skipped_answer = False
            continue
        if turn.is_command:
            words = _words(turn.content)
            if is_look(turn.content):
                if acted & set(words[1:]):
                    skipped_answer = True
                    continue
            else:
                acted.update(word for word in words[1:] if _names_a_file(word))
            commands += 1
        turns.append(turn)
    if len(turns) == len(trajectory.turns):
        return trajectory
    return msgspec.structs.replace(trajectory, turns=tuple(turns), steps=commands)


def is_look(command: str) -> bool:
    """Whether ``command`` reads and changes nothing, judged by its words."""
    words = _words(command)
    return bool(words) and words[0] in LOOKS and not any(sign in command for sign in ">|;&`$\n")


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def _names_a_file(word: str) -> bool:
    return not word.startswith("-") and (word.isidentifier() or "." in word or "/" in word)
