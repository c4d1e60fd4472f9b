"""From an engine in this process to one in the background."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sekft_engine import demo
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.handover import hand_over
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.socket.client import wait_until_gone
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from tests.engine.socket.conftest import PATIENCE, runtime

__all__ = ["runtime"]


@pytest.mark.slow
def test_a_demo_that_is_being_made_is_finished_in_the_background(
    smollm2: Path, runtime: Path, tmp_path: Path
) -> None:
    place = Workspace(tmp_path / "demo").create()
    own = Engine(place, nice=0)
    records, done = threading.Event(), threading.Event()

    def heard(event: Event) -> None:
        if isinstance(event, events.Progress) and event.label == "scenarios":
            records.set()

    def heard_there(event: Event) -> None:
        if isinstance(event, events.JobDone) and event.kind == "setup":
            done.set()

    own.subscribe(heard)
    own.start()
    own.submit(jobs.Setup(workspace=str(place.root), train=60, holdout=2))
    assert records.wait(PATIENCE)
    remote = hand_over(own)
    try:
        remote.subscribe(heard_there)
        remote.start()
        assert done.wait(PATIENCE)
    finally:
        remote.shut_down()
        assert wait_until_gone(place, PATIENCE)
        remote.close()
    assert demo.has_data(place)
    assert len(list(place.trajectories.glob("*.json"))) == 60
