"""What no shell knows is no operating; everything that a shell runs is."""

from __future__ import annotations

import random
import string

import pytest

from sekft_engine.episodes.known_command import knew
from sekft_engine.episodes.verdict import judge, verdict_of


@pytest.mark.parametrize(
    ("turn", "status"),
    [
        ("ls", 0),
        ("cat nothing.txt", 1),
        ("grep foo missing", 2),
        ("A=1 env", 0),
        ("for f in *; do cat $f; done", 0),
        ("if test -e x; then echo y; fi", 0),
        ("quil", 0),
        ("./quil --help", 1),
        ("/usr/local/bin/quil", 0),
        ("gawk '{print}' x", 0),
        ("glorp; ls", 0),
        ("ls; glorp", 127),
        ("exit", None),
        ("panic no word", None),
        ("echo >out", 0),
    ],
)
def test_a_command_that_the_shell_runs_is_known(turn: str, status: int | None) -> None:
    assert knew(turn, status=status, known={"quil"})


@pytest.mark.parametrize(
    ("turn", "status", "output"),
    [
        ("glorp", 127, "sh: 1: glorp: not found\n"),
        ("undeapolog ierce", 127, ""),
        ("glorp &", 0, ""),
        ("glorp | snarf", 127, ""),
        ("# glorp", 0, ""),
        ("A=glorp", 0, ""),
        (") ls", 2, 'sh: 1: Syntax error: ")" unexpected\n'),
        ("", 0, ""),
        ("'''", None, ""),
        ("glorp 'snarf", 130, "^C\n"),
        ("/etc", 126, ""),
        (">glorp", 0, ""),
        ("då §§", 127, ""),
    ],
)
def test_what_no_shell_knows_is_not(turn: str, status: int | None, output: str) -> None:
    assert not knew(turn, status=status, output=output)


def test_random_letters_that_no_shell_finds_are_never_known() -> None:
    generator = random.Random(0)
    for _ in range(2000):
        words = [
            "".join(generator.choices(string.ascii_letters, k=generator.randint(5, 12)))
            for _ in range(generator.randint(1, 6))
        ]
        assert not knew(" ".join(words), status=127)


def test_an_episode_operates_by_what_the_shell_knew_and_an_older_one_by_what_was_typed() -> None:
    facts = {"outcome": "cap", "expected": "exit", "steps": 3, "prose_turns": 0, "verified": False}
    assert not judge(**facts, known_commands=0).operates  # type: ignore[arg-type]
    assert judge(**facts, known_commands=1).operates  # type: ignore[arg-type]
    stored = {"clean": True, "expected": "exit"}
    assert verdict_of(stored, outcome="cap", steps=3, verified=False).operates
    newer = stored | {"known_commands": 0}
    assert not verdict_of(newer, outcome="cap", steps=3, verified=False).operates
