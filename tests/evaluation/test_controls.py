"""Controls: what operators without a model reach in the same worlds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run
from sekft_engine.core.errors import BadInput
from sekft_engine.data.scenario import Scenario
from sekft_engine.records import jobs
from tests.documents import run_document

ALL: tuple[jobs.Control, ...] = ("oracle", "always-exit", "always-panic", "random")


@pytest.fixture
def bundles(tmp_path: Path, make_scenario: Callable[..., Scenario]) -> Path:
    """Three doable worlds and a blocked one."""
    folder = tmp_path / "holdout"
    folder.mkdir()
    for number in range(4):
        scenario = make_scenario(f"s{number}", "copy", "exit" if number < 3 else "panic")
        (folder / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    return folder


def evaluate(bundles: Path, out: Path, **options: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {"controls": ALL, "with_base": False, "n": 0, "step_cap": 4}
    return run_document(jobs.Evaluate(scenarios=str(bundles), out=str(out), **{**usual, **options}))


def test_controls_show_what_is_reached_without_skill_doable_and_blocked_apart(
    bundles: Path, tmp_path: Path
) -> None:
    found = {each["name"]: each for each in evaluate(bundles, tmp_path / "run")["subjects"]}
    assert list(found) == list(ALL)
    assert all(each["control"] and each["n"] == 4 for each in found.values())
    counts = {
        name: [
            each["kinds"][key]
            for key in ("doable", "solved", "wrongly_given_up", "blocked", "rightly_given_up")
        ]
        for name, each in found.items()
    }
    assert counts["oracle"] == [3, 3, 0, 1, 1]
    assert counts["always-exit"] == [3, 0, 0, 1, 0]
    assert counts["always-panic"] == [3, 0, 3, 1, 1]
    assert found["always-panic"]["kinds"]["intervals"]["solved"] == [0.0, 0.5615]


def test_a_step_cap_below_the_reference_solutions_is_said_before_the_eval(
    bundles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["eval", "--no-base", "--control", "oracle", "--scenarios", str(bundles), "--n", "0"]
    assert run([*words, "--step-cap", "1", "--out", str(tmp_path / "low")]) == 0
    said = "the step cap of 1 is below the reference solution of 3 of 4 worlds"
    assert said in capsys.readouterr().err
    assert run([*words, "--step-cap", "9", "--out", str(tmp_path / "enough")]) == 0
    assert "step cap" not in capsys.readouterr().err


def test_the_random_control_types_the_same_again(bundles: Path, tmp_path: Path) -> None:
    def commands(name: str) -> list[list[str]]:
        found = evaluate(bundles, tmp_path / name, controls=("random",))
        return [
            [
                turn["content"]
                for turn in json.loads(path.read_text())["turns"]
                if turn["role"] == "assistant"
            ]
            for path in sorted(Path(found["path"], "episodes").glob("*.json"))
        ]

    first = commands("one")
    assert first == commands("two")
    assert len({tuple(each) for each in first}) > 1


def test_an_eval_of_controls_alone_needs_no_base_and_no_torch(
    bundles: Path, tmp_path: Path
) -> None:
    words = ["eval", "--no-base", "--control", "oracle", "--scenarios", str(bundles), "--n", "0"]
    code = (
        "import sys; from sekft_engine.cli.main import run\n"
        "status = run(sys.argv[1:])\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
        "sys.exit(status)"
    )
    words += ["--out", str(tmp_path / "run"), "-q"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_model_is_compared_with_controls_and_they_not_with_each_other(
    tiny_base: Path, bundles: Path, tmp_path: Path
) -> None:
    found = evaluate(
        bundles,
        tmp_path / "run",
        base=str(tiny_base),
        with_base=True,
        controls=("oracle", "always-exit"),
        turn_tokens=4,
        step_cap=2,
    )
    pairs = [
        (pair["a"], pair["b"], pair["measure"], pair["pairs"]) for pair in found["comparisons"]
    ]
    assert pairs == [
        ("base", "oracle", "clean_termination", 4),
        ("base", "always-exit", "clean_termination", 4),
        ("base", "oracle", "solved", 3),
        ("base", "always-exit", "solved", 3),
    ]


def test_another_choice_of_controls_is_another_eval(bundles: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate(bundles, out, controls=("oracle",))
    with pytest.raises(BadInput, match="its controls differ"):
        evaluate(bundles, out, controls=("oracle", "random"), resume=True)
    again = evaluate(bundles, out, controls=("oracle",), resume=True)
    assert [each["name"] for each in again["subjects"]] == ["oracle"]
