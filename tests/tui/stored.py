"""Runs and episodes on disk, as the engine would have left them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.data.workspace import Workspace
from sekft_engine.records import events
from sekft_engine.records.events import Event
from sekft_engine.records.journal import Journal

OpenJournal = Callable[[Path], Journal]


def stored_run(
    workspace: Workspace, name: str, script: Iterable[Event], status: str = "done", **about: Any
) -> Path:
    """A run whose journal is ``script``. ``kind`` and ``result`` are the manifest's, the rest of
    ``about`` is what the run is about."""
    folder = workspace.runs / name
    folder.mkdir(parents=True)
    kind, result = about.pop("kind", "train"), about.pop("result", {})
    with (folder / "events.jsonl").open("wb") as file:
        for event in script:
            if isinstance(event, events.RunCreated):
                event = msgspec.structs.replace(event, run=name, path=str(folder), about=about)
            file.write(events.encode(event) + b"\n")
    raw = {
        "schema": 1, "id": name, "kind": kind, "status": status, "about": about, "result": result,
        "created": "2026-01-01T00:00:00+00:00",
        "facts": {"base": {"path": "/b"}, "data": {"path": "/d"}},
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(raw))
    return folder


def stored_episode(
    run: Path, subject: str, scenario: str, *turns: tuple[str, str], verified: bool = True,
    **meta: Any,
) -> Path:  # fmt: skip
    """An episode of an eval: (command, answer) each, after the login; half a second a turn."""
    said: list[dict[str, Any]] = [{"role": "user", "content": "Ask warden.\nuser@box:~$"}]
    for command, answer in turns:
        said.append({"role": "assistant", "content": command, "exit_status": 0})
        said += [{"role": "user", "content": answer}] if answer else []
    for number, turn in enumerate(said):
        turn["t"] = number / 2
    facts = {"subject": subject, "clean": True, "expected": "exit", "seconds": len(said) / 2}
    raw = {
        "id": f"{subject}--{scenario}", "scenario": scenario, "archetype": "touch",
        "provider": "warden", "announcement": "motd", "turns": said, "outcome": "exit",
        "steps": len(turns), "verified": verified, "keep": False, "meta": facts | meta,
    }  # fmt: skip
    (run / "episodes").mkdir(exist_ok=True)
    path = run / "episodes" / f"{subject}--{scenario}.json"
    path.write_text(json.dumps(raw))
    return path
