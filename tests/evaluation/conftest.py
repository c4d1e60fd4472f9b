"""Worlds and operators for the tests of evals: real sandboxes, typists with a script."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest

from sekft_engine.data.scenario import Announcement, Fixture, Provider, Scenario
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.worlds import probe


class Scripted:
    """An operator that types prepared commands; what it is shown is kept."""

    def __init__(self, scripts: Mapping[str, Sequence[str]]) -> None:
        self.scripts = {key: list(lines) for key, lines in scripts.items()}
        self.shown: dict[str, list[str]] = {}
        self.closed: list[str] = []
        self._heard: list[str] = []

    def open(self, key: str, seed: int) -> None:
        self.shown[key] = []

    def observe(self, shown: Mapping[str, str]) -> None:
        for key, text in shown.items():
            self.shown[key].append(text)
            self._heard.append(key)

    def poll(self) -> dict[str, CommandTurn]:
        said = {key: CommandTurn(text=self.scripts[key].pop(0)) for key in self._heard}
        self._heard.clear()
        return said

    def close(self, keys: Sequence[str]) -> None:
        self.closed += keys


@pytest.fixture(scope="session", autouse=True)
def _sandbox() -> None:
    if not any(backend.ok for backend in probe()):
        pytest.fail("these tests need a sandbox: " + "; ".join(b.mend for b in probe()))


@pytest.fixture
def make_scenario() -> Callable[..., Scenario]:
    """A bundle: copy a word into a file, told by a provider; ``panic`` when the word is missing."""

    def make(name: str = "copy-1", archetype: str = "copy", terminal: str = "exit") -> Scenario:
        fixtures = (Fixture(path="word.txt", content="plover\n"),) if terminal == "exit" else ()
        checker = (
            'test "$(cat ~/copy.txt)" = plover'
            if terminal == "exit"
            else "test -e ~/.panic && ! test -e ~/copy.txt"
        )
        solution = ("cp word.txt copy.txt", "exit") if terminal == "exit" else ("panic no word",)
        return Scenario(
            id=name,
            archetype=archetype,
            provider=Provider(
                name="quil",
                path="/usr/local/bin/quil",
                script='#!/bin/sh\necho "Copy word.txt to copy.txt, or panic if there is none."\n',
            ),
            announcement=Announcement(channel="motd", text="Orders: quil"),
            fixtures=fixtures,
            checker=checker,
            reference_solution=solution,
            terminal="exit" if terminal == "exit" else "panic",
        )

    return make
