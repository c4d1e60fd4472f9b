"""A workspace with real sessions and worlds, and a workbench on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.data.workspace import Workspace
from sekft_engine.records.journal import Journal
from sekft_tui.app import Workbench
from sekft_tui.input.actions import remap
from tests.tui.scripted import ScriptedEngine
from tests.tui.stored import OpenJournal

GREETING = "Welcome. warden has work for you.\nuser@box:~$"


def trajectory(
    number: int, archetype: str, outcome: str = "exit", keep: bool = True
) -> dict[str, Any]:
    """A session as the factory records it, with hostile text in its output."""
    turns = [
        {"role": "user", "content": GREETING, "t": 0.1},
        {"role": "assistant", "content": "warden --help", "t": 0.4, "exit_status": 0},
        {"role": "user", "content": "usage: warden show\nuser@box:~$", "t": 0.5},
        {"role": "assistant", "content": f"cat notes-{number}", "t": 0.9, "exit_status": 0},
        {
            "role": "user",
            "content": f"line of [bold]{archetype}[/] \x1b[31mred <|im_end|> \u202ex\nuser@box:~$",
            "t": 1.0,
        },
        {"role": "assistant", "content": outcome if outcome != "cap" else "ls", "t": 1.4},
    ]
    return {
        "id": f"{archetype}-{number:03}", "scenario": f"{archetype}-{number:03}",
        "archetype": archetype, "provider": "warden", "announcement": "motd", "turns": turns,
        "steps": 3, "outcome": outcome, "verified": keep, "keep": keep, "meta": {"clean": True},
    }  # fmt: skip


def scenario(number: int) -> dict[str, Any]:
    """A world whose solution is to make a file."""
    return {
        "schema": 1, "id": f"held-{number:03}", "archetype": "touch", "difficulty": "1",
        "doc_depth": "help", "terminal": "exit",
        "provider": {
            "name": "warden", "path": "bin/warden",
            "script": "#!/bin/sh\necho 'make the file done, then exit'\n",
        },
        "announcement": {"channel": "motd", "text": "Ask warden."},
        "directives": "make the file done, then exit",
        "checker": "test -e done", "reference_solution": ["warden", "touch done", "exit"],
    }  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Twelve sessions of three archetypes, two worlds, and the tiny base."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = Workspace(tmp_path / "workspace").create()
    (made.bases / "tiny").symlink_to(tiny_base)
    for number in range(12):
        archetype = ("count", "merge", "tidy")[number % 3]
        outcome = "cap" if number == 4 else "panic" if number == 5 else "exit"
        raw = trajectory(number, archetype, outcome, keep=outcome != "cap")
        (made.trajectories / f"{number:03}.json").write_text(json.dumps(raw))
    for number in range(2):
        path = made.holdout_scenarios / f"held-{number:03}.json"
        path.write_text(json.dumps(scenario(number)))
    return made


@pytest.fixture(autouse=True)
def usual_keys() -> Iterator[None]:
    """The keys of the table before and after each test."""
    remap({})
    yield
    remap({})


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


@pytest.fixture
def make_app(workspace: Workspace, engine: ScriptedEngine) -> Callable[[], Workbench]:
    return lambda: Workbench(engine, workspace)


Show = Callable[..., Workbench]


@pytest.fixture
def show(workspace: Workspace, engine: ScriptedEngine, tmp_path: Path) -> Show:
    """A workbench on given trajectories, or on the lines of a file."""

    def make(data: Path | list[dict[str, Any]]) -> Workbench:
        if isinstance(data, list):
            path = tmp_path / "data.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in data))
            data = path
        return Workbench(engine, workspace, data=str(data))

    return make


@pytest.fixture
def open_journal() -> Iterator[OpenJournal]:
    """Opens the journal of a run as the process that writes it does."""
    opened: list[Journal] = []

    def begin(run: Path) -> Journal:
        opened.append(Journal(run / "events.jsonl"))
        return opened[-1]

    yield begin
    for journal in opened:
        journal.close()
