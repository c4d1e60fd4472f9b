"""Controls: operators without a model, beside which the rates of a model mean something.

The oracle types the reference solution, so it shows what can be reached. The others have no skill:
what one of them reaches in the same worlds, a model reaches without having learnt anything.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from sekft_engine.data.scenario import Scenario
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.episode import episode_key, trial_name
from sekft_engine.operators.operator import Operator
from sekft_engine.operators.subjects import Subject
from sekft_engine.records.jobs import Control

#: Episodes of a control at a time.
ROWS = 16
#: What the random control types, with words that the world has shown in place of each ``{}``. Two
#: of eighteen end the session.
_COMMANDS = (
    "ls",
    "ls -a",
    "pwd",
    "env",
    "cat {}",
    "head {}",
    "wc -l {}",
    "grep {} {}",
    "{}",
    "{} --help",
    "mkdir {}",
    "touch {}",
    "cp {} {}",
    "mv {} {}",
    "ln -s {} {}",
    "chmod 600 {}",
    "exit",
    "panic {}",
)
#: What looks like the name of a file or a program.
_WORD = re.compile(r"[A-Za-z0-9_/.][A-Za-z0-9_/.-]{1,40}")

#: Gives the next command from what the world has shown; None = there is none.
Typist = Callable[[str], str | None]


class ControlOperator:
    """Types in many episodes without a model.

    Args:
        typist: makes the typist of an episode from its key and the seed of its draws.
    """

    def __init__(self, typist: Callable[[str, int], Typist]) -> None:
        self._typist = typist
        self._typists: dict[str, Typist] = {}
        self._shown: dict[str, str] = {}

    def open(self, key: str, seed: int) -> None:
        self._typists[key] = self._typist(key, seed)

    def observe(self, shown: Mapping[str, str]) -> None:
        self._shown |= shown

    def poll(self) -> dict[str, CommandTurn]:
        answers = {}
        for key, text in self._shown.items():
            command = self._typists[key](text)
            answers[key] = CommandTurn(text=command or "", exhausted=command is None)
        self._shown.clear()
        return answers

    def close(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._typists.pop(key, None)
            self._shown.pop(key, None)


def controls_of(names: Iterable[Control]) -> list[Subject]:
    """The controls as subjects of an eval, each once, in the order in which they are named."""
    return [Subject(name=name, control=True) for name in dict.fromkeys(names)]


def control_operator(
    subject: Subject, scenarios: Sequence[Scenario], draws: int
) -> tuple[Operator, int]:
    """The operator of a control, and the most episodes that it runs at once.

    Args:
        subject: the control.
        scenarios: those of the eval.
        draws: number of episodes in each world.
    """
    if subject.name == "oracle":
        solutions = {
            episode_key(subject.name, trial_name(scenario.id, draw)): scenario.reference_solution
            for scenario in scenarios
            for draw in range(draws)
        }
        return ControlOperator(lambda key, _seed: _reciting(solutions[key])), ROWS
    if subject.name == "random":
        return ControlOperator(lambda _key, seed: _random_typist(seed)), ROWS
    line = "exit" if subject.name == "always-exit" else "panic x"
    return ControlOperator(lambda _key, _seed: lambda _shown: line), ROWS


def _reciting(commands: Sequence[str]) -> Typist:
    rest = iter(commands)
    return lambda _shown: next(rest, None)


def _random_typist(seed: int) -> Typist:
    draws = random.Random(seed)  # noqa: S311 - it has to be repeatable
    words = ["x"]

    def next_command(shown: str) -> str:
        words.extend(_WORD.findall(shown))
        parts = draws.choice(_COMMANDS).split("{}")
        return "".join([part + draws.choice(words) for part in parts[:-1]] + [parts[-1]])

    return next_command
