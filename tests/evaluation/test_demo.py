"""The demo makes its workspace once, and proves the effect from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from sekft_engine import demo
from sekft_engine.cli.main import run as run_command
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.records import jobs
from sekft_engine.records.runs import list_runs
from tests.documents import run_document


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*.json"))
        if "bases" not in path.parts
    }


def test_setting_the_demo_up_twice_changes_nothing(
    smollm2: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = Workspace(tmp_path / "demo")
    job = jobs.Setup(workspace=str(place.root), train=6, holdout=3)
    engine = Engine(place).start()
    try:
        first = run_document(job, place, engine=engine)
        before = files_of(place.root)
        second = run_document(job, place, engine=engine)
    finally:
        engine.close()
    assert first["made"]["trajectories"] == 6
    assert second["made"] is None
    assert second["base_how"] == "already there"
    assert files_of(place.root) == before
    assert place.base == str(place.bases / demo.BASE)
    assert demo.has_data(place)
    capfd.readouterr()
    assert run_command(["demo", "--workspace", str(place.root)]) == 0
    told, following = capfd.readouterr().out.splitlines()
    assert told.startswith(f"workspace: {place.root}  (")
    assert following == f"next: sekft tui --workspace {place.root}"


def test_the_recipe_leaves_nothing_of_the_demos_own_sessions_out() -> None:
    """What the demo evaluates on must be more than it needs, what it trains on must be there."""
    setup = jobs.Setup(workspace="x")
    assert demo.RECIPE.limit <= setup.train
    assert setup.holdout >= demo.EPISODES


@pytest.mark.slow
def test_the_whole_loop_runs_from_one_command(
    smollm2: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    recipe = msgspec.structs.replace(demo.RECIPE, max_steps=1, batch=1, limit=2, heldout=0.0)
    for name, value in (
        ("RECIPE", recipe),
        ("EPISODES", 2),
        ("STEP_CAP", 1),
        ("TURN_TOKENS", 4),
    ):
        monkeypatch.setattr(demo, name, value)
    place = Workspace(tmp_path / "demo")
    # The demo takes a smaller set of its own sessions where it is there already.
    run_document(jobs.Setup(workspace=str(place.root), train=8, holdout=4), place)
    capfd.readouterr()
    assert run_command(["demo", "--run", "--json", "--workspace", str(place.root)]) == 0
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert set(document["seconds"]) == {"setup", "base_eval", "train", "adapter_eval"}
    for subject in ("base", "adapter"):
        assert document[subject]["n"] == 2
        assert document[subject]["intervals"]["clean_termination"][1] > 0.5
    assert document["workspace"] == str(tmp_path / "demo")
    assert "n=2" in err

    # Given again it is done already, and a person gets tables and the way to the report.
    assert run_command(["demo", "--run", "--workspace", str(place.root)]) == 0
    out, _ = capfd.readouterr()
    assert " in all: setup " in out
    assert f"report: {document['report']}" in out
    whole, *parts = list_runs(tmp_path / "demo" / "runs")
    assert whole.id == document["experiment"]
    assert (tmp_path / "demo" / "runs" / whole.id / "report.html").is_file()
    by_name = {info.id.removeprefix(f"{whole.id}-"): info for info in parts}
    assert {name: info.kind for name, info in by_name.items()} == {
        "base-holdout": "eval",
        "train-0": "train",
        "adapters-holdout": "eval",
    }
    base_run, adapter_run = by_name["base-holdout"], by_name["adapters-holdout"]
    assert document["runs"]["train"] == by_name["train-0"].id
    assert document["controls"][0]["name"] == "oracle"
    for fact in ("scenarios_digest", "seed", "step_cap", "turn_tokens", "dialect", "base_digest"):
        assert base_run.about[fact] == adapter_run.about[fact]


def test_the_demo_is_not_made_again_inside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Workspace(tmp_path / "demo").create()
    monkeypatch.chdir(tmp_path)
    assert demo.default_folder().resolve() == tmp_path / "demo"
    monkeypatch.chdir(tmp_path / "demo")
    assert demo.default_folder().resolve() == tmp_path / "demo"
