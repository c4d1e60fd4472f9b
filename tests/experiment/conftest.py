"""Evals of controls in real worlds, on which gates, pairs and choices are tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sekft_engine.data.scenario import Announcement, Fixture, Provider, Scenario
from sekft_engine.engine.run_job import run_job
from sekft_engine.records import jobs


def world(name: str, archetype: str = "copy", terminal: str = "exit") -> Scenario:
    """Copy a word into a file; blocked where there is none."""
    doable = terminal == "exit"
    return Scenario(
        id=name,
        archetype=archetype,
        provider=Provider(
            name="quil",
            path="/usr/local/bin/quil",
            script='#!/bin/sh\necho "Copy word.txt to copy.txt, or panic if there is none."\n',
        ),
        announcement=Announcement(channel="motd", text="Orders: quil"),
        fixtures=(Fixture(path="word.txt", content="plover\n"),) if doable else (),
        checker='test "$(cat ~/copy.txt)" = plover' if doable else "test -e ~/.panic",
        reference_solution=("quil", "cp word.txt copy.txt", "exit")
        if doable
        else ("quil", "panic no word"),
        terminal="exit" if doable else "panic",
    )


def write_worlds(folder: Path, worlds: list[Scenario]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for each in worlds:
        (folder / f"{each.id}.json").write_text(json.dumps(each.to_json()))
    return folder


@pytest.fixture(scope="session")
def controls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of an eval of three controls in six doable worlds and two blocked ones."""
    root = tmp_path_factory.mktemp("controls")
    kinds = [("copy", "exit")] * 4 + [("count", "exit")] * 2 + [("copy", "panic")] * 2
    worlds = [world(f"w{number}", *kind) for number, kind in enumerate(kinds)]
    run_job(
        jobs.Evaluate(
            scenarios=str(write_worlds(root / "worlds", worlds)),
            controls=("oracle", "always-exit", "always-panic"),
            with_base=False,
            n=0,
            out=str(root / "run"),
        )
    )
    return root / "run"


Sekft = Callable[..., tuple[int, str, str]]


@pytest.fixture
def sekft(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Sekft:
    """Type a command outside any workspace: exit status, stdout, stderr."""
    from sekft_engine.cli.main import run as run_command

    monkeypatch.delenv("SEKFT_WORKSPACE", raising=False)
    monkeypatch.chdir(tmp_path)

    def typed(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = run_command(words)
        out, err = capfd.readouterr()
        return status, out, err

    return typed
