"""An adapter acts in training worlds, and learns from what it did rightly."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from sekft_engine.data.recipe import Recipe
from sekft_engine.data.scenario import Scenario
from sekft_engine.engine.run_job import run_job
from sekft_engine.records import jobs
from sekft_engine.records.results import expect
from sekft_engine.records.trainings import TrainResult
from sekft_engine.sources import load_trajectories
from tests.experiment.conftest import Sekft, world, write_worlds

RECIPE = Recipe(
    rank=8, alpha=32, lr=3e-3, epochs=10, batch=1, max_steps=10, heldout=0.0, token_losses=0,
    dropout=0.0, warmup=0.0, schedule="constant",
)  # fmt: skip


def easy(name: str) -> Scenario:
    """A world that is done when its guest leaves at once."""
    return msgspec.structs.replace(world(name), checker="true", reference_solution=("quil", "exit"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    """Four easy worlds, a hard one, one known session, and an adapter that leaves at once."""
    root = tmp_path_factory.mktemp("improve")
    worlds = [easy(f"easy{number}") for number in range(4)]
    write_worlds(root / "worlds", [*worlds, world("hard", "count")])
    write_worlds(root / "valid", worlds[:2])
    login = "Orders: quil\nuser@box:~$"
    known = {
        "id": "known",
        "turns": [{"role": "user", "content": login}, {"role": "assistant", "content": "exit"}],
        "outcome": "exit", "verified": True, "keep": True, "meta": {"clean": True},
    }  # fmt: skip
    data = root / "data"
    data.mkdir()
    (data / "known.json").write_text(json.dumps(known))
    job = jobs.Train(base=str(smollm2), data=str(data), recipe=RECIPE, out=str(root / "first"))
    assert expect(run_job(job), TrainResult).adapter
    return root


def test_a_round_adds_what_was_right_trains_again_and_is_measured(
    place: Path, smollm2: Path, sekft: Sekft, tmp_path: Path
) -> None:
    out = tmp_path / "improved"
    asked = [
        "improve", "--base", str(smollm2), "--adapter", str(place / "first"),
        *("--data", str(place / "data"), "--scenarios", str(place / "worlds")),
        *("--evaluate", str(place / "valid"), "--out", str(out), "--share", "4"),
        *("--draws", "2", "--temperature", "0.2", "--step-cap", "2", "--turn-tokens", "6"),
        *("--pairs", str(tmp_path / "pairs.jsonl"), "--json"),
    ]  # fmt: skip
    status, text, _ = sekft(*asked)
    assert status == 0
    document = json.loads(text)
    begin, first = document["rounds"]
    assert begin["facts"]["kinds"]["solved"] == 2
    # It leaves at once everywhere, which is right in the four easy worlds alone.
    assert (first["sampled"], first["solved"]) == (10, 8)
    assert (first["worlds"], first["worlds_solved"]) == (5, 4)
    assert first["added"] == 4
    assert first["dropped"] == {"same commands as another session": 4}
    assert first["facts"]["n"] == 2
    sessions = load_trajectories(out / "round-1.jsonl").trajectories
    assert [each.commands for each in sessions] == [("exit",)] * 5
    assert all(each.meta["certificate"]["ok"] for each in sessions if each.id != "known")
    assert Path(document["adapter"]).is_dir()
    recipe = json.loads((Path(document["adapter"]).parent / "run.json").read_text())["about"]
    assert recipe["recipe"]["lr"] == RECIPE.lr  # that of the adapter's own run

    # Given again, it does nothing; a further round goes on from there.
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/adapter/*")}
    status, text, _ = sekft(*(word for word in asked if word != "--json"))
    assert status == 0
    assert "round 0: measured: solved 2/2" in text
    assert "round 1: 8/10 sessions right in 4 of 5 training worlds, 4 added" in text
    assert f"adapter: {document['adapter']}" in text
    status, text, _ = sekft(*asked, "--rounds", "2")
    assert status == 0
    assert len(json.loads(text)["rounds"]) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_where_nothing_was_right_there_is_nothing_to_learn(
    place: Path, smollm2: Path, sekft: Sekft, tmp_path: Path
) -> None:
    write_worlds(tmp_path / "hard", [world("hard")])
    status, text, err = sekft(
        *("improve", "--base", str(smollm2), "--adapter", str(place / "first")),
        *("--data", str(place / "data"), "--scenarios", str(tmp_path / "hard")),
        *("--out", str(tmp_path / "run"), "--rounds", "3", "--draws", "1", "--step-cap", "1"),
        *("--turn-tokens", "6", "--json"),
    )
    assert status == 0
    assert "nothing new to learn from" in err
    assert len(json.loads(text)["rounds"]) == 2


def test_an_adapter_that_is_not_there_is_named(smollm2: Path, sekft: Sekft, tmp_path: Path) -> None:
    status, _, err = sekft("improve", "--base", str(smollm2), "--adapter", str(tmp_path / "no"))
    assert status == 2
    assert str(tmp_path / "no") in err
