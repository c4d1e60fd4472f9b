"""A plain world, a way to open others, and a look at this machine's processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.scenario import Announcement, Fixture, Provider, Scenario
from sekft_engine.worlds import Limits, World, open_world

Opener = Callable[..., World]


def scenario(**changes: Any) -> Scenario:
    """A bundle with a file and a provider; ``changes`` replace its fields."""
    fields: dict[str, Any] = {
        "id": "plain",
        "provider": Provider(name="tovak", script='echo "tovak says $1"\n', man="TOVAK, a page\n"),
        "announcement": Announcement(channel="motd", text="Ask tovak."),
        "fixtures": (Fixture(path="notes/plum.txt", content="one\ntwo\n"),),
        "checker": "test -e ~/done",
    }
    return Scenario(**(fields | changes))


@pytest.fixture
def opener() -> Iterator[Opener]:
    """Open worlds that are closed after the test, whatever happened in it."""
    opened: list[World] = []

    def open_one(*, limits: Limits | None = None, sandbox: str = "auto", **changes: Any) -> World:
        world = open_world(scenario(**changes), limits=limits, sandbox=sandbox)
        opened.append(world)
        return world

    yield open_one
    for world in opened:
        world.close()


@pytest.fixture
def world(opener: Opener) -> World:
    return opener()


def processes_with(text: str) -> list[str]:
    """Command lines on this machine that contain ``text``, zombies aside."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if text in line:
                found.append(line)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether ``condition`` came true before ``seconds`` were over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
