"""Models of one eval share decoding steps, and type what they type alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sekft_engine.data.scenario import Scenario
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.run_job import run_job
from sekft_engine.episodes.store import read_episode
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from tests.serve.conftest import save_adapters

WORLDS = 3


@pytest.fixture
def place(tmp_path: Path, tiny_base: Path, make_scenario: Callable[..., Scenario]) -> Workspace:
    made = Workspace(tmp_path / "place").create()
    (made.bases / "tiny").symlink_to(tiny_base)
    for number in range(WORLDS):
        text = json.dumps(make_scenario(f"copy-{number}").to_json())
        (made.holdout_scenarios / f"copy-{number}.json").write_text(text)
    return made


@pytest.fixture(scope="module")
def folders(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """The folders of two adapters that make the base say something else."""
    named = save_adapters(tiny_base, tmp_path_factory.mktemp("adapters"), 2)
    return tuple(each.partition("=")[2] for each in named)


def evaluate(
    place: Workspace, out: Path, *adapters: str, with_base: bool = True, exact: bool = False
) -> tuple[dict[str, list[str]], list[Event]]:
    """What was typed in each episode, by its file's name, and the events."""
    seen: list[Event] = []
    job = jobs.Evaluate(
        base=place.base,
        adapters=adapters,
        with_base=with_base,
        scenarios=str(place.holdout_scenarios),
        n=WORLDS,
        out=str(out),
        step_cap=3,
        turn_tokens=8,
        exact=exact,
    )
    run_job(job, place, seen.append)
    typed = {}
    for path in sorted((out / "episodes").glob("*.json")):
        turns = read_episode(path).trajectory.turns
        typed[path.name] = [turn.content for turn in turns if turn.is_command]
    return typed, seen


def most_subjects_at_once(seen: list[Event]) -> int:
    running: set[tuple[str, str]] = set()
    most = 0
    for event in seen:
        if isinstance(event, events.EpisodeStarted):
            running.add((event.subject, event.scenario))
        elif isinstance(event, events.EpisodeDone):
            running.discard((event.subject, event.scenario))
        most = max(most, len({subject for subject, _ in running}))
    return most


def test_base_and_adapters_share_steps_and_each_types_what_it_types_alone(
    place: Workspace, tmp_path: Path, folders: tuple[str, ...]
) -> None:
    together, seen = evaluate(place, tmp_path / "together", *folders)
    assert len(together) == 3 * WORLDS
    assert most_subjects_at_once(seen) == 3
    alone = evaluate(place, tmp_path / "base")[0]
    for number, folder in enumerate(folders):
        alone |= evaluate(place, tmp_path / f"alone-{number}", folder, with_base=False)[0]
    assert together == alone
    assert len({json.dumps(commands) for commands in together.values()}) > 1


def test_exact_evals_let_one_model_act_at_a_time(
    place: Workspace, tmp_path: Path, folders: tuple[str, ...]
) -> None:
    _, seen = evaluate(place, tmp_path / "exact", *folders, exact=True)
    assert most_subjects_at_once(seen) == 1
