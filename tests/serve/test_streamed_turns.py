"""A served model in a world: its turns come token by token, and are those of the base itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

from sekft_engine.data.scenario import Scenario
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.takeover.shell import Shell, prepare
from sekft_engine.takeover.takeover import TakeOver
from sekft_engine.takeover.view import TakeOverView
from tests.serve.conftest import serving

SECONDS = 120.0


def session(place: Workspace, asked: Shell) -> list[TakeOverView]:
    """All views of a session, up to its verdict."""
    seen: list[TakeOverView] = []
    changed = threading.Condition()

    def take(session: TakeOver) -> None:
        with changed:
            seen.append(session.view)
            changed.notify_all()

    engine = Engine(place, nice=0)
    watched = prepare(asked, place, engine, take)
    engine.start()
    begun = watched.session.start()
    try:
        assert begun.wait("ready", timeout=SECONDS).state == "ready"
        assert begun.hand_back(watched.adapter)
        with changed:
            assert changed.wait_for(lambda: seen[-1].settled or seen[-1].problem, SECONDS)
        assert seen[-1].problem == ""
        return seen
    finally:
        begun.close(discard=True)
        begun.join(SECONDS)
        watched.record.close()
        engine.close()


def test_a_served_models_turns_come_token_by_token(
    tmp_path: Path, tiny_base: Path, make_scenario: Callable[..., Scenario]
) -> None:
    place = Workspace(tmp_path / "place").create()
    (place.bases / "tiny").symlink_to(tiny_base)
    text = json.dumps(make_scenario().to_json())
    (place.holdout_scenarios / "copy-1.json").write_text(text)
    asked = {"scenario": "copy-1", "turn_tokens": 8, "step_cap": 2, "base": place.base}
    here = session(place, Shell(**asked))  # type: ignore[arg-type]
    with serving(tiny_base) as server:
        there = session(place, Shell(**asked, endpoint=server.url))  # type: ignore[arg-type]
    typed = [[turn.content for turn in views[-1].turns] for views in (here, there)]
    assert typed[0] == typed[1]
    writing = {view.writing for view in there if view.phase == "types"}
    commands = {turn.content for turn in there[-1].turns if turn.is_command}
    assert writing - commands, "half a command was seen"
