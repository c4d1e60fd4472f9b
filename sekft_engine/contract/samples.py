"""Choose the prompts of a check: a few, always the same ones, and the difficult ones first."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, pairwise

import msgspec

from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render.template.tokenizer import ChatTokenizer

#: Number of sessions that are taken from the data by default.
SAMPLES = 8
#: Most sessions that are read.
LOOKED_AT = 5000
#: The beginning of a built-in session's id.
BUILT_IN = "built-in: "


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt: the turns before a command of a session.

    Attributes:
        id: of the session.
        turn: the number of the command turn, from 0.
        command: the number of the command, from 1, of ``commands`` in the session.
        turns: those before it.
    """

    id: str
    turn: int
    command: int
    commands: int
    turns: tuple[Turn, ...]

    @property
    def built_in(self) -> bool:
        return self.id.startswith(BUILT_IN)


def choose(
    trajectories: Iterable[Trajectory], literals: Iterable[str], count: int = SAMPLES
) -> list[Sample]:
    """The prompts before the first, the middle and the last command of ``count`` sessions.

    The first sessions are those that together have the most of the features that servers get wrong,
    the others are spread over the data. The same data gives the same prompts.

    Args:
        trajectories: only the first :data:`LOOKED_AT` are read.
        literals: the texts of the tokenizer's control tokens.
    """
    sessions = [item for item in islice(trajectories, LOOKED_AT) if item.commands]
    marks = tuple(literals)
    held = [features(item.turns, marks) for item in sessions]
    chosen: list[int] = []
    missing = frozenset[str]().union(*held)
    while missing and len(chosen) < count:
        best = max(range(len(sessions)), key=lambda number: (len(held[number] & missing), -number))
        chosen.append(best)
        missing -= held[best]
    rest = [number for number in range(len(sessions)) if number not in set(chosen)]
    room = min(count - len(chosen), len(rest))
    chosen += [rest[step * len(rest) // room] for step in range(room)]
    return [sample for number in sorted(chosen) for sample in prompts(sessions[number])]


def prompts(trajectory: Trajectory) -> list[Sample]:
    """The prompts before the first, the middle and the last command."""
    at = [number for number, turn in enumerate(trajectory.turns) if turn.is_command]
    wanted = sorted({0, len(at) // 2, len(at) - 1})
    return [
        Sample(
            id=trajectory.id,
            turn=at[number],
            command=number + 1,
            commands=len(at),
            turns=trajectory.turns[: at[number]],
        )
        for number in wanted
    ]


def features(turns: Sequence[Turn], literals: Sequence[str]) -> frozenset[str]:
    """The features of a session that servers get wrong, by name."""
    last = max((number for number, turn in enumerate(turns) if turn.is_command), default=0)
    shown = turns[:last]
    contents = [turn.content for turn in shown]
    found = {name for name, holds in _IN_TEXT.items() if any(map(holds, contents))}
    if any(mark in text for text in contents for mark in literals):
        found.add("control tokens")
    if shown and shown[0].role == "system":
        found.add("system turn")
    if any(turn.role == after.role for turn, after in pairwise(shown)):
        found.add("turns of one role")
    if any(turn.is_command and "\n" in turn.content for turn in shown):
        found.add("command of several lines")
    return frozenset(found)


_IN_TEXT: dict[str, Callable[[str], bool]] = {
    "spaces before": lambda text: text != text.lstrip(),
    "spaces after": lambda text: text != text.rstrip(),
    "CRLF": lambda text: "\r" in text,
    "escapes": lambda text: "\x1b" in text,
    "emoji": lambda text: any(ord(character) > 0xFFFF for character in text),
    "other scripts": lambda text: not text.isascii(),
    "decomposed": lambda text: not unicodedata.is_normalized("NFC", text),
    "empty output": lambda text: not text,
    "thoughts": lambda text: "</think>" in text,
    "template code": lambda text: "{{" in text or "{%" in text,
}


def built_in(tokenizer: ChatTokenizer) -> list[Sample]:
    """Built-in difficult sessions, for what the data does not have but a shell may print."""
    literals = " ".join(dict.fromkeys(_literals(tokenizer)))
    thoughts = "<think>so</think>\n\nls"
    scripts = "👋🏽 👩\u200d💻 שלום 日本語\n$"
    sessions: dict[str, tuple[str, ...]] = {
        "plain": ("Welcome to box.\n$", "ls", "notes.txt  todo.txt\n$"),
        "system turn": ("You are at a shell.", "$", "id -un", "user\n$"),
        "spaces at the edges": (" \n  motd  \n\n$ ", "ls -la", "\n\n  total 0\n\t\n$  "),
        "empty output": ("$", "true", "", "touch a", "", "sync", ""),
        "CRLF and escapes": ("a\r\nb\rc\r\n$", "ls", "\x1b[1;32mdir\x1b[0m\x07\r\n$"),
        "control tokens": ("$", "cat card.md", f"Ends with {literals} here\n$"),
        "emoji and scripts": (scripts, "echo ünïcode", "e\u0301 ﬁ ½ ▁ \u202e\n$"),
        "lines in a command": ("$", "cat <<E >a\n  one\n\n\ttwo\nE", "$"),
        "thoughts": ("$", f"echo '{thoughts}'", f"{thoughts}\n$"),
        "template code": ("{{ bos_token }}{% if x %}\n$", "cat a", "{{ messages }}\n$"),
    }
    return [_sample(name, contents) for name, contents in sessions.items()]


def _sample(name: str, contents: Sequence[str]) -> Sample:
    """``contents`` alternate and end with the environment; one more opens with a system turn."""
    lead, rest = (contents[:1], contents[1:]) if len(contents) % 2 == 0 else ((), contents)
    turns = [Turn(role="system", content=text) for text in lead]
    turns += [
        Turn(role="assistant" if number % 2 else "user", content=text)
        for number, text in enumerate(rest)
    ]
    command = len(rest) // 2 + 1
    return Sample(
        id=BUILT_IN + name,
        turn=len(turns),
        command=command,
        commands=command,
        turns=tuple(turns),
    )


def _literals(tokenizer: ChatTokenizer) -> Iterable[str]:
    """Control tokens: those that the template writes, then others of the vocabulary."""
    guard = tokenizer.guard
    scaffold = tokenizer.scaffolds.get(3, prompt=True)
    for part in scaffold.parts:
        yield from (guard.literals[token] for token in guard.control_ids(guard.mark(part)))
    yield from (
        tokenizer.tokens[name] for name in ("bos_token", "eos_token") if name in tokenizer.tokens
    )
    yield from islice(guard.literals.values(), 4)
